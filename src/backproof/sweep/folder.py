"""The folder of a sweep: who may work in it, and what its runs say of themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from backproof.files import remove_leftovers
from backproof.record import read_record
from backproof.sweep.plan import Member, Plan, flag
from backproof.sweep.records import FILE, End, Outcome
from backproof.training.errors import ModelFileError
from backproof.training.folder import CHECKPOINT, MARKER, FolderError, check_free, make_folder, remove_empty
from backproof.training.kinds import flat
from backproof.training.owner import owned
from backproof.training.status import Status, divergence

if TYPE_CHECKING:
    from backproof.training.kinds import AnySettings

OWNER = ".backproof-owner"  # a name that nobody else gives a file
_RUN = re.compile(r"run-\d+")


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Make a folder that is new, empty or a sweep's, and keep everybody else out. What is empty at the end is removed.

    Raises FolderError where it holds something else, cannot be written, or another process works there.
    """
    if not ((folder / FILE).exists() or (folder / OWNER).exists()):
        check_free(folder)
    with ExitStack() as stack:
        try:
            created = make_folder(folder)
            stack.callback(remove_empty, created)
            stack.enter_context(owned(folder, folder / OWNER))
            remove_leftovers(folder)
            is_empty = [each.name for each in folder.iterdir()] == [OWNER]
        except OSError as error:
            reason = f"{folder} cannot be written ({error.strerror})"
            raise FolderError(f"{reason}; choose another folder with --out.") from None
        if not is_empty and not (folder / FILE).is_file():
            raise FolderError(f"{folder} exists already; choose another folder with --out.")
        yield


def outcomes_in(folder: Path, plan: Plan, sha256: str) -> dict[str, Outcome]:
    """What has become of the runs of `plan` by now, by name, of those that have a folder.

    Raises FolderError where they are runs of another sweep, or one of them is damaged.
    """
    names = {member.name for member in plan.members}
    for each in folder.iterdir():
        if _RUN.fullmatch(each.name) and each.name not in names:
            raise FolderError(
                f"{folder} holds another sweep: this one has no {each.name}; choose another folder with --out."
            )
    found = {member.name: outcome_of(folder, member, sha256) for member in plan.members}
    return {name: outcome for name, outcome in found.items() if outcome is not None}


def outcome_of(folder: Path, member: Member, sha256: str) -> Outcome | None:
    """What a run says of itself in the sweep's folder; None where it has said nothing yet. Raises FolderError."""
    place = folder / member.name
    try:
        if not (place / MARKER).exists():
            _check_begun(place, member, sha256)
            return None
        record = read_record(place)
    except ModelFileError as error:
        raise FolderError(f"{str(error)[:-1]}, or remove {place} and it is trained again.") from None
    _check(place, member, record.settings, record.data_sha256 == sha256)
    end, reason = End(record.status.value), ""
    if record.status is Status.DIVERGED:
        reason = divergence(record.settings, record.steps)
    if record.status is Status.INTERRUPTED:
        reason = f"interrupted after step {record.steps:,}"
    losses = record.losses if record.status is Status.FINISHED else None
    return Outcome(end, record.steps, record.seconds, losses, True, reason, rungs=record.rungs)


def _check_begun(place: Path, member: Member, sha256: str) -> None:
    if not (place / CHECKPOINT).exists():
        return
    from backproof.training import checkpoint

    try:
        about = checkpoint.begun_as(place)
    except ModelFileError:
        return  # it begins again
    if about is not None:
        _check(place, member, about.settings, about.data_sha256 == sha256)


def _check(place: Path, member: Member, was: AnySettings, same_words: bool) -> None:
    wished = flat(member.settings)
    for name, value in flat(was).items():
        if value != (wanted := wished.get(name, "none")):
            raise FolderError(
                f"{place.parent} holds another sweep: its {place.name} has {flag(name)} {value}, and this one's would "
                f"have {wanted}; choose another folder with --out."
            )
    if not same_words:
        raise FolderError(
            f"{place} was trained on other words; give those with --data, or choose another folder with --out."
        )
