"""What float64 shows: a wrong formula stays wrong, a rounding error goes away."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from backproof.proof.replays.ledger import Ledger
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import PROVED, Row, Verdict
from backproof.proof.user.tensors import short_name

_STRUCTURAL = (
    Cause.DROPPED_TERM,
    Cause.ROWS_LEFT_OUT,
    Cause.WRONG_DIMENSIONS,
    Cause.SWAPPED_OR_TRANSPOSED,
    Cause.OVERWRITTEN,
)


def forgiven(rows: Iterable[Row], ledger: Ledger, narrow: torch.dtype) -> list[Row]:
    """Drops, with a note, what is wrong in float64 by no more than the rounding of the dtype the user works in."""
    kept = []
    for row in rows:
        old = ledger.rows.get(row.name)
        if old is None or old.culprit or not _rounds(row, narrow, old.max_difference or 0.0):
            kept.append(row)
        else:
            short = short_name(narrow)
            ledger.note(f"in float64, {row.gradient} is only as precise as {short}: no fault in {short}.")
    return kept


def shrinks(before: Row, wide: Row) -> bool:
    """Whether an error of the first run goes away in float64, as rounding does and a wrong formula does not."""
    if before.verdict is not Verdict.WRONG or before.evidence is None:
        return False
    return wide.verdict in PROVED or (wide.evidence is not None and _error(wide) < 1e-4 * _error(before))


def _error(row: Row) -> float:
    assert row.evidence is not None
    return abs(row.evidence.got - row.evidence.expected)


def _rounds(row: Row, narrow: torch.dtype, difference: float) -> bool:
    """Whether a fault is a narrower dtype, or no larger than its rounding: eps of the numbers, or what it showed.

    An error that a structural cause explains to the last digits is none of rounding; a factor that is not quite 1
    is what a constant kept in the narrower dtype looks like.
    """
    if not row.culprit or row.verdict is not Verdict.WRONG or row.evidence is None:
        return row.verdict is Verdict.DTYPE
    if row.cause in _STRUCTURAL:
        return False
    size = float(row.evidence.expected_tensor.abs().max())
    return _error(row) <= 16 * max(torch.finfo(narrow).eps * size, difference)
