"""The same numbers, laid out in memory in other ways, and numbers that repeat with stride 0.

A kernel that takes its argument for contiguous reads the wrong numbers from all of these. The gaps hold other
numbers, and the memory always reaches as far as a contiguous tensor would, so such a kernel reads wrong numbers
rather than foreign memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor


def strided(value: Tensor) -> Tensor | None:
    """Every second element of a row twice as long (`big[..., ::2]`)."""
    if value.ndim == 0 or value.numel() < 2:
        return None
    wide = _filler((*value.shape[:-1], 2 * value.shape[-1]), value)
    wide[..., ::2] = value
    return wide[..., ::2]


def transposed(value: Tensor) -> Tensor | None:
    """The last two dimensions swapped in memory (`big.mT`)."""
    if value.ndim < 2 or min(value.shape[-2:]) < 2:
        return None
    return value.mT.contiguous().mT


def swapped(value: Tensor, first: int, second: int) -> Tensor | None:
    """Two dimensions swapped in memory: what attention that ends in `transpose(1, 2)` sends back."""
    if value.ndim <= second or min(value.shape[first], value.shape[second]) < 2:
        return None
    return value.transpose(first, second).clone(memory_format=torch.contiguous_format).transpose(first, second)


def channels_last(value: Tensor, ndim: int) -> Tensor | None:
    """Channels next to each other in memory: how convolutions of images (`ndim` 4) or volumes (5) run fastest."""
    if value.ndim != ndim:
        return None
    form = torch.channels_last if ndim == 4 else torch.channels_last_3d
    made = value.clone(memory_format=form)
    return None if made.is_contiguous() else made


def offset(value: Tensor) -> Tensor | None:
    """Contiguous, but starting in the middle of its memory (`big[3:]`)."""
    if value.numel() == 0:
        return None
    big = _filler((value.numel() + 3,), value)
    big[3:] = value.reshape(-1)
    return big[3:].view(value.shape)


def expanded(value: Tensor) -> Tensor | None:
    """One number for all elements, stride 0 everywhere: what `sum().backward()` sends."""
    if value.numel() < 2:
        return None
    return _repeated(value, (1,) * value.ndim)


def expanded_rows(value: Tensor) -> Tensor | None:
    """One row for all rows, stride 0 along the first dimension: what `sum(0)` and a broadcast addition send."""
    if value.ndim < 2 or value.shape[0] < 2:
        return None
    return _repeated(value, (1, *value.shape[1:]))


def conjugated(value: Tensor) -> Tensor | None:
    """Complex numbers whose memory holds the conjugates, to be conjugated by whoever reads them (`big.conj()`)."""
    return value.conj().resolve_conj().clone().conj() if value.is_complex() else None


class Layout(NamedTuple):
    """A way to lay out numbers in memory; `make` returns None where a shape has no such layout of its own."""

    name: str
    make: Callable[[Tensor], Tensor | None]

    def of(self, value: Tensor, *, contiguous: bool = False) -> Tensor | None:
        """The value so laid out, or, for comparison, the same numbers in contiguous memory."""
        made = self.make(value)
        if made is None or not contiguous:
            return made
        return made.resolve_conj().clone(memory_format=torch.contiguous_format)  # .contiguous() would keep an offset


LAYOUTS = (
    Layout("strided", strided),
    Layout("transposed", transposed),
    Layout("offset", offset),
    Layout("expanded", expanded),
    Layout("expanded rows", expanded_rows),
)


def layouts_of(values: Iterable[Tensor]) -> tuple[Layout, ...]:
    """`LAYOUTS`, and of all others those that some of the values can have."""
    values = list(values)
    dims = max((value.ndim for value in values), default=0)
    swaps = [(i, j) for i, j in combinations(range(dims), 2) if (i, j) != (dims - 2, dims - 1)]
    others = [Layout(f"transposed({i}, {j})", partial(swapped, first=i, second=j)) for i, j in swaps]
    others += [Layout("channels_last", partial(channels_last, ndim=4))]
    others += [Layout("channels_last_3d", partial(channels_last, ndim=5))]
    others += [Layout("conjugated", conjugated)]
    return (*LAYOUTS, *(layout for layout in others if any(layout.of(value) is not None for value in values)))


def copied(value: Tensor) -> Tensor:
    """A copy in memory of its own, with strides, storage offset and a pending conjugation kept."""
    value = value.resolve_neg()
    memory = value.detach().untyped_storage().clone()
    whole = torch.empty(0, dtype=value.dtype, device=value.device)
    whole.set_(memory, value.storage_offset(), value.shape, value.stride())  # pyright: ignore
    return whole.conj() if value.is_conj() else whole


def _repeated(value: Tensor, shape: tuple[int, ...]) -> Tensor:
    memory = _filler((value.numel(),), value)
    count = int(torch.Size(shape).numel())
    memory[:count] = value[tuple(slice(size) for size in shape)].reshape(-1)
    return memory[:count].view(shape).expand(value.shape)


def _filler(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Numbers that are nowhere in `like`: its own values in reverse, moved and scaled, repeated to fill `shape`."""
    flat = like.detach().reshape(-1).flip(0)
    count = int(torch.Size(shape).numel())
    repeats = -(-count // max(flat.numel(), 1))
    return (flat.repeat(repeats)[:count] * -0.7 + 0.3).to(like.dtype).reshape(shape).contiguous()
