"""Who wrote into a tensor that is only to be read: damage is found by bits and version, then traced to its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backproof.proof.graph.node import version
from backproof.proof.user.tensors import same_bits


class Kept(NamedTuple):
    """What a tensor held before somebody else was given it."""

    tensor: Tensor
    before: Tensor
    version: int


def keep(tensors: Mapping[str, Any]) -> dict[str, Kept]:
    """Copies of all tensors among `tensors`, and how often each has been written to."""
    return {
        name: Kept(value, value.detach().clone(), version(value))
        for name, value in tensors.items()
        if isinstance(value, Tensor) and value.layout is torch.strided
    }


def damaged(kept: Mapping[str, Kept]) -> dict[str, Kept]:
    """Those that were written to since: other bits (also by NumPy or a kernel of one's own), or a later version."""
    return {
        name: item
        for name, item in kept.items()
        if version(item.tensor) != item.version or not same_bits(item.tensor, item.before)
    }


def describe_change(item: Kept) -> str:
    """`largest change 3.1e-01 at [0, 2]: was 1, is 1.31`, or that the same numbers were written again."""
    now, before = item.tensor.detach(), item.before
    if now.shape != before.shape or now.dtype != before.dtype:
        return f"it was {tuple(before.shape)} {before.dtype}, it is {tuple(now.shape)} {now.dtype}"
    if same_bits(now, before):
        return "the numbers written happen to be the same this time"
    wide = torch.complex128 if now.is_complex() else torch.float64
    change = torch.nan_to_num((now.to(wide) - before.to(wide)).abs(), nan=torch.inf)
    index = [int(i) for i in torch.unravel_index(change.argmax(), change.shape)] if change.ndim else []
    where = f" at {index}" if index else ""
    place = tuple(index)
    return f"largest change {float(change.max()):.2e}{where}: was {_number(before[place])}, is {_number(now[place])}"


def _number(value: Tensor) -> str:
    return f"{value.item():.6g}"


def storage_of(value: Tensor) -> int:
    """The address of the memory behind a tensor; views share it."""
    return value.untyped_storage().data_ptr()
