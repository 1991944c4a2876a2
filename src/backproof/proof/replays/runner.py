"""Making every replay of a table in its order, and listing those that could not be made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any, NamedTuple

from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.subject import FIRST, BackwardRaisedError, Proof, SkippedError, Subject
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Row
from backproof.proof.user.calls import CannotProveError


class Replay(NamedTuple):
    """A further run of a subject: its name and group, by which it can be left out, and what it shows."""

    name: str
    group: str
    meaning: str
    rows: Callable[[Proof, Ledger], Iterable[Row]]


Table = Callable[[Proof], Sequence[Replay]]


def prove_subject(subject: Subject, table: Table, skip: Collection[str]) -> Report:
    """The first run, and every replay in its table but those in `skip`, by name or group; a string is one name.

    Raises CannotProveError where the subject cannot be run at all, or `skip` names none of the replays.
    """
    try:
        first_run = subject.tried(FIRST)
    except BackwardRaisedError as error:
        raise CannotProveError(error.sentence) from error.__cause__
    proof, ledger = Proof(subject, first_run), Ledger(first_run.rows)
    for note in first_run.notes:
        ledger.note(note)
    if first_run.refused:
        ledger.skip("all replays", first_run.refused)
        return ledger.report()
    replays = table(proof)
    left_out = _left_out(replays, [skip] if isinstance(skip, str) else skip)
    for replay in replays:
        if replay.name in left_out:
            ledger.skip(replay.name, "left out as asked")
        else:
            _make(replay, proof, ledger)
    return ledger.report()


def _make(replay: Replay, proof: Proof, ledger: Ledger) -> None:
    try:
        ledger.add(replay.rows(proof, ledger), replay.name)
    except SkippedError as reason:
        ledger.skip(replay.name, str(reason))
    except CannotProveError as error:  # forward, or the reference, does not run so: that is nobody's fault
        ledger.skip(replay.name, error.brief)


def _left_out(replays: Sequence[Replay], skip: Iterable[Any]) -> set[str]:
    names = {replay.name: {replay.name} for replay in replays}
    groups = {replay.group: {other.name for other in replays if other.group == replay.group} for replay in replays}
    for name in skip:
        if name not in names and name not in groups:
            known = ", ".join(dict.fromkeys([*names, *groups]))
            raise CannotProveError(f"There is no replay {name!r} to skip; there are {known}.")
    return {one for name in skip for one in names.get(name) or groups[name]}
