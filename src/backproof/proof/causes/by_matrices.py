"""Matrix products of the reader's gradient and one value: the wrong value, or a transposed one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.causes.by_monomials import others
from backproof.proof.causes.case import Finding, Part
from backproof.proof.causes.fault import Fault
from backproof.proof.report.cause import Cause
from backproof.proof.verdict.fit import fitted_factor


class Form(NamedTuple):
    """How two tensors are multiplied, as one would write it."""

    text: str

    def __call__(self, first: str, second: str) -> str:
        return self.text.format(a=first, b=second)


class Product(NamedTuple):
    """The right share as a matrix product of the reader's gradient and a value, times a number."""

    form: Form
    name: str
    value: Tensor
    made: Tensor
    scale: float

    @property
    def shown(self) -> float:
        """The number as messages write it."""
        return float(f"{self.scale:.4g}")

    def text(self, form: Form, first: str, second: str) -> str:
        """A product of this scale, as one would write it."""
        number = "" if self.shown == 1 else "-" if self.shown == -1 else f"{self.shown:g} * "
        return number + form(first, second)


def other_factor(fault: Fault) -> Iterator[Finding]:
    """The right product with another tensor in place of the value, or with a factor transposed."""
    for part in fault.parts:
        right = _right(fault, part)
        if right is None:
            continue
        form, name, value, made_right, scale = right
        d, line = part.d, part.line
        use, mended = right.text(form, d, name), part.whole(right.shown * made_right)
        for other, made in _products(part.upstream, value, part.expected.shape):
            if other != form and fault.explains(part.whole(scale * made)):
                yield Finding(
                    Cause.SWAPPED_OR_TRANSPOSED,
                    f"it is made as {other(d, name)}, with a factor transposed or on the wrong side",
                    f"{part.subject} equals {right.text(other, d, name)}, to rounding; the right one is {use}.",
                    f"use {use}",
                    mended,
                )
                return
        for called, gradient, tensor in others(fault):
            for other, made in _products(part.upstream, tensor.double(), part.expected.shape):
                if other == form and fault.explains(part.whole(scale * made)):
                    head = f"{called} stands where {name} belongs"
                    yield Finding(
                        Cause.WRONG_TENSOR if gradient else Cause.OTHER_FORWARD_PASS,
                        f"the gradient {called} stands where the value {name} belongs" if gradient else head,
                        f"{part.subject} equals {right.text(other, d, called)}, to rounding; the right one is {use}.",
                        f"derive {line} again: use {use}",
                        mended,
                    )
                    return


def _right(fault: Fault, part: Part) -> Product | None:
    for name in fault.siblings(part.reader):
        value = fault.graph.values[name].detach()
        if not value.is_floating_point():
            continue
        for form, made in _products(part.upstream, value.double(), part.expected.shape):
            c = fitted_factor(part.expected, made)
            if c and bool(((c * made - part.expected).abs() <= fault.allowed[part.window]).all()):
                return Product(form, name, value.double(), made, c)
    return None


def _products(a: Tensor, b: Tensor, shape: torch.Size) -> Iterator[tuple[Form, Tensor]]:
    """All matrix products of the two that have the shape; batches are kept, or summed away."""
    if a.dim() < 2 or b.dim() < 2 or len(shape) < 2:
        return
    for text, x, y in (
        ("{a} @ {b}", a, b),
        ("{a} @ {b}.mT", a, b.mT),
        ("{a}.mT @ {b}", a.mT, b),
        ("{a}.mT @ {b}.mT", a.mT, b.mT),
        ("{b} @ {a}", b, a),
        ("{b} @ {a}.mT", b, a.mT),
        ("{b}.mT @ {a}", b.mT, a),
        ("{b}.mT @ {a}.mT", b.mT, a.mT),
    ):
        if x.shape[-1] != y.shape[-2] or (x.shape[-2], y.shape[-1]) != tuple(shape[-2:]):
            continue
        if x.shape[:-2] != y.shape[:-2] and y.dim() > 2 and x.dim() > 2:
            continue
        made = x @ y
        if made.shape == shape:
            yield Form(text), made
        elif made.shape[-len(shape) :] == shape:
            yield Form(f"({text}).sum(0)"), made.flatten(0, -len(shape) - 1).sum(0)
