"""Who wrote into a tensor that is only to be read: damage is found by bits and version, then traced to its line."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from backproof.proof.calls import same_bits, statement, user_frame

_AUGMENTED = {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__ipow__", "__imod__"}


class Kept(NamedTuple):
    """What a tensor held before somebody else was given it."""

    tensor: Tensor
    before: Tensor
    version: int


class Write(NamedTuple):
    """One in-place operation: into which tensor, on which line, and the name that the statement assigns."""

    written: Tensor  # kept alive, so that no later tensor gets its memory and looks as if it had been written to
    before: Tensor  # what it held
    target: str | None
    line: str


def keep(tensors: Mapping[str, Any]) -> dict[str, Kept]:
    """Copies of all tensors among `tensors`, and how often each has been written to."""
    return {
        name: Kept(value, value.detach().clone(), value._version)
        for name, value in tensors.items()
        if isinstance(value, Tensor) and value.layout is torch.strided
    }


def damaged(kept: Mapping[str, Kept]) -> dict[str, Kept]:
    """Those that were written to since: other bits (also by NumPy or a kernel of one's own), or a later version."""
    return {
        name: item
        for name, item in kept.items()
        if item.tensor._version != item.version or not same_bits(item.tensor, item.before)
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


class Watch(TorchDispatchMode):
    """While active, notes every in-place operation of PyTorch and the line of the user's code that asked for it."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[Write] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        schema = func._schema.arguments if func._schema.is_mutable else ()
        for position, argument in enumerate(schema):
            if argument.alias_info is None or not argument.alias_info.is_write:
                continue
            value = args[position] if position < len(args) else kwargs.get(argument.name)
            if isinstance(value, Tensor) and value.numel():
                frame = user_frame()
                target, line = statement(frame.f_code, frame.f_lasti, frame.f_lineno) if frame else (None, "")
                self.writes.append(Write(value, value.detach().clone(), target, line))
        return func(*args, **kwargs)


class Protect(TorchFunctionMode):
    """While active, `a.mul_(b)` and `a *= b` on the memory of the given tensors give a new tensor and spare `a`."""

    def __init__(self, tensors: Iterable[Tensor]) -> None:
        super().__init__()
        self.memory = {storage_of(tensor) for tensor in tensors if tensor.layout is torch.strided}

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        in_place = (name.endswith("_") and not name.endswith("__")) or name in _AUGMENTED
        if in_place and args and isinstance(args[0], Tensor) and storage_of(args[0]) in self.memory:
            args = (args[0].clone(), *args[1:])
        return func(*args, **(kwargs or {}))
