"""One gradient held against another, strictly: nothing is broadcast, and the first thing that is wrong is said.

This is the notebooks' `cmp`, for when the right gradient is at hand; `check` and `prove` find it, and the fault,
themselves. The order is shape, type, finiteness, then every element.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backproof.proof.report.rows import Row
from backproof.proof.verdict.decide import Known


def compare(name: str, got: Tensor | None, expected: Tensor | None) -> Row:
    """Compare the gradient `got` of the value `name` with `expected`; None means that there is no gradient.

    In the row, `exact` is equality of every bit, `approximate` is `torch.allclose` with its default tolerances, and
    `max_difference` the largest absolute difference of an element. The verdict is exact, rounding (where the two are
    approximately equal) or what is wrong; then `message` is one sentence about it. Printed, the row is the line
    that the notebooks' `cmp` prints.
    """
    if expected is None:
        return _row(name, Known.UNUSED, f"The loss does not depend on {name}, so it has no gradient.")
    if got is None:
        return _row(name, Known.ABSENT, f"d{name} is missing; its shape should be {_shape(expected)}.")
    if got.shape != expected.shape:
        sentence = f"d{name} has the shape {_shape(got)} and {name} has {_shape(expected)}; they have to be the same."
        return _row(name, Known.OTHER_SHAPE, sentence)
    if got.dtype != expected.dtype:
        return _row(name, Known.OTHER_DTYPE, f"d{name} has the type {got.dtype} and {name} has {expected.dtype}.")
    if not torch.isfinite(got).all() and torch.isfinite(expected).all():
        index = tuple(torch.nonzero(~torch.isfinite(got))[0].tolist())
        return _row(name, Known.NOT_FINITE, f"d{name} is {got[index].item()} at {list(index)}.")
    difference = (got - expected).abs().max().item() if got.numel() else 0.0
    if torch.equal(got, expected):
        return _row(name, Known.EQUAL_BITS, exact=True, approximate=True, max_difference=difference)
    if torch.allclose(got, expected):
        return _row(name, Known.EQUAL, approximate=True, max_difference=difference)
    return _row(name, Known.DIFFERS, _worst(name, got, expected), max_difference=difference)


def _row(name: str, known: Known, message: str = "", **compared: Any) -> Row:
    """No line is at fault yet: two tensors alone do not tell whether an upstream gradient was wrong already."""
    return Row(name, known.verdict, message=message, **compared)


def _worst(name: str, got: Tensor, expected: Tensor) -> str:
    index = torch.unravel_index((got - expected).abs().nan_to_num(torch.inf).argmax(), got.shape)
    where = [int(i) for i in index]
    return f"d{name} differs most at {where}: got {got[index].item():.6g}, expected {expected[index].item():.6g}."


def _shape(tensor: Tensor) -> str:
    return str(tuple(tensor.shape))
