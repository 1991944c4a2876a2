"""The outputs of a kernel beside those of its reference: how far off they may be, and which rows are."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.sides import Side
from backproof.proof.replays.values import _wrong_rows, evidence_of, value_rows
from backproof.proof.report.rows import Row, Verdict

EPS = torch.finfo(torch.float32).eps
RIGHT = torch.tensor([[4.0, -2.0], [1.0, 3.0], [2.0, 0.5]])


def side(output: Any, elements: int = 1) -> Side:
    return Side({"x": torch.ones(elements)}, {"output": output})


def row_of(
    got: Tensor, right: Tensor = RIGHT, *, elements: int = 1, truth: Tensor | None = None, moved: Tensor | None = None
) -> Row:
    exact = right.double() if truth is None else truth
    (row,) = value_rows(side(got), side(right, elements), side(exact), None if moved is None else {"output": moved})
    return row


def off(by: float) -> Tensor:
    """In one small element, where the relative tolerance of torch.allclose does not reach."""
    got = RIGHT.clone()
    got[2, 1] += by
    return got


def test_bits_rounding_and_errors() -> None:
    assert row_of(RIGHT.clone()).verdict is Verdict.EXACT
    assert row_of(off(2 * EPS)).verdict is Verdict.ROUNDING
    wrong = row_of(off(1e-3))
    assert wrong.verdict is Verdict.WRONG and wrong.culprit and wrong.evidence is not None
    assert wrong.evidence.got == pytest.approx(0.501) and wrong.evidence.expected == 0.5
    assert wrong.evidence.worst_index == (2, 1) and wrong.max_difference == pytest.approx(1e-3, rel=1e-3)
    assert wrong.label == "output" and not wrong.exact and not wrong.approximate


@pytest.mark.parametrize(("times", "fine"), [(1.9, True), (2.2, False)])
def test_an_output_may_be_twice_as_wrong_as_the_references(times: float, fine: bool) -> None:
    truth = off(0.01).double()
    row = row_of(off(0.01 + times * 0.01), truth=truth)
    assert (row.verdict is Verdict.ROUNDING) is fine


@pytest.mark.parametrize(("elements", "times", "fine"), [(1, 0.9, True), (10_000, 90, True), (10_000, 110, False)])
def test_a_sum_in_float32_may_lose_digits_with_its_length(elements: int, times: float, fine: bool) -> None:
    """The root of the number of inputs, in roundings of the largest number; below 1e-5 torch.allclose is content."""
    right = RIGHT * 1e3
    got = right.clone()
    got[2, 1] += times * EPS * 4e3
    row = row_of(got, right, elements=elements)
    assert (row.verdict is Verdict.ROUNDING) is fine


@pytest.mark.parametrize(("dtype", "fine"), [(torch.float32, True), (torch.bfloat16, False), (torch.float16, False)])
def test_in_half_precision_a_sum_must_not_lose_digits(dtype: torch.dtype, fine: bool) -> None:
    right = torch.tensor([4.0, 0.25], dtype=dtype)
    got = right.clone()
    got[1] += 20 * torch.finfo(dtype).eps * 4
    assert (row_of(got, right, elements=10_000).verdict is Verdict.ROUNDING) is fine


@pytest.mark.parametrize(("times", "fine"), [(7, True), (9, False)])
def test_eight_times_what_rounding_the_inputs_does_is_allowed(times: float, fine: bool) -> None:
    """In every element by itself: a badly conditioned one does not excuse the others."""
    moved = torch.zeros(3, 2, dtype=torch.float64)
    moved[2, 1] = 0.01
    assert (row_of(off(times * 0.01), moved=moved).verdict is Verdict.ROUNDING) is fine
    moved[2, 1], moved[0, 0] = 0.0, 1.0
    assert row_of(off(0.01), moved=moved).verdict is Verdict.WRONG


def test_nan_where_the_reference_has_nan_is_no_error() -> None:
    right = RIGHT.clone()
    right[0, 0] = float("nan")
    assert row_of(right.clone(), right).verdict is Verdict.ROUNDING
    assert row_of(right.clone()).verdict is Verdict.WRONG  # where the reference has a number


def test_integers_are_equal_or_wrong() -> None:
    right = torch.tensor([1, 2, 3])
    assert row_of(right.clone(), right, truth=right).verdict is Verdict.EXACT
    wrong = row_of(right + 1, right, truth=right)
    assert wrong.verdict is Verdict.WRONG and wrong.max_difference is None and wrong.evidence is None


@pytest.mark.parametrize(
    ("got", "verdict", "said"),
    [
        (torch.ones(2, 3), Verdict.SHAPE, "has shape [2, 3], the reference's [3, 2]"),
        (RIGHT.double(), Verdict.DTYPE, "has dtype torch.float64, the reference's torch.float32"),
    ],
)
def test_an_output_that_is_not_like_the_references(got: Tensor, verdict: Verdict, said: str) -> None:
    row = row_of(got)
    assert row.verdict is verdict and row.culprit and said in row.message
    assert "next: return what the reference returns" in row.message


def test_a_missing_output() -> None:
    (row,) = value_rows(Side({}, {"other": RIGHT}), side(RIGHT), None)
    assert row.verdict is Verdict.SHAPE and row.message.startswith("output is missing among what function returns.")


def test_without_a_truth_the_reference_is_the_truth() -> None:
    (row,) = value_rows(side(off(0.9 * EPS * 4)), side(RIGHT), None)
    assert row.verdict is Verdict.ROUNDING
    (row,) = value_rows(side(off(1e-3)), side(RIGHT), None)
    assert row.verdict is Verdict.WRONG


@pytest.mark.parametrize(
    ("rows", "cause", "said"),
    [
        ([2], "F7", "row 2 of 3 differs, the others are right"),
        ([1, 2], "F7", "rows 1 and 2 of 3 differ"),
        ([1], None, "row 1 of 3 differs"),
        ([0, 2], None, "rows 0 and 2 of 3 differ"),
        ([0, 1, 2], None, ""),
    ],
)
def test_the_last_rows_are_a_partial_tile(rows: list[int], cause: str | None, said: str) -> None:
    got = RIGHT.clone()
    got[rows] += 1
    row = row_of(got)
    assert row.cause == cause and said in row.message
    assert ("the last, partial tile" in row.message) is (cause == "F7")


@pytest.mark.parametrize(("by", "wrong"), [(0.9e-3, []), (1.2e-3, [1])])
def test_a_row_differs_by_more_than_a_thousandth(by: float, wrong: list[int]) -> None:
    """Rounding of other rows does not hide which rows are wrong."""
    right = torch.tensor([[1.0], [1.0], [1.0]])
    assert _wrong_rows(right + torch.tensor([[0.0], [by], [0.0]]), right) == wrong


@pytest.mark.parametrize(("by", "wrong"), [(0.8e-6, []), (1.5e-6, [1])])
def test_and_a_row_of_zeros_by_more_than_a_millionth(by: float, wrong: list[int]) -> None:
    zeros = torch.zeros(3, 1)
    assert _wrong_rows(zeros + torch.tensor([[0.0], [by], [0.0]]), zeros) == wrong


def test_a_single_row_is_no_row_among_others() -> None:
    assert _wrong_rows(torch.ones(1, 3), torch.zeros(1, 3)) == []
    assert _wrong_rows(torch.tensor(1.0), torch.tensor(0.0)) == []
    assert _wrong_rows(torch.ones(2, 3), torch.zeros(2, 3)) == []  # all of them
    assert _wrong_rows(torch.tensor([[1.0], [0.0]]), torch.zeros(2, 1)) == [0]


def test_where_two_tensors_differ_most() -> None:
    found = evidence_of(off(0.5), RIGHT)
    assert (found.worst_index, found.got, found.expected) == ((2, 1), 1.0, 0.5)
    nan = RIGHT.clone()
    nan[0, 1] = float("nan")
    assert evidence_of(nan, RIGHT).worst_index == (0, 1)
    assert evidence_of(torch.tensor(1.0), torch.tensor(3.0)).worst_index == ()
