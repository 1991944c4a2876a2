"""Backward passes that are wrong on purpose: what is changed, whose gradient is then at fault, and why.

One module a network. Each says, in four tables, how a line of `examples/<network>.py` is made wrong:

    LINES      right line -> [(cause, wrong line), ...]      seen in one run, by `check`
    PAIRS      [(wrong line, wrong line), ...]               two of LINES at once
    DOUBLES    right line -> [(cause, wrong line), ...]      a fault only where the user works in float64
    FUNCTIONS  right line -> [(cause, wrong line), ...]      seen only when the pair is run again, by `prove`

The value at fault is the one on the line's left (`dgain = ...` is gain's line). Where it is not, an entry
has a third text that names it: "gain xhat" means both, "xhat | y" either. The same for causes: "F8 | F14"
where a fair expert could call the fault by either name.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import torch

EXAMPLES = Path(__file__).parents[2] / "examples"


class Fault(NamedTuple):
    """One wrong line."""

    right: str
    wrong: str
    causes: tuple[str, ...]  # any of them is a right answer
    guilty: tuple[frozenset[str], ...]  # any of these sets of values is a right answer


class Mutant(NamedTuple):
    """One network with one or two wrong lines."""

    network: str
    faults: tuple[Fault, ...]
    needs_reruns: bool  # a fault of the function, not of one run's numbers: judged by prove
    dtype: torch.dtype = torch.float32  # in which its user works

    @property
    def title(self) -> str:
        return f"{self.network}: " + "  &  ".join(fault.wrong for fault in self.faults)

    @property
    def causes(self) -> str:
        return " + ".join("|".join(fault.causes) for fault in self.faults)

    @property
    def guilty(self) -> list[frozenset[str]]:
        """Every set of culprits that is a right answer."""
        answers = [frozenset[str]()]
        for fault in self.faults:
            answers = [answer | names for answer in answers for names in fault.guilty]
        return answers

    def causes_of(self, value: str) -> set[str]:
        """The causes that are right for a culprit."""
        told = (fault for fault in self.faults if any(value in names for names in fault.guilty))
        return {cause for fault in told for cause in fault.causes}

    def source(self) -> str:
        source = (EXAMPLES / f"{self.network}.py").read_text(encoding="utf-8")
        for fault in self.faults:
            source = replaced(source, fault.right, fault.wrong)
        return source

    def load(self) -> ModuleType:
        """The network's module with the wrong lines in place of the right ones."""
        return as_module(self.network, self.source())


def networks() -> list[str]:
    """The networks that have mutants, by name."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__) if not found.ispkg)


def mutants(network: str | None = None) -> Iterator[Mutant]:
    """Every mutant, or one network's."""
    for name in networks() if network is None else [network]:
        table = importlib.import_module(f"{__name__}.{name}")
        single = {entry[1]: fault_of(right, *entry) for right, entries in table.LINES.items() for entry in entries}
        for fault in single.values():
            yield Mutant(name, (fault,), needs_reruns=False)
        for first, second in table.PAIRS:
            yield Mutant(name, (single[first], single[second]), needs_reruns=False)
        for right, entries in table.DOUBLES.items():
            for entry in entries:
                yield Mutant(name, (fault_of(right, *entry),), needs_reruns=False, dtype=torch.float64)
        for right, entries in table.FUNCTIONS.items():
            for entry in entries:
                yield Mutant(name, (fault_of(right, *entry),), needs_reruns=True)


def example(network: str) -> ModuleType:
    """The network's module as it stands."""
    return as_module(network, (EXAMPLES / f"{network}.py").read_text(encoding="utf-8"))


def as_module(name: str, source: str) -> ModuleType:
    module = ModuleType(name)
    exec(compile(source, f"<{name}>", "exec"), module.__dict__)
    return module


def replaced(source: str, right: str, wrong: str) -> str:
    """The source with the one line that says `right` saying `wrong`."""
    line = re.compile(rf"^( +){re.escape(right)}(?=$|  #)", re.MULTILINE)
    found = line.findall(source)
    if len(found) != 1:
        raise ValueError(f"the line {right!r} must stand in the file once, and is there {len(found)} times")
    return line.sub(lambda match: match[1] + wrong, source)


def fault_of(right: str, causes: str, wrong: str, guilty: str | None = None) -> Fault:
    """An entry of a table, its columns apart."""
    left = re.match(r"d(\w+)(\[.*?\])? \+?= ", right)
    named = guilty or (left and left[1])
    if not named:
        raise ValueError(f"whose gradient is at fault in {right!r}? Name the value")
    answers = tuple(frozenset(names.split()) for names in named.split("|"))
    return Fault(right, wrong, tuple(causes.replace("|", " ").split()), answers)
