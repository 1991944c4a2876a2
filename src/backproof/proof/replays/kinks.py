"""Kinks, ties and symmetric matrices, where more than one gradient is right.

Where a function has a kink (relu at 0) or a tie (the maximum of equal numbers), every gradient between those to be had
nearby is a subgradient, and autograd's is one of several. So before a gradient is accused, the inputs are shifted a
little: what differs only at a kink is right beside it, and lies at the kink between the gradients of the reference
nearby. A fault at a place where the function is smooth stays one, however rare the place.

Of a symmetric matrix, the gradient of a function that takes it for symmetric, as `eigh` does, is known up to an
antisymmetric part. That autograd's own is none in antisymmetric directions shows by differences of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backproof.proof.report.rows import Row
from backproof.proof.report.words import listed, number
from backproof.proof.user.tensors import as_real, is_float, rounded_to, widened
from backproof.proof.verdict.decide import Known, row_of

Values = Mapping[str, Any]
Gradients = Mapping[str, Tensor | None]

_ROUNDINGS = 8  # a shift of so many roundings leaves a kink that rounding has hit, and changes smooth gradients little
_DENSITIES = (1.0, 0.25, 0.06, 0.015)  # the share of elements that move: among many equal ones, each has to win once
_DRAWS = 4  # for each density, half of them back
_PERIOD = 16  # slices of a dimension that are told apart: of so many equal numbers in a row, each wins once
_SINGLES = 16  # where so few elements differ, each also moves alone
_SYMMETRY = 16  # roundings of the largest number, by which a @ a.mT may be off symmetry
_UNLIKE = 1e-3  # of the gradient: differences of values in float64 know a slope far better than this
_SINGULAR = 100  # times larger than beside it is a gradient that divides by the difference of equal numbers
_JUMP = 0.1  # of a fault: a gradient that changes by less beside a place has no kink there that could explain it
_LEFT = 0.02  # of a fault: what is left of one at a kink is what the gradients around change by, far less than this


class Kink(NamedTuple):
    """Why a gradient that differs is no fault, whether it is a right one of several, and whether a shift shows it."""

    said: str
    valid: bool
    shifted: bool = True


class Bench(NamedTuple):
    """What a shifted run needs: both sides' gradients, and the weighted sum of the reference's outputs in float64."""

    function: Callable[[Values], Gradients]
    reference: Callable[[Values], Gradients]
    total: Callable[[dict[str, Any]], float]
    fine: float | None = None  # how far the inputs move, in float64, where the reference is computed in it


def kink_of(name: str, got: Tensor, own: Tensor, values: Values, bench: Bench, eps: float) -> Kink | None:
    """Whether the gradient `got` of the input `name` differs from the reference's `own` at kinks only, and where.

    `eps` is the rounding of the dtype that is tried. None where it is a fault, or where that cannot be found out.
    """
    got, own = as_real(widened(got.detach())), as_real(widened(own.detach()))
    if got.shape != own.shape or not own.numel() or not bool(got.isfinite().all()) or not bool(own.isfinite().all()):
        return None
    apart = (got - own).abs()
    differ = apart > max(_LEFT * float(apart.max()), 2 * eps * float(own.abs().max()))
    if not bool(differ.any()):
        return None
    try:
        return _symmetric(name, got, own, values, bench) or _shifted(name, got, own, differ, values, bench, eps)
    except Exception:
        return None


def excused(row: Row, kink: Kink | None, *, first: bool) -> Row:
    """A culprit's row, or where a kink explains it, what is said instead.

    In the `first` run, on the user's own numbers, a gradient at a tie has to be a right one of several; at ties that a
    replay has made it is enough that it is right beside them.
    """
    if kink is None or (first and not kink.valid):
        return row
    said = f"{kink.said}; it is one of several subgradients there" if kink.valid and kink.shifted else kink.said
    known = Known.SUBGRADIENT if kink.valid else Known.BESIDE_KINKS
    fresh = row_of(row.name, known, label=row.label, max_difference=row.max_difference)
    return replace(fresh, message=f"{said}." if first else "", remark=said)


def _shifted(
    name: str, got: Tensor, own: Tensor, differ: Tensor, values: Values, bench: Bench, eps: float
) -> Kink | None:
    for size in (_ROUNDINGS * eps, eps**0.5):
        if not _vanishes(name, got, own, differ, values, bench, eps, size):
            continue
        near = [own]
        around = values if bench.fine is None else _wide(values)
        for moved in _shifts(around, name, differ, bench.fine or size):
            gradient = bench.reference(moved)[name]
            if gradient is not None:
                near.append(as_real(widened(gradient)))
        if float(own.abs().max()) > _SINGULAR * float(torch.stack(near[1:]).abs().flatten(1).amax(1).median()):
            said = f"the reference's gradient of {name} is singular here: with the inputs shifted by {number(size)} of "
            return Kink(f"{said}their size it is far smaller, and d{name} is right", valid=False)
        seen = torch.stack(near)
        low, high = seen.amin(0), seen.amax(0)
        if bool((differ & (high - low < _JUMP * (got - own).abs())).any()):
            continue  # the function is smooth where they differ
        slack = _LEFT * (high - low + (got - own).abs())
        inside = (got >= low - slack) & (got <= high + slack)
        valid = bool((inside | ~differ).all()) and _sums_fit(torch.where(differ, got, own), own, seen)
        return Kink(_at_kinks(name, differ, values, size), valid)
    return None


def _vanishes(
    name: str, got: Tensor, own: Tensor, differ: Tensor, values: Values, bench: Bench, eps: float, size: float
) -> bool:
    """Whether each element that differs agrees once the inputs are shifted, in one draw at least."""
    fault = float((got - own).abs().max())
    generator, left = torch.Generator().manual_seed(3), differ
    for _ in range(_DRAWS):
        moved = _moved(values, size, generator, 1.0)
        function, reference = bench.function(moved)[name], bench.reference(moved)[name]
        if function is None or reference is None:
            return False
        right = as_real(widened(reference))
        apart = (as_real(widened(function)) - right).abs()
        left = left & ~(apart <= max(_LEFT * fault, 16 * eps * float(right.abs().max())))
        if not bool(left.any()):
            return True
    return False


def _shifts(values: Values, name: str, differ: Tensor, size: float) -> Iterator[Values]:
    """The inputs, shifted back and forth: all elements or some, each slice of a dimension, a few elements alone."""
    for density in _DENSITIES:
        for draw in range(_DRAWS):
            generator = torch.Generator().manual_seed(5 + draw // 2)
            yield _moved(values, size if draw % 2 else -size, generator, density)
    value = values[name]
    numbers = as_real(value.detach())
    for dim in range(numbers.ndim):
        period = min(numbers.shape[dim], _PERIOD)
        for residue in range(period):
            chosen = (torch.arange(numbers.shape[dim], device=numbers.device) % period == residue).to(numbers.dtype)
            step = size * _scale(numbers) * chosen.view(-1, *(1,) * (numbers.ndim - dim - 1))
            yield {**values, name: _like(value, numbers + step)}
            yield {**values, name: _like(value, numbers - step)}
    places = differ.nonzero()
    for place in places if len(places) <= _SINGLES else ():
        for sign in (1, -1):
            moved = numbers.clone()
            moved[tuple(place)] += sign * size * _scale(numbers)[tuple(place)]
            yield {**values, name: _like(value, moved)}


def _moved(values: Values, size: float, generator: torch.Generator, density: float) -> Values:
    """Every floating-point input with a share of its elements moved by about `size`, relative to their own."""
    found = dict(values)
    for name, value in values.items():
        if is_float(value):
            numbers = as_real(value.detach())
            draw = torch.rand(numbers.shape, generator=generator, dtype=torch.float64).to(numbers.device) - 0.5
            chosen = torch.rand(numbers.shape, generator=generator, dtype=torch.float64).to(numbers.device) < density
            step = (draw.sign() * (0.5 + draw.abs()) * chosen * size).to(numbers.dtype) * _scale(numbers)
            found[name] = _like(value, numbers + step)
    return found


def _wide(values: Values) -> dict[str, Any]:
    """The inputs in float64; what is no tensor stays, and what modules hold goes on in their own dtype."""
    return {name: rounded_to(value, torch.float64) for name, value in values.items()}


def _like(value: Tensor, numbers: Tensor) -> Tensor:
    return torch.view_as_complex(numbers) if value.is_complex() else numbers


def _scale(numbers: Tensor) -> Tensor:
    """An element's own size; the mean size of all where it is smaller."""
    sizes = numbers.abs()
    return torch.maximum(sizes, sizes.double().mean().to(sizes.dtype)) if sizes.numel() else sizes


def _sums_fit(got: Tensor, own: Tensor, seen: Tensor) -> bool:
    """Whether sums that are the same for all gradients nearby are the same here: a maximum's gradient is shared out."""
    apart = (got - own).abs()
    sums = [(seen.flatten(1).sum(1), got.sum(), apart.sum())]
    sums += [(seen.sum(d + 1), got.sum(d), apart.sum(d)) for d in range(got.ndim)]
    for near, mine, size in sums:
        steady = near.amax(0) - near.amin(0) <= _LEFT * size
        if bool((steady & ((mine - near[0]).abs() > 4 * _LEFT * size)).any()):
            return False
    return True


def _at_kinks(name: str, differ: Tensor, values: Values, size: float) -> str:
    value = as_real(values[name].detach())
    there = value[differ].unique().tolist() if value.shape == differ.shape else []
    where = f", all where {name} is {listed([number(one) for one in there])}" if 0 < len(there) <= 3 else ""
    return (
        f"d{name} differs in {int(differ.sum())} of {differ.numel()} elements{where}, at kinks or ties: with the "
        f"inputs shifted by {number(size)} of their size it agrees"
    )


def _symmetric(name: str, got: Tensor, own: Tensor, values: Values, bench: Bench) -> Kink | None:
    value = values[name]
    if value.ndim < 2 or value.shape[-1] != value.shape[-2] or value.is_complex():
        return None
    if bool((value - value.mT).abs().max() > _SYMMETRY * torch.finfo(value.dtype).eps * value.abs().max()):
        return None
    apart = got - own
    if float((apart + apart.mT).abs().max()) > _LEFT * float(apart.abs().max()):
        return None
    draw = torch.randn(value.shape, generator=torch.Generator().manual_seed(7), dtype=torch.float64).to(value.device)
    wide = _wide(values)
    for direction in (draw - draw.mT, apart / apart.square().mean().sqrt()):
        step = 1e-5 * float(value.abs().max())
        up, down = (bench.total({**wide, name: wide[name] + sign * step * direction}) for sign in (1, -1))
        slope, claimed = (up - down) / (2 * step), float((own * direction).sum())
        if abs(slope - claimed) > _UNLIKE * float(own.norm()):
            said = (
                f"d{name} is right for symmetric changes of {name}, which is symmetric: its symmetric part is that of "
                "the reference's gradient, and the reference takes the matrix for symmetric, too"
            )
            return Kink(said, True, shifted=False)
    return None  # the reference's own is the gradient in all directions, so that there is no other
