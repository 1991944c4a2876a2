"""How precise a kernel has to be: errors against float64, beside those of its plain reference."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from backproof.proof.report.rows import Row
from backproof.proof.report.words import number
from backproof.proof.user.tensors import as_real, widened
from backproof.proof.verdict.decide import Known, row_of


@dataclass(frozen=True)
class Precision:
    """Errors against float64, and what the rule allows: twice the plain reference's, and a unit of rounding."""

    own: float
    reference: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.own <= self.allowed

    def __str__(self) -> str:
        return (
            f"error against float64 {number(self.own)}; the plain reference's is {number(self.reference)}, "
            f"and at most {number(self.allowed)} is allowed"
        )


def precision(
    own: Tensor,
    reference: Tensor,
    truth: Tensor,
    units: float = 1.0,
    nearby: float = 0.0,
    usual: float = torch.inf,
) -> Precision:
    """Compares largest errors; `units` are units of rounding of the largest number.

    `nearby` is the reference's largest error for inputs that are rounded otherwise, and `usual` the function's middle
    one: either may by chance be smaller, or larger, for these.
    """
    own, reference, truth = as_real(own), as_real(reference), as_real(truth)
    wide = truth.dtype
    unit = torch.finfo(reference.dtype).eps * most(truth)
    error = max(nearby, most(reference.detach().to(wide) - truth))
    return Precision(min(usual, most(own.detach().to(wide) - truth)), error, 2 * error + units * unit)


def most(x: Tensor) -> float:
    """The largest magnitude; NaN counts as infinity."""
    return float(torch.nan_to_num(x.detach().abs(), nan=torch.inf).max()) if x.numel() else 0.0


def as_precise(
    faults: Collection[str],
    gradients: Mapping[str, Tensor | None],
    own: Mapping[str, Tensor | None],
    truth: Mapping[str, Tensor | None] | None,
) -> list[Row]:
    """Rows for those of `faults` that are as close to float64 as `own`, the reference's gradients: they are right."""
    if truth is None:
        return []
    rows = []
    for name in faults:
        got, reference, exact = gradients.get(name), own.get(name), truth.get(name)
        if got is None or reference is None or exact is None or got.shape != exact.shape:
            continue
        measured = precision(got, reference, exact)
        if measured.ok:
            near, largest = torch.allclose(got, reference), most(as_real(widened(got) - widened(reference)))
            said = f"d{name} is right: {measured}."
            rows.append(row_of(name, Known.AS_PRECISE, message=said, approximate=near, max_difference=largest))
    return rows
