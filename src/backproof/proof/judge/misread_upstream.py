"""Upstream gradients to prove with, and the diagnosis that needs a choice of them: it is ignored."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backproof.proof.judge.judge import judge
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Row, Verdict, finding
from backproof.proof.verdict.glance import glance


def judged(
    values: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    result: Tensor,
    upstream: Tensor | None,
) -> list[Row]:
    """The judge's rows; a culprit that is right for another upstream gradient than it was given ignores it."""
    rows = list(judge(values, gradients, result, upstream).rows)
    suspects = {row.name for row in rows if row.culprit and row.verdict is Verdict.WRONG}
    for claim, other in _misreadings(upstream) if suspects and upstream is not None else ():
        fitting = suspects & glance(values, gradients, result, other).right.keys()
        advice = "multiply by the upstream gradient, element by element, before anything is summed"
        rows = [
            finding(row, Cause.UPSTREAM_IGNORED, claim, next=advice) if row.name in fitting else row for row in rows
        ]
        suspects -= fitting
    return rows


def _misreadings(upstream: Tensor) -> list[tuple[str, Tensor]]:
    """What a line may have taken the upstream gradient for, and how to say so."""
    ones = torch.ones_like(upstream)
    numbers = upstream.detach().reshape(-1)
    readings = [("ignores the upstream gradient: yours is the gradient for ones", ones)]
    if upstream.numel() > 1:
        single = {
            "first element": numbers[0],
            "last element": numbers[-1],
            "mean": numbers.mean(),
            "sum": numbers.sum(),
        }
        readings += [
            (f"treats the upstream gradient as one number, its {name}", number * ones)
            for name, number in single.items()
        ]
    return [(claim, other) for claim, other in readings if not torch.equal(other, upstream)]
