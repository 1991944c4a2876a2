"""While the user's code runs: who writes into which tensor, and tensors that are protected from it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from backproof.proof.user.calls import statement, user_frame
from backproof.proof.user.writes import storage_of

_AUGMENTED = {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__ifloordiv__", "__ipow__", "__imod__"}


class Write(NamedTuple):
    """One in-place operation: into which tensor, on which line, and the name that the statement assigns."""

    written: Tensor  # kept alive, so that no later tensor gets its memory and looks as if it had been written to
    before: Tensor  # what it held
    target: str | None
    line: str


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
