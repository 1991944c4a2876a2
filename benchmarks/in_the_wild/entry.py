"""What an entry is: a program as people write it, and the one line that makes it wrong.

An entry stands in a module of its family, which is also its text: the wrong program is the module once more, with the
wrong line in place of the right one.
"""

from __future__ import annotations

import linecache
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from mutants import replaced


class Fault(NamedTuple):
    """One line made wrong.

    `guilty` are the values or inputs whose gradients are then at fault: "W b" both of them, "W | b" either. `causes`
    are the codes of docs/faults.md that the author would accept, any of them; where there is none, none may be named.
    """

    right: str
    wrong: str
    guilty: str
    causes: str = ""

    @property
    def answers(self) -> list[frozenset[str]]:
        return [frozenset(names.split()) for names in self.guilty.split("|")]

    @property
    def accepted(self) -> frozenset[str]:
        return frozenset(self.causes.split())


class Function(NamedTuple):
    """A function with a backward pass of its own beside a plain reference: judged with `prove_function`."""

    name: str
    function: Any
    reference: Callable
    inputs: Callable
    fault: Fault
    options: Mapping[str, Any] = {}


class Pass(NamedTuple):
    """A hand-written pass, whose names are judged with `check`: `run` returns them, `loss` among them.

    `gradient` is how the program itself speaks of the gradient that is at fault, and `value` of its value.
    """

    name: str
    run: Callable[[], dict[str, Any]]
    fault: Fault
    gradient: str
    value: str
    options: Mapping[str, Any] = {}


class Pair(NamedTuple):
    """A forward and a backward function, judged with `prove`."""

    name: str
    forward: Callable
    backward: Callable
    inputs: Callable
    fault: Fault
    options: Mapping[str, Any] = {}


Entry = Function | Pass | Pair


def wrong(entry: Entry, module: ModuleType) -> Any:
    """The entry as its module has it with the wrong line. Raises ValueError where the right line is not there once."""
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    begin = source.index("\nWILD")  # the table quotes the line once more
    program, table = source[:begin], source[begin:]
    text = replaced(program, entry.fault.right, entry.fault.wrong) + table
    path = f"{module.__file__} with the fault of {entry.name}"
    linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)  # so a traceback shows its lines
    spoilt = ModuleType(module.__name__)
    spoilt.__file__ = path
    exec(compile(text, path, "exec"), spoilt.__dict__)
    return next(one for one in spoilt.WILD if one.name == entry.name)


def normal(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def uniform(seed: int, *shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def integers(seed: int, end: int, *shape: int) -> Tensor:
    return torch.randint(end, shape, generator=torch.Generator().manual_seed(seed))
