"""Which elements of a gradient are wrong, and what they have in common: where to look when no cause explains it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from backproof.proof.causes.fault import Fault
from backproof.proof.causes.wording import ranges

_BY_CHANCE = 0.01  # how likely elements drawn blindly may all share what is said of the wrong ones
_OF_THEM = 0.5  # of the elements that share it, at least so many are wrong


def pattern(fault: Fault) -> str:
    """`12 of 24 elements are wrong, all where x is 0`, or at which indices; `all 24 elements are wrong`."""
    wrong = (fault.difference.abs() > fault.allowed) | ~fault.got.isfinite()
    count, every = int(wrong.sum()), wrong.numel()
    if every == 1:
        return "it is one number"
    if count == every:
        return f"all {every} elements are wrong"
    text = f"{count} of {every} elements are wrong"
    shared = next(_shared(fault, wrong), None)
    if shared is not None:
        return f"{text}, all where {shared}"
    places = list(_places(wrong))
    return f"{text}, all at {' and '.join(places)}" if places else text


def _shared(fault: Fault, wrong: Tensor) -> Iterator[str]:
    """What the values that belong to the wrong elements have in common, and few others."""
    count, every = int(wrong.sum()), wrong.numel()
    for name in (fault.name, *fault.readers, *(s for r in fault.readers for s in fault.siblings(r))):
        value = fault.graph.values[name].detach()
        if value.shape != wrong.shape or not value.is_floating_point():
            continue
        for words, holds in _conditions(name, value):
            held = int(holds.sum())
            if bool((holds | ~wrong).all()) and count >= _OF_THEM * held and (held / every) ** count < _BY_CHANCE:
                yield words


def _conditions(name: str, value: Tensor) -> Iterator[tuple[str, Tensor]]:
    yield f"{name} is 0", value == 0
    yield f"{name} is not finite", ~value.isfinite()
    yield f"{name} is negative", value < 0
    yield f"{name} is positive", value > 0
    yield f"{name} is above 1 in size", value.abs() > 1
    for dim in range(value.dim()):
        if value.shape[dim] > 2 and not bool(value.isnan().any()):
            yield f"{name} is the largest along dimension {dim}", value == value.amax(dim, keepdim=True)
            yield f"{name} is the smallest along dimension {dim}", value == value.amin(dim, keepdim=True)
    if value.dim() > 1 and value.shape[-1] == value.shape[-2]:
        ones = torch.ones_like(value, dtype=torch.bool)
        yield "row and column are the same", ones.tril() & ones.triu()
        yield "the column is behind the row", ones.triu(1)
        yield "the row is behind the column", ones.tril(-1)


def _places(wrong: Tensor) -> Iterator[str]:
    """The indices of each dimension that all wrong elements are at, where that leaves others out."""
    for dim, size in enumerate(wrong.shape):
        hit = wrong.movedim(dim, 0).reshape(size, -1).any(1).nonzero().flatten().tolist()
        if 0 < len(hit) < size:
            last = len(hit) < size and hit[0] > 0 and hit == list(range(hit[0], size))
            where = f"the last {len(hit)} of {size} indices" if last and len(hit) > 1 else f"index {ranges(hit)}"
            yield f"{where} of dimension {dim}"
