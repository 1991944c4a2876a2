"""What two callables hold, paired: one tensor for both under one name, so that both are given the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backproof.proof.user.held import Spot, holding
from backproof.proof.user.layouts import copied
from backproof.proof.user.tensors import is_float, rounded_to, same_bits


@dataclass(frozen=True)
class Held:
    """What one callable holds: by the names of inputs, and what is its own alone."""

    inputs: Mapping[str, tuple[Spot, ...]]
    own: tuple[Spot, ...]


class Paired(NamedTuple):
    """The tensors that both hold by name, the places of each, and the names whose numbers were not the same."""

    values: dict[str, Tensor]
    sides: dict[str, Held]
    differing: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Tensor:
    """A tensor and all places that one callable keeps it in."""

    tensor: Tensor
    spots: tuple[Spot, ...]

    @property
    def name(self) -> str:
        return self.spots[0].name


def paired(function: list[Spot], reference: list[Spot], taken: Collection[str]) -> Paired:
    """Pairs the leaves that need a gradient: the same tensor, then the same name, then the same numbers.

    A name may have the variable of its module before it on one side only. Numbers tell where they are not all the same.
    Of two that differ, both sides get the function's. Frozen parameters and buffers stay each side's own.
    """
    mine, theirs = _grouped(function), _grouped(reference)
    pairs = [
        pair
        for same in (_one_tensor, _one_name, _one_tail, _one_set_of_numbers)
        for pair in _unambiguous(mine, theirs, same)
    ]
    values: dict[str, Tensor] = {}
    sides: dict[str, dict[str, tuple[Spot, ...]]] = {"function": {}, "reference": {}}
    differing = []
    for one, other in pairs:
        name = _free(one.name, {*taken, *values})
        values[name] = one.tensor
        sides["function"][name], sides["reference"][name] = one.spots, other.spots
        if one.tensor is not other.tensor and not same_bits(one.tensor, other.tensor):
            differing.append(name)
    held = {
        role: Held(sides[role], tuple(spot for spot in spots if not _is_paired(spot, sides[role])))
        for role, spots in (("function", function), ("reference", reference))
    }
    return Paired(values, held, tuple(differing))


def installed(
    held: Held, leaves: Mapping[str, Any], dtype: torch.dtype | None
) -> tuple[Callable[[], AbstractContextManager], dict[str, Tensor]]:
    """A context in which the callable holds `leaves`, and copies of its own; with it, those copies that need gradients.

    Frozen parameters and buffers of modules are copied in `dtype`, so that what is written into them is lost.
    """
    copies: dict[int, Tensor] = {}
    own: dict[str, Tensor] = {}
    places = [(spot, leaves[name]) for name, spots in held.inputs.items() for spot in spots if name in leaves]
    for spot in held.own:
        needed = spot.tensor.requires_grad
        if not (spot.of_module or needed) or (needed and not spot.tensor.is_leaf):
            continue
        if id(spot.tensor) not in copies:
            copies[id(spot.tensor)] = rounded_to(copied(spot.tensor), dtype).requires_grad_(needed)
            if needed:
                own[spot.name] = copies[id(spot.tensor)]
        places.append((spot, copies[id(spot.tensor)]))
    return (lambda: holding(places)), own


def _grouped(spots: list[Spot]) -> list[_Tensor]:
    found: dict[int, list[Spot]] = {}
    for spot in spots:
        if spot.tensor.is_leaf and spot.tensor.requires_grad and is_float(spot.tensor):
            found.setdefault(id(spot.tensor), []).append(spot)
    return [_Tensor(each[0].tensor, tuple(each)) for each in found.values()]


def _unambiguous(
    mine: list[_Tensor], theirs: list[_Tensor], same: Callable[[_Tensor, _Tensor], bool]
) -> list[tuple[_Tensor, _Tensor]]:
    """The pairs that are the same, where neither has another to be paired with; they are taken out of both lists."""
    found = []
    matches = {id(one): [other for other in theirs if same(one, other)] for one in mine}
    for one in list(mine):
        others = matches[id(one)]
        if len(others) == 1 and sum(others[0] in each for each in matches.values()) == 1:
            found.append((one, others[0]))
    for one, other in found:
        mine.remove(one)
        theirs.remove(other)
    return found


def _one_tensor(one: _Tensor, other: _Tensor) -> bool:
    return one.tensor is other.tensor


def _one_name(one: _Tensor, other: _Tensor) -> bool:
    names = {spot.name for spot in other.spots}
    return one.tensor.shape == other.tensor.shape and any(spot.name in names for spot in one.spots)


def _one_tail(one: _Tensor, other: _Tensor) -> bool:
    """`weight` and `net.weight`, or `mine.weight` and `plain.weight`."""
    ours, others = ({end for spot in each.spots for end in _ends(spot.name)} for each in (one, other))
    return one.tensor.shape == other.tensor.shape and bool(ours & others)


def _ends(name: str) -> set[str]:
    return {name, name.split(".", 1)[-1]}


def _one_set_of_numbers(one: _Tensor, other: _Tensor) -> bool:
    if not same_bits(one.tensor, other.tensor) or one.tensor.numel() < 2:
        return False
    numbers = one.tensor.detach().reshape(-1)
    return bool((numbers != numbers[0]).any())


def _is_paired(spot: Spot, inputs: Mapping[str, tuple[Spot, ...]]) -> bool:
    return any(spot is other for spots in inputs.values() for other in spots)


def _free(name: str, taken: Collection[str]) -> str:
    """A name that nothing else has."""
    if name not in taken:
        return name
    if f"module.{name}" not in taken:
        return f"module.{name}"
    return next(other for number in range(2, 10**6) if (other := f"{name}.{number}") not in taken)
