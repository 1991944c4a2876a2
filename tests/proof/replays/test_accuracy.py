"""How precise a kernel has to be: twice the plain reference's error, and a unit of rounding."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.accuracy import as_precise, most, precision
from backproof.proof.report.rows import Verdict

EPS = torch.finfo(torch.float32).eps
TRUTH = torch.tensor([4.0, -2.0, 1.0], dtype=torch.float64)


def off(by: float) -> Tensor:
    """Wrong in one element; in float64, so that the number is just what it says."""
    return TRUTH + torch.tensor([0.0, by, 0.0], dtype=torch.float64)


@pytest.mark.parametrize(("by", "ok"), [(1.9e-3, True), (2.1e-3, False), (-1.9e-3, True), (-2.1e-3, False)])
def test_an_error_may_be_twice_the_references(by: float, ok: bool) -> None:
    """Two right orders of summing differ by as much; the references' own error is one draw of it."""
    measured = precision(off(by), off(1e-3), TRUTH)
    assert measured.ok is ok
    assert measured.allowed == pytest.approx(2e-3, rel=1e-6)


@pytest.mark.parametrize(
    ("units", "by", "ok"), [(1.0, 3.9, True), (1.0, 4.1, False), (5.0, 19, True), (5.0, 21, False)]
)
def test_beside_a_reference_without_an_error_a_unit_of_rounding_is_allowed(units: float, by: float, ok: bool) -> None:
    """Of the largest number, 4: a reference may be exact by chance, as where it adds zeros."""
    exact = TRUTH.float()
    assert precision(off(by * EPS), exact, TRUTH, units).ok is ok


def test_errors_are_measured_in_the_dtype_of_the_truth() -> None:
    measured = precision(torch.tensor([4.0625, -2.0, 1.0], dtype=torch.bfloat16), TRUTH.bfloat16(), TRUTH)
    assert (measured.own, measured.reference) == (0.0625, 0.0)
    assert measured.allowed == 4 * torch.finfo(torch.bfloat16).eps
    assert str(measured) == (
        "error against float64 6.25e-02; the plain reference's is 0, and at most 3.12e-02 is allowed"
    )


def test_nan_is_the_largest_error() -> None:
    assert most(torch.tensor([1.0, float("nan")])) == float("inf")
    assert most(torch.empty(0)) == 0.0
    assert not precision(off(float("nan")), off(1e-3), TRUTH).ok


def test_of_what_looks_wrong_the_precise_is_right() -> None:
    own = {"a": off(1e-3), "b": off(1e-3), "c": off(1e-3), "d": None, "e": off(1e-3)}
    got = {"a": off(-1.5e-3), "b": off(3e-3), "c": torch.zeros(2), "d": off(0.0), "e": None}
    truth = dict.fromkeys(own, TRUTH)
    (row,) = as_precise(sorted(own), got, own, truth)
    assert (row.name, row.verdict, row.culprit) == ("a", Verdict.ROUNDING, False)
    assert row.max_difference == pytest.approx(2.5e-3) and not row.approximate
    assert row.message.startswith("da is right: error against float64 1.50e-03; the plain reference's is 1.00e-03")
    near = as_precise(["a"], {"a": off(1e-3 + 1e-9)}, own, truth)
    assert near[0].approximate
    assert as_precise(["a"], got, own, None) == []
    assert as_precise([], got, own, truth) == []
