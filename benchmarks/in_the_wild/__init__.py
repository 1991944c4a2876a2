"""Custom functions and hand-written passes in the manner of public code, each right and with one fault."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType
from typing import NamedTuple

from in_the_wild.entry import Entry, Function, Pair, Pass, wrong


class Found(NamedTuple):
    """An entry, and the module that it stands in."""

    entry: Entry
    module: ModuleType

    @property
    def family(self) -> str:
        return self.module.__name__.split(".")[-1]

    def wrong(self) -> Entry:
        return wrong(self.entry, self.module)


def entries(only: str = "") -> list[Found]:
    """All entries, functions first; or those whose name or family holds `only`."""
    found = []
    for room in ("functions", "passes"):
        package = importlib.import_module(f"{__name__}.{room}")
        for one in sorted(pkgutil.iter_modules(package.__path__), key=lambda one: one.name):
            module = importlib.import_module(f"{package.__name__}.{one.name}")
            found += [Found(entry, module) for entry in module.WILD]
    return [one for one in found if only in one.entry.name or only == one.family]


__all__ = ["Entry", "Found", "Function", "Pair", "Pass", "entries"]
