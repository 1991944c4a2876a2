"""Elementwise factors: left out, put in, to another power, of another function."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from backproof.proof.causes.case import Finding, Part
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.sample import evenly
from backproof.proof.report.cause import Cause

_DISTINCT = 6  # different values of X that a function must be seen at, since two weights fit any two
_CLEAR = 24  # elements to look at first: many for two weights, few for every pair of the basis
_ALIKE = 16  # values of the same shape from other lines that are tried; among many one fits by chance
_FIRST_FIT = 2e-3  # misfit on those elements; all are held against their own rounding afterwards
_MEANT = 1e-2  # within this of a quarter a weight is tried as that quarter; below it a term is none
_TELLING = 50  # times its rounding an upstream gradient must be, to be divided by


def handed_on(fault: Fault) -> Iterator[Finding]:
    """The share of one reader is that reader's gradient as it stands, summed to shape where need be."""
    for part in fault.parts:
        passed = fitting(part.upstream, part.got.shape)
        if passed is None or _reordered(passed, part.expected):
            continue
        if replaces(fault, part, passed):
            d = part.d
            line = part.line
            factor, mended = _known_factor(fault, part)
            yield Finding(
                Cause.WRONG_FACTOR,
                f"{d} is handed on without {factor or 'the factor that belongs to it'}",
                f"{part.subject} equals {d}{_summed(part)} to rounding; the derivative of {line} is left out.",
                f"multiply {d} by {factor}" if factor else f"multiply {d} by the derivative of {line}",
                None if mended is None else part.whole(mended),
            )


def _reordered(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors hold the same numbers, so that only their places can be wrong."""
    one, other = (tensor.flatten().sort().values for tensor in (a, b))
    return one.shape == other.shape and bool((one - other).norm() <= 1e-5 * other.norm())  # float32 sums


def other_function(fault: Fault) -> Iterator[Finding]:
    """got = upstream · f(X) for a known X, where the right derivative is another function."""
    for part in fault.parts:
        upstream = fitting(part.upstream, part.got.shape)
        starts = [] if upstream is None else [(part.d, upstream)]
        cases = [
            (start, first, name, x)
            for start, first in [*starts, ("the right one", part.expected)]
            for name, x in _neighbours(fault, part, gradients=start == part.d and fault.precise)
        ]
        for start, first, name, x in cases:
            found = _function(fault, part, first, x)
            if found is None or (found in ("{x}", "-{x}") and name in fault.siblings(part.reader)):
                continue  # a product with a value that belongs there: something else is missing
            text = found.format(x=name)
            gradient = name in {fault.case.d(other) for other in fault.case.handed}
            if gradient and "/" in text:
                continue  # nobody divides by a gradient; divided by itself, it would be any constant
            line = part.line
            if start == "the right one" and text in (f"1 / (exp({name}))", f"exp({name})"):
                yield _exponential(part, name, left_out=text.startswith("1"))
                return
            yield Finding(
                Cause.WRONG_TENSOR if gradient else Cause.OTHER_FORWARD_PASS,
                f"the gradient {name} stands where a forward value belongs"
                if gradient
                else "it is the derivative of a different forward pass",
                f"{part.subject} equals {start} * ({text}), to rounding, and that is not the derivative of {line}.",
                f"derive {line} again",
            )
            return


def _exponential(part: Part, name: str, *, left_out: bool) -> Finding:
    says, step = ("is left out", "multiply by") if left_out else ("does not belong there", "divide by")
    return Finding(
        Cause.WRONG_FACTOR,
        f"the factor exp({name}) {says}",
        f"{part.subject} equals the right one {'/' if left_out else '*'} exp({name}), to rounding.",
        f"{step} exp({name}){part.place}",
        part.whole(part.expected),
    )


def _function(fault: Fault, part: Part, upstream: Tensor, x: Tensor) -> str | None:
    """`1 - {x}**2` and the like, when two terms of a small basis make up got / upstream, or its inverse."""
    clear = _clear(fault, part, upstream)
    if len(clear) < 6:
        return None
    ratio, at = (part.got.flatten() / upstream.flatten())[clear], x.flatten()[clear]
    if len(at.unique()) < _DISTINCT:
        return None  # two weights fit anything
    for target, form in ((ratio, "{}"), (1 / ratio, "1 / ({})")):
        if not bool(target.isfinite().all()):
            continue
        for terms, weights in _fits(target, at):
            shown = " + ".join(_weighted(w, text) for w, (text, _) in zip(weights, terms, strict=True) if w)
            whole = sum(
                (w * function(x) for w, (_, function) in zip(weights, terms, strict=True)),
                torch.zeros_like(x),
            )
            whole = whole if form == "{}" else 1 / whole
            if replaces(fault, part, upstream * whole) and _plausible(
                fault, part, upstream, at, clear, weights, terms, form
            ):
                return form.format(shown.replace("+ -", "- "))
    return None


_BASIS = (
    ("1", torch.ones_like),
    ("{x}", lambda x: x),
    ("{x}**2", torch.square),
    ("{x}**3", lambda x: x**3),
    ("1/{x}", torch.reciprocal),
    ("1/{x}**2", lambda x: x**-2),
    ("{x}**0.5", lambda x: x.abs().sqrt()),
    ("exp({x})", torch.exp),
    ("({x} > 0)", lambda x: (x > 0).to(x.dtype)),
    ("({x} < 0)", lambda x: (x < 0).to(x.dtype)),
)


def _fits(target: Tensor, at: Tensor) -> Iterator[tuple[list, list[float]]]:
    """One or two basis functions that make up `target` on the sample, simplest first."""
    columns = torch.stack([function(at) for _, function in _BASIS], 1)
    usable = [i for i in range(1, len(_BASIS)) if bool(columns[:, i].isfinite().all()) and _varies(columns[:, i])]
    alone = [(i, i) for i in usable]
    pairs = torch.tensor(alone + list(combinations([0, *usable], 2)), device=at.device)
    if not len(pairs):
        return
    sizes = columns.norm(dim=0)
    matrix = (columns / sizes)[:, pairs].movedim(1, 0).contiguous()
    matrix[: len(alone), :, 1] = 0
    solved = torch.linalg.lstsq(matrix, target.expand(len(pairs), -1).unsqueeze(2), driver="gelsd").solution
    misfit = ((matrix @ solved).squeeze(2) - target).norm(dim=1)
    for index in (misfit <= _FIRST_FIT * target.norm()).nonzero().flatten().tolist():
        pair = pairs[index].tolist()[: 1 if index < len(alone) else 2]
        weights = [float(w / sizes[i]) for w, i in zip(solved[index].flatten(), pair, strict=False)]
        yield [_BASIS[i] for i in pair], [_rounded(w) for w in weights]
        yield [_BASIS[i] for i in pair], weights


def _varies(column: Tensor) -> bool:
    return bool((column != column[0]).any())


def _rounded(w: float) -> float:
    """Whole numbers, halves and quarters are taken to be meant as such, if they then fit."""
    near = round(w * 4) / 4
    return near if abs(w - near) <= _MEANT * max(1.0, abs(w)) else w


def _plausible(
    fault: Fault,
    part: Part,
    upstream: Tensor,
    at: Tensor,
    clear: Tensor,
    weights: list[float],
    terms: list,
    form: str,
) -> bool:
    """Plain weights speak for themselves; others only if the right derivative is of the same form."""
    if all(w == round(w * 4) / 4 and abs(w) <= 4 for w in weights):
        return True
    right = (part.expected.flatten() / upstream.flatten())[clear]
    right = right if form == "{}" else 1 / right
    least = _MEANT * right.norm()
    return any(
        [t for t, _ in other] == [t for t, _ in terms]
        and all((w * function(at)).norm() > least for w, (_, function) in zip(found, other, strict=True))
        for other, found in _fits(right, at)
    )


def _weighted(w: float, text: str) -> str:
    if text == "1":
        return f"{w:g}"
    return text if w == 1 else f"-{text}" if w == -1 else f"{w:.6g} * {text}"


def replaces(fault: Fault, part: Part, candidate: Tensor) -> bool:
    """Whether `candidate`, in place of the right share of one reader, makes the user's gradient."""
    return candidate.shape == part.expected.shape and fault.explains(part.whole(candidate))


def fitting(gradient: Tensor, shape: torch.Size) -> Tensor | None:
    """`gradient` summed or spread to `shape`, as broadcasting would; None where neither goes."""
    if gradient.shape == shape:
        return gradient
    try:
        if gradient.dim() >= len(shape) and torch.broadcast_shapes(gradient.shape, shape) == gradient.shape:
            return gradient.sum_to_size(shape)
        return gradient.expand(shape)
    except RuntimeError:
        return None


def _clear(fault: Fault, part: Part, upstream: Tensor) -> Tensor:
    """A few elements where the upstream gradient is well above rounding, spread evenly."""
    found = (upstream.abs() > _TELLING * fault.measure[part.window]).flatten().nonzero().flatten()
    if len(found) <= _CLEAR:
        return found
    return found[evenly(len(found), _CLEAR, found.device)]


def _neighbours(fault: Fault, part: Part, *, gradients: bool = False) -> Iterator[tuple[str, Tensor]]:
    """Values and gradients that the line of one share may hold, near ones first."""
    alike = [name for name in fault.graph.names if fault.graph.values[name].shape == part.got.shape]
    for name in dict.fromkeys((*fault.local(part.reader), *fault.inputs, *alike[:_ALIKE])):
        x = fault.graph.values[name].detach()
        x = x[part.window] if x.shape == fault.got.shape else x
        if x.is_floating_point() and x.numel() > 1 and (spread := _spread(x, part.got.shape)) is not None:
            yield name, spread
    for name in fault.at_hand if gradients else ():
        gradient = fault.case.handed.get(name)
        if gradient is not None and gradient.numel() > 1 and (spread := _spread(gradient, part.got.shape)) is not None:
            yield fault.case.d(name), spread


def _spread(x: Tensor, shape: torch.Size) -> Tensor | None:
    try:
        return x.double().expand(shape)
    except RuntimeError:
        return None


def _known_factor(fault: Fault, part: Part) -> tuple[str, Tensor | None]:
    """The known value that makes the reader's gradient the right share, and that share."""
    for name, x in _products(fault, part):
        made = fitting(part.upstream * x, part.expected.shape)
        if made is not None and bool(((made - part.expected).abs() <= fault.allowed[part.window]).all()):
            return name, made
    return "", None


def _products(fault: Fault, part: Part) -> Iterator[tuple[str, Tensor]]:
    for name in (part.reader, *fault.siblings(part.reader), fault.name):
        x = fault.graph.values[name].detach()
        if x.is_floating_point() and (spread := _spread(x, part.upstream.shape)) is not None:
            yield name, spread


def _summed(part: Part) -> str:
    return "" if part.upstream.shape == part.got.shape else ", brought to its shape,"
