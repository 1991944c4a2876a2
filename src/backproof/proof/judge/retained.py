"""Where the graph is gone: gradients beside the `.grad` that backward() left, by value alone."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backproof.proof.graph.node import dense
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Row
from backproof.proof.report.words import number
from backproof.proof.verdict.decide import Known, of_retained, row_of


def compare_with_retained(
    values: Mapping[str, Tensor], gradients: Mapping[str, Tensor | None], labels: Mapping[str, str]
) -> Report | None:
    """A row for each gradient whose value has a `.grad`; None where no value has one.

    `.grad` is the sum over all calls of backward() since it was last set to None, which only the user knows.
    """
    kept = {name: left for name in gradients if (left := _left(values.get(name))) is not None}
    without = [f"{labels[name]} ({name} has kept no .grad)" for name in gradients if name not in kept]
    largest = max((float(left.abs().max()) for left in kept.values() if left.numel()), default=0.0)
    rows = [
        _row(name, given.detach(), kept[name], labels[name], largest)
        for name, given in gradients.items()
        if name in kept and given is not None
    ]
    if not rows:
        return None
    notes = ("gradients are compared with the .grad that backward() left, by value alone, so no line is blamed.",)
    return Report(tuple(rows), notes, unjudged=tuple(without))


def _left(value: Tensor | None) -> Tensor | None:
    if value is None or not (value.is_leaf or value.retains_grad) or value.grad is None:
        return None
    return dense(value.grad.detach())


def _row(name: str, given: Tensor, kept: Tensor, label: str, largest: float) -> Row:
    known = of_retained(given, kept, largest)
    difference, message = None, ""
    if given.shape == kept.shape and given.device == kept.device and kept.numel():
        difference = float((given.double() - kept.double()).abs().max())
    if known in (Known.OTHER_SHAPE, Known.OTHER_DTYPE):
        what = f"shape {list(given.shape)}" if known is Known.OTHER_SHAPE else f"dtype {given.dtype}"
        message = f"{label} has {what}, and {name}.grad {list(kept.shape)} of {kept.dtype}."
    elif known is Known.NOT_WHAT_IS_LEFT:
        message = (
            f"{label} is not what backward() left in {name}.grad: the largest difference is {number(difference)}. "
            ".grad adds up over calls of backward(); set it to None before."
        )
    elif known is Known.NEAR_WHAT_IS_LEFT:
        message = f"{label} differs from {name}.grad by {number(difference)}: rounding, or a small fault."
    return row_of(
        name,
        known,
        message=message,
        exact=known is Known.EQUAL_BITS,
        approximate=given.shape == kept.shape and torch.allclose(given.double(), kept.double()),
        max_difference=difference,
        label=label,
    )
