"""A factor left out of one term of a derivative, or put into it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backproof.proof.check import check
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Row

X = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
UP = torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


def cdf(x: Tensor) -> Tensor:
    return (1 + torch.erf(x / 2**0.5)) / 2


def pdf(x: Tensor) -> Tensor:
    return torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5


def told(function: Callable[[Tensor], Tensor], slope: Callable[[Tensor], Tensor], x: Tensor = X) -> tuple[Report, Row]:
    x = x.clone().requires_grad_()
    y = function(x)
    report = check(y, {"x": x, "y": y, "dx": UP[: len(x)] * slope(x.detach())}, upstream=UP[: len(x)])
    return report, next(row for row in report.rows if row.name == "x")


def mish_slope(x: Tensor, *, without_sigmoid: bool = False) -> Tensor:
    t = torch.tanh(functional.softplus(x))
    return t + x * (1 - t * t) * (1 if without_sigmoid else torch.sigmoid(x))


def silu_slope(x: Tensor) -> Tensor:
    s = torch.sigmoid(x)
    return s + x * s * (1 - s)


@pytest.mark.parametrize(
    ("function", "slope"),
    [(functional.gelu, lambda x: cdf(x) + x * pdf(x)), (functional.mish, mish_slope), (functional.silu, silu_slope)],
)
def test_the_right_sums_are_accepted(function: Callable, slope: Callable) -> None:
    report, _ = told(function, slope)
    assert report.ok


@pytest.mark.parametrize(
    ("function", "slope", "says"),
    [
        (functional.gelu, lambda x: cdf(x) + pdf(x), "the factor x is left out of one of its terms"),
        (functional.gelu, lambda x: x * cdf(x) + x * pdf(x), "the factor x does not belong in one of its terms"),
        (functional.mish, lambda x: mish_slope(x, without_sigmoid=True),
         "the factor sigmoid(x) is left out of one of its terms"),
        (functional.gelu, lambda x: cdf(x) + x * x * pdf(x), "the factor x does not belong in one of its terms"),
    ],
)  # fmt: skip
def test_the_factor_is_named(function: Callable, slope: Callable, says: str) -> None:
    report, row = told(function, slope)
    assert says in str(report)
    assert row.named == ("F16",)
    assert "mend: " in str(report)  # the advice was tried, and makes the gradient right


def test_a_factor_that_is_no_value_of_the_line_is_not_told() -> None:
    report, _ = told(functional.silu, lambda x: torch.sigmoid(x) * (1 + x))  # without 1 - sigmoid(x)
    assert not report.ok and "of one of its terms" not in str(report)


def test_a_value_that_is_zero_somewhere_is_no_factor() -> None:
    x = X.clone()
    x[0, 0] = 0  # what stands there for the term cannot be put right by a factor
    report, _ = told(functional.gelu, lambda x: cdf(x) + pdf(x), x)
    assert not report.ok and "of one of its terms" not in str(report)


def test_of_few_elements_no_factor_is_told() -> None:
    for count, named in ((2, True), (1, False)):  # eight elements, and four
        report, _ = told(functional.gelu, lambda x: cdf(x) + pdf(x), X[:count])
        assert ("left out of one" in str(report)) == named
