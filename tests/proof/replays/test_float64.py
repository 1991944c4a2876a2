"""What float64 shows: an error that goes away was rounding, and one as small as rounding is no fault."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backproof.proof.replays.float64 import forgiven, shrinks
from backproof.proof.replays.ledger import Ledger
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Evidence, Row, Verdict

EPS = torch.finfo(torch.float32).eps


def wrong(error: float, *, cause: Cause | None = None, size: float = 2.0) -> Row:
    """A culprit of numbers up to `size`, off by `error`."""
    expected = torch.full((3,), size, dtype=torch.float64)
    evidence = Evidence((0,), size + error, size, expected + error, expected)
    return Row("x", Verdict.WRONG, cause=cause, culprit=True, evidence=evidence)


@pytest.mark.parametrize(("left", "rounding"), [(0.9e-4, True), (1.1e-4, False)])
def test_an_error_that_shrinks_ten_thousandfold_was_rounding(left: float, rounding: bool) -> None:
    """Float64 has 5 · 10⁸ times the digits; a constant kept in float32 stays as wrong as it was."""
    assert shrinks(wrong(0.5), wrong(0.5 * left)) is rounding


@pytest.mark.parametrize("verdict", [Verdict.EXACT, Verdict.ROUNDING])
def test_what_is_right_in_float64_has_shrunk(verdict: Verdict) -> None:
    assert shrinks(wrong(0.5), Row("x", verdict))


def test_what_was_not_wrong_or_cannot_be_compared_has_not_shrunk() -> None:
    assert not shrinks(Row("x", Verdict.SHAPE, culprit=True), Row("x", Verdict.EXACT))
    assert not shrinks(replace(wrong(0.5), evidence=None), Row("x", Verdict.EXACT))
    assert not shrinks(wrong(0.5), Row("x", Verdict.NOT_TESTABLE))


def kept(row: Row, before: Row, dtype: torch.dtype = torch.float32) -> tuple[list[Row], list[str]]:
    ledger = Ledger([before])
    return forgiven([row], ledger, dtype), ledger.notes


RIGHT = Row("x", Verdict.ROUNDING, max_difference=0.0)


@pytest.mark.parametrize(("roundings", "fault"), [(15, False), (17, True)])
def test_sixteen_roundings_of_float32_are_no_fault_of_somebody_who_works_in_float32(
    roundings: float, fault: bool
) -> None:
    """As much as the yardstick allows for one term."""
    rows, notes = kept(wrong(roundings * EPS * 2.0), RIGHT)
    assert bool(rows) is fault
    assert notes == ([] if fault else ["in float64, dx is only as precise as float32: no fault in float32."])


@pytest.mark.parametrize(("times", "fault"), [(15, False), (17, True)])
def test_nor_is_sixteen_times_what_it_was_off_in_float32(times: float, fault: bool) -> None:
    """Where terms cancel, their rounding is larger than that of the sum."""
    before = replace(RIGHT, max_difference=1e-3)
    assert bool(kept(wrong(times * 1e-3), before)[0]) is fault
    assert kept(wrong(1e-5), replace(RIGHT, max_difference=None))[0]


def test_in_a_narrower_dtype_more_is_forgiven() -> None:
    half = torch.finfo(torch.bfloat16).eps
    assert not kept(wrong(15 * half * 2.0), RIGHT, torch.bfloat16)[0]
    assert kept(wrong(17 * half * 2.0), RIGHT, torch.bfloat16)[0]


@pytest.mark.parametrize(
    ("cause", "fault"),
    [
        (Cause.DROPPED_TERM, True),
        (Cause.ROWS_LEFT_OUT, True),
        (Cause.WRONG_DIMENSIONS, True),
        (Cause.SWAPPED_OR_TRANSPOSED, True),
        (Cause.OVERWRITTEN, True),
        (Cause.CONSTANT_FACTOR, False),
        (Cause.LOW_PRECISION, False),
        (None, False),
    ],
)
def test_a_small_error_that_a_structure_explains_to_the_last_digit_is_none_of_rounding(
    cause: Cause | None, fault: bool
) -> None:
    assert bool(kept(wrong(EPS, cause=cause), RIGHT)[0]) is fault


def test_a_narrower_dtype_is_forgiven_and_other_faults_are_not() -> None:
    assert kept(Row("x", Verdict.DTYPE, culprit=True), RIGHT)[0] == []
    for other in (Verdict.SHAPE, Verdict.MISSING, Verdict.NOT_FINITE):
        assert len(kept(Row("x", other, culprit=True), RIGHT)[0]) == 1
    assert len(kept(Row("x", Verdict.ROUNDING), RIGHT)[0]) == 1  # right rows go on to the ledger


def test_a_known_culprit_and_a_new_name_are_not_forgiven() -> None:
    assert kept(wrong(EPS), wrong(0.5))[0]
    assert kept(replace(wrong(EPS), name="y"), RIGHT)[0]
