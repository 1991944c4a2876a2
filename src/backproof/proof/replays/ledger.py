"""Merging what several replays say about the same value into one row that says which replay showed it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Certainty
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Row
from backproof.proof.verdict.decide import Known, prevailing, row_of
from backproof.proof.verdict.fit import fitted_factor

SAME_FACTOR = 1e-3  # relative; float32 knows a factor better, and two sizes are further apart


class Ledger:
    """One row a value: the first run's, until a replay finds a fault, names a cause, or proves what was untestable."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.rows = {row.name: row for row in rows}
        self.skipped: list[str] = []
        self.notes: list[str] = []
        self.excused: set[str] = set()
        self.remarked = {row.name for row in self.rows.values() if row.remark}

    def skip(self, replay: str, why: str) -> None:
        """Notes a replay that could not be made; it speaks neither for nor against the backward pass."""
        self.skipped.append(f"{replay}: {why.rstrip('.')}.")

    def note(self, text: str) -> None:
        """Takes a remark, once."""
        if text not in self.notes:
            self.notes.append(text)

    def add(self, rows: Iterable[Row], replay: str) -> None:
        """Takes the findings of a replay; the earliest that shows a fault keeps it, unless a later one knows why."""
        for row in rows:
            if row.remark and row.name not in self.remarked:
                self.note(f"{row.remark} (replay: {replay}).")
                self.remarked.add(row.name)
            if row.name not in self.excused:
                self.rows[row.name] = _merged(self.rows.get(row.name), row, replay)

    def row(self, name: str) -> Row:
        """What is known of `name`; where nothing is, a row for what a replay shows."""
        return self.rows.get(name) or row_of(name, Known.SHOWN_BY_A_REPLAY)

    def put(self, row: Row) -> None:
        """Takes `row` as it is, whatever was known before."""
        self.rows[row.name] = row

    def excuse(self, row: Row) -> None:
        """Takes `row`, and lets no replay accuse it: it suffers from damage that another line has done."""
        self.put(row)
        self.excused.add(row.name)

    def known(self) -> set[str]:
        """The culprits found so far, and what suffers from their damage."""
        return {row.name for row in self.rows.values() if row.culprit} | self.excused

    def unknown(self) -> set[str]:
        """The culprits whose cause nobody has named yet."""
        return {row.name for row in self.rows.values() if row.culprit and row.cause is None}

    def counted(self) -> set[str]:
        """The culprits whose factor is taken for a size, which another size may contradict."""
        return {row.name for row in self.rows.values() if row.culprit and row.cause == Cause.WRONG_DENOMINATOR}

    def report(self) -> Report:
        return Report(tuple(self.rows.values()), tuple(self.notes), tuple(self.skipped))


def _merged(before: Row | None, now: Row, replay: str) -> Row:
    kept = prevailing(before, now, knows_better=before is not None and _knows_better(before, now))
    if kept is before:
        return kept
    if kept is not now:
        return replace(kept, replay=replay, message=f"{kept.gradient}: proved by the replay: {replay}")
    if not now.culprit:
        return replace(now, replay=replay)
    certainty = Certainty.REPLAYED if now.certainty is Certainty.FITS else now.certainty  # more than one run's fit
    return replace(now, replay=replay, certainty=certainty, message=f"{now.message}\n  shown by the replay: {replay}")


def _knows_better(old: Row, new: Row) -> bool:
    """Whether a replay names a cause where none was known, or finds that a factor taken for a size is a constant."""
    if old.cause is None:
        return new.cause is not None
    if old.cause != Cause.WRONG_DENOMINATOR or new.cause == Cause.WRONG_DENOMINATOR:
        return False
    before, now = factor_of(old), factor_of(new)
    return before is not None and now is not None and abs(before - now) <= SAME_FACTOR * abs(before)


def factor_of(row: Row) -> float | None:
    """The constant by which a gradient, or one of its terms, is off."""
    return row.factor if row.factor is not None else whole_factor(row)


def whole_factor(row: Row) -> float | None:
    """The constant that alone makes the right gradient of what is there, if there is one."""
    evidence = row.evidence
    if evidence is None or evidence.got_tensor.shape != evidence.expected_tensor.shape:
        return None
    got, expected = evidence.got_tensor.double(), evidence.expected_tensor.double()
    factor = fitted_factor(got, expected)
    explains = factor is not None and bool((got - factor * expected).norm() <= SAME_FACTOR * got.norm())
    return factor if explains else None
