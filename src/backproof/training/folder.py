"""A folder that appears whole or not at all, and never replaces another unasked."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from itertools import takewhile
from pathlib import Path

from backproof.files import move_aside, partial_folder, put_back, remove_leftovers, sync

MARKER = "run.json"  # a folder that holds it is a run, and may be replaced when the user asks for that
CHECKPOINT = "checkpoint"  # in a run's folder: its state while it is not over
STATE = "state-"  # what the files there begin with that it can go on from
_LAST = 9_999  # of the numbers that a name is given when it is taken


class FolderError(ValueError):
    """A folder that cannot be written; the message says which one to choose."""


def default_folder(suffix: str = "") -> Path:
    """`runs/` and the present time."""
    return _free(Path("runs") / f"{datetime.now():%Y-%m-%d-%H%M%S}{suffix}")


def check_free(folder: Path, hint: str = "") -> None:
    """Refuse, with a `hint` what else to do, a folder that holds something already."""
    with _in_a_sentence(folder, "cannot be written"):
        if unfinished(folder):
            raise FolderError(
                f"{folder} holds a run that is not over; go on with --resume {folder}, or choose another folder with "
                f"--out{hint}."
            )
        if _holds_something(folder):
            raise FolderError(f"{folder} exists already; choose another folder with --out{hint}.")


def claim_folder(folder: Path) -> list[Path]:
    """Make a folder that is new or empty; return it and those above it as far as they are new."""
    check_free(folder)
    with _in_a_sentence(folder, "cannot be written"):
        return make_folder(folder)


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse, before the work begins, what `write_folder` could not write after it. Leaves nothing behind."""
    if not overwrite:
        check_free(folder, ", or add --overwrite")
    with _in_a_sentence(folder, "cannot be written"):
        place = _followed(folder)
        if _holds_something(folder) and not (place / MARKER).is_file() and not unfinished(place):
            raise FolderError(f"{folder} is not the folder of a run and is not overwritten; choose another with --out.")
        if place.exists() and (reason := _why_it_has_to_stay(place)):
            raise FolderError(f"{folder} cannot be replaced: {reason}; choose another, as with --out {folder / 'run'}.")
        created = make_folder(place.absolute().parent)
        try:
            with partial_folder(place.absolute().parent) as partial:
                _numbered(partial / place.name, _LAST).mkdir()  # the longest name that it may have to be given
        finally:
            remove_empty(created)


def recover(folder: Path) -> None:
    """Put back what a killed process had moved aside to replace it, and remove what else it left. Raises nothing."""
    remove_leftovers(_followed(folder).absolute().parent)


def unfinished(folder: Path) -> bool:
    """Whether a run can go on there."""
    return any((folder / CHECKPOINT).glob(f"{STATE}*"))


def write_folder(
    folder: Path,
    files: Mapping[str, bytes],
    overwrite: bool = False,
    owned: bool = False,
    besides: Callable[[Path, Path], None] | None = None,
) -> Path:
    """Write `files` beside and rename; return the folder, or a free name like it if it could not be had.

    `owned` says that what is there is the state of the same run, and gives way to it; `besides` writes more into the
    new folder, given the old one and that.
    """
    with _in_a_sentence(folder, "could not be written"):
        place = _followed(folder)
        make_folder(place.absolute().parent)
        with partial_folder(place.absolute().parent) as partial:
            new = partial / "new"
            new.mkdir()
            for name, content in files.items():
                (new / name).parent.mkdir(exist_ok=True)  # of a checkpoint
                (new / name).write_bytes(content)
                sync(new / name)
            if besides is not None:
                besides(place, new)
            sync(new)
            gives_way = (overwrite and (place / MARKER).is_file()) or (owned and (place / CHECKPOINT).is_dir())
            written = _put(new, place, partial, gives_way)
            sync(written.absolute().parent)
    return folder if written == place else written


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it; return the ones that are new, for `remove_empty`. Raises OSError."""
    missing = list(takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    try:
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
    except OSError:
        remove_empty(missing)
        raise
    return missing


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove each of the folders that is empty, the innermost given first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


@contextmanager
def _in_a_sentence(folder: Path, failed: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FolderError(f"{folder} {failed} ({error.strerror}); choose another folder with --out.") from None


def _holds_something(folder: Path) -> bool:
    if not folder.exists():
        return False
    if not folder.is_dir():
        raise FolderError(f"{folder} is a file; choose another folder with --out.")
    remove_leftovers(folder)
    return any(each.name != CHECKPOINT or unfinished(folder) for each in folder.iterdir())


def _put(new: Path, place: Path, partial: Path, gives_way: bool) -> Path:
    try:
        if gives_way:
            move_aside(place, partial)
        new.rename(place)  # there is nothing, or an empty folder
        return place
    except OSError:  # taken meanwhile, or not to be replaced after all: what was trained is worth another name
        with suppress(OSError):
            put_back(partial)
    free = _free(place)
    new.rename(free)
    return free


def _why_it_has_to_stay(place: Path) -> str:
    """Why no other folder can take the name of this one, or nothing."""
    if os.path.ismount(place):
        return "a disk is mounted there"
    return "you are in it" if Path.cwd().is_relative_to(os.path.realpath(place)) else ""


def _followed(folder: Path) -> Path:
    """What a link leads to, and the true name of `.`; neither of them can be renamed or replaced themselves."""
    leads_elsewhere = folder.name in ("", "..") or os.path.islink(folder)  # noqa: PTH114 - Path.is_symlink() can raise
    return Path(os.path.realpath(folder)) if leads_elsewhere else folder


def _free(folder: Path) -> Path:
    names = (_numbered(folder, number) for number in range(2, _LAST + 1))
    return folder if not folder.exists() else next(name for name in names if not name.exists())


def _numbered(folder: Path, number: int) -> Path:
    return folder.with_name(f"{folder.name}-{number}")
