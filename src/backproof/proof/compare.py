"""One gradient held against another, strictly: nothing is broadcast, and the first thing that is wrong is what is said.

The order is shape, type, finiteness, then every element.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from math import isfinite, nan

import torch
from torch import Tensor


@dataclass(frozen=True)
class Comparison:
    """How the gradient `d<name>` that was computed compares with the one that is right.

    `exact` is equality of every bit, `approximate` is `torch.allclose` with its default tolerances,
    `max_difference` the largest absolute difference of an element (nan where there is none to take).
    `problem` is empty, or one sentence on why the two do not agree; a row that `settle` found to differ by rounding
    alone has none, even if it is not approximate.
    """

    name: str
    exact: bool = False
    approximate: bool = False
    max_difference: float = nan
    problem: str = ""

    @property
    def agrees(self) -> bool:
        return not self.problem

    def __str__(self) -> str:
        line = (
            f"{self.name:15s} | exact: {self.exact!s:5s} | approximate: {self.approximate!s:5s} | "
            f"maxdiff: {float(f'{self.max_difference:.10g}')}"
        )
        return f"{line}\n    {self.problem}" if self.problem else line


def compare(name: str, got: Tensor | None, expected: Tensor | None) -> Comparison:
    """Compare the gradient `got` of the value `name` with `expected`; None means that there is no gradient."""
    if expected is None:
        return Comparison(name, problem=f"The loss does not depend on {name}, so that it has no gradient.")
    if got is None:
        return Comparison(name, problem=f"d{name} is missing; its shape should be {_shape(expected)}.")
    if got.shape != expected.shape:
        return Comparison(
            name,
            problem=f"d{name} has the shape {_shape(got)} and {name} has {_shape(expected)}; they have to be the same.",
        )
    if got.dtype != expected.dtype:
        return Comparison(name, problem=f"d{name} has the type {got.dtype} and {name} has {expected.dtype}.")
    if not torch.isfinite(got).all() and torch.isfinite(expected).all():
        index = tuple(torch.nonzero(~torch.isfinite(got))[0].tolist())
        return Comparison(name, problem=f"d{name} is {got[index].item()} at {list(index)}.")
    difference = (got - expected).abs().max().item() if got.numel() else 0.0
    exact, approximate = torch.equal(got, expected), torch.allclose(got, expected)
    return Comparison(name, exact, approximate, difference, "" if approximate else _worst(name, got, expected))


def settle(row: Comparison, in_float64: Comparison) -> Comparison:
    """The row without its problem, if all that it differed by is gone in float64: rounding, and not a mistake."""
    rounding = in_float64.agrees and isfinite(row.max_difference)
    return replace(row, problem="") if rounding else row


def all_agree(comparisons: Iterable[Comparison]) -> bool:
    """True when there is at least one comparison and none has a problem."""
    verdicts = [comparison.agrees for comparison in comparisons]
    return bool(verdicts) and all(verdicts)


def _worst(name: str, got: Tensor, expected: Tensor) -> str:
    index = torch.unravel_index((got - expected).abs().nan_to_num(torch.inf).argmax(), got.shape)
    where = [int(i) for i in index]
    return f"d{name} differs most at {where}: got {got[index].item():.6g}, expected {expected[index].item():.6g}."


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
