"""Tensors that a callable holds besides its arguments: a module's parameters and buffers, captured variables."""

from __future__ import annotations

import dis
import functools
import inspect
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

from torch import Tensor, nn

_DEEPEST = 6  # objects within objects; what lies deeper is still found in the graph, but not moved to other dtypes


class Spot(NamedTuple):
    """Where a callable keeps a tensor: what it is called there, and the list, mapping or cell that holds it."""

    name: str
    tensor: Tensor
    owner: Any
    key: Any
    of_module: bool = False

    def get(self) -> Tensor:
        return self.owner.cell_contents if isinstance(self.owner, CellType) else self.owner[self.key]

    def put(self, tensor: Tensor) -> None:
        if isinstance(self.owner, CellType):
            self.owner.cell_contents = tensor
        else:
            self.owner[self.key] = tensor


def held_by(function: Any, name: str = "") -> list[Spot]:
    """All places where `function` keeps tensors of its own, each once.

    Looked through are modules, partial functions, bound methods and their objects, variables that a function captures
    or reads of its module, their containers, and attributes of plain objects. The parameters of a module that is the
    function itself are called as in its `state_dict`; those of one that it captures begin with the variable's name.
    """
    found: dict[tuple[int, str], Spot] = {}
    for spot in _Search().of(name, function, 0):
        found.setdefault((id(spot.tensor), spot.name), spot)
    return list(found.values())


@contextmanager
def holding(spots: list[tuple[Spot, Tensor]]) -> Iterator[None]:
    """While active, the callable finds other tensors in these places; afterwards what was there before."""
    before = [(spot, spot.get()) for spot, _ in spots]
    try:
        for spot, tensor in spots:
            spot.put(tensor)
        yield
    finally:
        for spot, tensor in before:
            spot.put(tensor)


class _Search:
    """Walks through what a callable can reach, each object once."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def of(self, name: str, thing: Any, depth: int) -> Iterator[Spot]:
        if depth > _DEEPEST or id(thing) in self.seen or isinstance(thing, (Tensor, ModuleType, type)):
            return
        self.seen.add(id(thing))
        if isinstance(thing, nn.Module):
            yield from self._module(name, getattr(thing, "_orig_mod", thing), depth)  # which torch.compile wraps
        elif isinstance(thing, functools.partial):
            for part in (thing.func, thing.args, thing.keywords):
                yield from self.of(name, part, depth + 1)
        elif isinstance(thing, MethodType):
            yield from self.of(name, thing.__self__, depth + 1)
            yield from self.of(name, thing.__func__, depth + 1)
        elif isinstance(thing, FunctionType):
            yield from self._function(name, thing, depth)
        elif isinstance(thing, list):
            yield from self._entries({f"{name}[{i}]": (thing, i) for i in range(len(thing))}, depth)
        elif isinstance(thing, tuple):
            for i, part in enumerate(thing):
                yield from self.of(f"{name}[{i}]", part, depth + 1)
        elif isinstance(thing, MutableMapping):
            yield from self._entries({f"{name}[{key!r}]" if name else str(key): (thing, key) for key in thing}, depth)
        elif _is_users(type(thing)):
            yield from self._object(name, thing, depth)

    def _module(self, name: str, module: nn.Module, depth: int) -> Iterator[Spot]:
        for path, part in module.named_modules(prefix=name):
            self.seen.add(id(part))
            dot = f"{path}." if path else ""
            for owned in (part._parameters, part._buffers):
                yield from self._entries({f"{dot}{key}": (owned, key) for key in owned}, depth, of_module=True)
            yield from self._attributes(dot, part, depth, of_module=True)
            yield from self.of(path, type(part).forward, depth + 1)

    def _object(self, name: str, thing: Any, depth: int) -> Iterator[Spot]:
        yield from self._attributes(f"{name}." if name else "", thing, depth)
        if callable(thing):
            yield from self.of(name, vars(type(thing)).get("__call__"), depth + 1)

    def _attributes(self, dot: str, thing: Any, depth: int, *, of_module: bool = False) -> Iterator[Spot]:
        own = getattr(thing, "__dict__", {})
        yield from self._entries(
            {f"{dot}{key}": (own, key) for key in own if not key.startswith("_")}, depth, of_module=of_module
        )

    def _function(self, name: str, function: FunctionType, depth: int) -> Iterator[Spot]:
        if (wrapped := inspect.unwrap(function)) is not function:
            yield from self.of(name, wrapped, depth + 1)
        if not _is_users(function):
            return
        for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
            try:
                value = cell.cell_contents
            except ValueError:  # not assigned yet
                continue
            if isinstance(value, Tensor):
                yield Spot(variable, value, cell, None)
            else:
                yield from self.of(variable, value, depth + 1)
        globals_ = function.__globals__
        read = {key: (globals_, key) for key in _globals_of(function.__code__) if key in globals_}
        yield from self._entries(read, depth)
        defaults = function.__kwdefaults__ or {}
        yield from self._entries({key: (defaults, key) for key in defaults}, depth)
        for value in function.__defaults__ or ():
            yield from self.of(name, value, depth + 1)

    def _entries(self, places: dict[str, tuple[Any, Any]], depth: int, *, of_module: bool = False) -> Iterator[Spot]:
        for name, (owner, key) in places.items():
            value = owner[key]
            if isinstance(value, Tensor):
                yield Spot(name, value, owner, key, of_module)
            else:
                yield from self.of(name, value, depth + 1)


def _globals_of(code: CodeType) -> Iterator[str]:
    """The names that a function, or one defined in it, reads of its module."""
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield instruction.argval
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _globals_of(constant)


def _is_users(thing: Any) -> bool:
    """Whether a function or a class is no part of Python or PyTorch, which keep no tensors of the user's."""
    home = (getattr(thing, "__module__", None) or "builtins").split(".")[0]
    return home not in ("torch", "functorch") and home not in sys.stdlib_module_names
