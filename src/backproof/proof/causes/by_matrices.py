"""Matrix products of the reader's gradient and one value: the wrong value, or a transposed one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.causes.by_monomials import others
from backproof.proof.causes.case import Finding, Part
from backproof.proof.causes.fault import Fault


class Form(NamedTuple):
    """How two tensors are multiplied, as one would write it."""

    text: str

    def __call__(self, first: str, second: str) -> str:
        return self.text.format(a=first, b=second)


def other_factor(fault: Fault) -> Iterator[Finding]:
    """The right product with another tensor in place of the value, or with a factor transposed."""
    for part in fault.parts:
        right = _right(fault, part)
        if right is None:
            continue
        form, name, value, scale = right
        d, line = part.d, part.line
        for other, made in _products(part.upstream, value, part.expected.shape):
            if other != form and fault.explains(part.whole(scale * made)):
                yield Finding(
                    "F10",
                    f"it is made as {other(d, name)}, with a factor transposed or on the wrong side",
                    f"{part.subject} equals {other(d, name)}, to rounding; the right one is {form(d, name)}.",
                    f"use {form(d, name)}",
                )
                return
        for called, gradient, tensor in others(fault):
            for other, made in _products(part.upstream, tensor.double(), part.expected.shape):
                if other == form and fault.explains(part.whole(scale * made)):
                    head = f"{called} stands where {name} belongs"
                    yield Finding(
                        "F15" if gradient else "F14",
                        f"the gradient {called} stands where the value {name} belongs" if gradient else head,
                        f"{part.subject} equals {other(d, called)}, to rounding; the right one is {form(d, name)}.",
                        f"derive {line} again: use {form(d, name)}",
                    )
                    return


def _right(fault: Fault, part: Part) -> tuple[Form, str, Tensor, float] | None:
    for name in fault.siblings(part.reader):
        value = fault.graph.values[name].detach()
        if not value.is_floating_point():
            continue
        for form, made in _products(part.upstream, value.double(), part.expected.shape):
            size = float(made.flatten().dot(made.flatten()))
            c = float(made.flatten().dot(part.expected.flatten())) / size if size else 0.0
            if c and bool(((c * made - part.expected).abs() <= fault.allowed[part.window]).all()):
                return form, name, value.double(), c
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
