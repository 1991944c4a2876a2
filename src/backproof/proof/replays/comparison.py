"""One comparison of a custom kernel with its reference: the same numbers forward, the same gradient back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from backproof.proof.replays.accuracy import as_accurate
from backproof.proof.replays.sides import (
    Gradients,
    Kernel,
    Side,
    Values,
    glance_side,
    gradients_of,
    in_dtype,
    judged_side,
    raw_gradients,
    run_side,
    upstreams_for,
)
from backproof.proof.replays.values import value_rows
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.user.calls import CannotProveError, describe
from backproof.proof.user.layouts import copied

_DRAWS = 4  # roundings of the inputs that are tried


@dataclass(frozen=True)
class Compared:
    """One comparison: both sides, what was sent back, the rows it gives, and whether the engine took the gradients."""

    function: Side
    reference: Side
    upstreams: dict[str, Tensor]
    gradients: Gradients
    rows: list[Row]
    refused: bool = False


@dataclass(frozen=True)
class KernelProof:
    """The plain run, which the replays are compared with."""

    kernel: Kernel
    size: int | None
    values: Values
    needs: list[str]
    plain: Compared


def compare(
    kernel: Kernel,
    values: Values,
    needs: list[str],
    *,
    layout: Callable[[Tensor], Tensor | None] | None = None,
    outputs: Collection[str] | None = None,
    known: Collection[str] | None = None,
) -> Compared:
    """Runs both sides on `values`, sends the same random gradient back through both, in `layout`, and compares."""
    reference = run_side("reference", kernel.reference, values, needs, kernel.seed)
    if not reference.differentiable:
        raise CannotProveError(
            "No output of reference depends on an input that needs a gradient, so there is nothing to prove."
        )
    function = run_side("function", kernel.function, values, needs, kernel.seed)
    truth = truth_of(kernel, values, needs)
    rows = value_rows(function, reference, truth)
    if truth is not None and any(row.verdict is Verdict.WRONG for row in rows):
        rows = value_rows(function, reference, truth, _moved(kernel, values, needs, truth))
    upstreams = upstreams_for(reference, kernel.seed)
    upstreams = {name: dense for name, dense in upstreams.items() if outputs is None or name in outputs}
    if any(function.outputs.get(name) is None or function.outputs[name].shape != dense.shape
           for name, dense in upstreams.items()):  # fmt: skip
        return Compared(function, reference, upstreams, {}, rows, refused=True)
    if layout is not None:
        upstreams = {name: made for name, dense in upstreams.items() if (made := layout(dense)) is not None}
    sent = {name: copied(value) for name, value in upstreams.items()}
    gradients, misshapen, refused = _gradients(kernel, values, needs, function, sent)
    own = gradients_of(reference, upstreams, needs, retain=True)
    gradients = {name: gradient for name, gradient in gradients.items() if gradient is not None or _needed(own[name])}
    exact = gradients_of(truth, {n: u.double() for n, u in upstreams.items()}, needs) if truth else None
    rows += _rows(kernel, reference, gradients | misshapen, upstreams, own, exact, known)
    return Compared(function, reference, upstreams, gradients, rows, refused)


def _rows(
    kernel: Kernel,
    reference: Side,
    gradients: Gradients,
    upstreams: dict[str, Tensor],
    own: Gradients,
    exact: Gradients | None,
    known: Collection[str] | None,
) -> list[Row]:
    """Full rows in the plain run (`known` is None); in a replay, only what it shows beyond the known culprits."""
    seen = glance_side(reference, gradients, upstreams)
    accurate = as_accurate(seen.faults, gradients, own, exact)
    fine = {row.name for row in accurate}
    if known is not None and seen.faults - fine <= set(known):
        return seen.rows() + accurate
    doubtful = {name: gradient for name, gradient in gradients.items() if name not in fine}
    return accurate + (judged_side(reference, doubtful, upstreams, kernel.usual) if doubtful else [])


def _moved(kernel: Kernel, values: Values, needs: list[str], truth: Side) -> Mapping[str, Tensor]:
    """How far rounding the inputs alone moves each output: far, where a layer normalisation meets a constant row."""
    generator = torch.Generator().manual_seed(kernel.seed)
    most: dict[str, Tensor] = {}
    for _ in range(_DRAWS):
        shaken = dict(in_dtype(values, torch.float64))
        for name, value in shaken.items():
            if isinstance(value, Tensor) and value.dtype is torch.float64:
                signs = torch.randint(0, 2, value.shape, generator=generator).to(value.device) * 2 - 1
                shaken[name] = value * (1 + torch.finfo(values[name].dtype).eps * signs)
        for name, output in run_side("reference", kernel.reference, shaken, needs, kernel.seed).outputs.items():
            if output.dtype is torch.float64:
                apart = (output - truth.outputs[name]).abs().detach()
                most[name] = torch.maximum(most[name], apart) if name in most else apart
    return most


def _needed(gradient: Tensor | None) -> bool:
    """None may stand for a gradient of zeros."""
    return gradient is not None and bool((gradient != 0).any())


def truth_of(kernel: Kernel, values: Values, needs: list[str]) -> Side | None:
    """The reference in float64, where it can."""
    try:
        side = run_side("reference", kernel.reference, in_dtype(values, torch.float64), needs, kernel.seed)
    except CannotProveError:
        return None
    return side if all(value.dtype is torch.float64 for value in side.differentiable.values()) else None


def _gradients(
    kernel: Kernel, values: Values, needs: list[str], function: Side, sent: dict[str, Tensor]
) -> tuple[Gradients, Gradients, bool]:
    """The function's gradients, those returned in a shape that is not the input's, and whether the engine refused."""
    spare = run_side("function", kernel.function, values, needs, kernel.seed)
    try:
        raw = raw_gradients(spare, {name: copied(value) for name, value in sent.items()})
    except Exception:  # it raises again below, where it is reported
        raw = None
    misshapen: Gradients = {
        name: gradient
        for name, gradient in (raw or {}).items()
        if name in needs and isinstance(gradient, Tensor) and gradient.shape != values[name].shape
    }
    try:
        return gradients_of(function, sent, needs, retain=True), misshapen, False
    except Exception as error:
        if misshapen and raw is not None:  # the engine refuses them all for the sake of one
            return {name: raw.get(name) for name in needs}, misshapen, True
        raise BackwardRaisedError(error) from error


class BackwardRaisedError(Exception):
    """The function's backward pass raised; the original is the cause."""

    def __init__(self, error: Exception) -> None:
        super().__init__(describe(error))
