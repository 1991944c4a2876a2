"""Backward passes of the models of whole words that are wrong on purpose: a rule's wrong line is wrong at each place.

`rules/` holds a table of wrong lines for every rule, in the form of the networks' tables beside this package: `LINES`
are seen in one run, `FUNCTIONS` only in replays. Every model that uses the rule gets its mutants, and the values at
fault are those of each link of the rule, under the network's names: dW of `linear` is at fault as dhead_W, dfc_W, ...
`pages/` holds wrong lines of the walk back (`chain`), and of tables of links that the way back alone reads wrongly; a
third text names the values at fault in the network itself. `MISSED` holds fair mutants that the proof of today does not
find on the right line: they are judged and shown, and do not count.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from unittest.mock import patch

import torch
from torch import Generator, Tensor

from backproof.models import chain
from backproof.models.chain import Data, Link
from backproof.models.protocol import Model, data_of, masks_of
from backproof.models.registry import NAMES, page
from backproof.proof.network import prove_page
from backproof.proof.report.report import Report
from mutants import Fault, as_module, fault_of, replaced

SOURCE = Path(chain.__file__).parents[1]
SYMBOLS = 11
SIZES: dict[str, Any] = {
    "block_size": 6, "width": 9, "hidden": 5, "layers": 2, "heads": 3, "kernel": 3, "dropout": 0.3,
}  # fmt: skip
REPLAYS = ("state", "upstream", "float64", "layouts", "sizes")
SEVERAL = "several"  # whose gradient: of what several links read


class Network(NamedTuple):
    """A model in small, as `prove_page` takes it."""

    page: Model
    options: Any
    p: dict[str, Tensor]
    data: dict[str, Tensor]

    @property
    def links(self) -> tuple[Link, ...]:
        return self.page.links(self.options)


class ModelMutant(NamedTuple):
    """A model with one wrong line, at each place where the line is used."""

    model: str
    file: str  # below src/backproof, without its ending
    fault: Fault
    needs_reruns: bool
    missed: bool = False  # known to be so

    @property
    def title(self) -> str:
        return f"{self.model}: {self.file}: {self.fault.wrong}"

    @property
    def part(self) -> str:
        """The function in which the wrong line stands."""
        return "links" if self.file.startswith("models/") and self.file != "models/chain" else "backward_steps"

    def guilty(self, links: Sequence[Link]) -> list[frozenset[str]]:
        """Every set of values in this table that is a right answer."""
        if self.part == "links":
            return list(self.fault.guilty)
        if self.file == "models/chain":
            readers = Counter(name for each in links for name in each.reads)
            return [frozenset(name for name, count in readers.items() if count > 1)]
        called = [dict(zip(each.rule.Steps._fields, each.names, strict=True)) for each in self.places(links)]
        return [frozenset(each[name] for each in called for name in names) for names in self.fault.guilty]

    def places(self, links: Sequence[Link]) -> list[Link]:
        """The links of the rule in whose page the line stands."""
        return [each for each in links if each.rule is module_of(self.file)]

    def source(self) -> str:
        source = (SOURCE / f"{self.file}.py").read_text(encoding="utf-8")
        before, head, rest = source.partition(f"\ndef {self.part}(")
        body, end, after = rest.partition("\n\n\n")
        return before + head + replaced(body, self.fault.right, self.fault.wrong) + end + after

    def wrong(self) -> ModuleType:
        """The page with the wrong line in place of the right one."""
        module = as_module(f"backproof.{self.file.replace('/', '.')}", self.source())
        module.__dict__.setdefault("torch", torch)  # a wrong line may need it where no right one does
        return module

    def backward_steps(self, options: Any) -> Callable[..., dict[str, Any]]:
        """`chain.backward_steps` with the wrong line in place of the right one."""
        wrong, right = self.wrong(), module_of(self.file)
        if self.file == "models/chain":
            return wrong.backward_steps

        def walk(links: Sequence[Link], values: chain.Values, data: Data, upstream: Tensor) -> dict[str, Any]:
            taken = [replace(each, rule=wrong) if each.rule is right else each for each in links]
            return _right_walk(wrong.links(options) if self.part == "links" else taken, values, data, upstream)

        return walk

    def proved(self, network: Network) -> Report:
        """What the prover says of it: after one run, or with all replays where the fault needs them."""
        with patch.object(chain, "backward_steps", self.backward_steps(network.options)):
            return prove_page(*network, grain="steps", skip=() if self.needs_reruns else REPLAYS)


_right_walk = chain.backward_steps


def network(model: str, **sizes: Any) -> Network:
    """Sizes of which few are equal, parameters none of which is zero, and a batch shorter than a block, with gaps."""
    found, g = page(model), Generator().manual_seed(3)
    small = SIZES | sizes
    options = found.Options(**{each.name: small[each.name] for each in fields(found.Options)})
    initial = found.initial(options, SYMBOLS, g)
    p = {name: tensor + 0.1 * torch.randn(tensor.shape, generator=g) for name, tensor in initial.items()}
    x = torch.randint(0, SYMBOLS, (4, 5), generator=g)
    y = torch.randint(-1, SYMBOLS, (4, 5), generator=g)
    y[1, 3:], y[2, 1], y[3, 0] = -1, 0, 0  # a word that has ended, and the symbol 0 as a target
    return Network(found, options, p, data_of(x, y) | masks_of(found, options, x, g))


def mutants(model: str, links: Sequence[Link]) -> Iterator[ModelMutant]:
    """A model's mutants: those of the rules in its table, of the walk through it, and of its table."""
    own = page(model)
    files = {f"rules/{name}" for name in _tables("rules")} | {f"models/{name}" for name in _tables("pages")}
    for file in sorted(files):
        for mutant in _of_file(model, file):
            if module_of(file) is own or mutant.places(links) or (file == "models/chain" and any(mutant.guilty(links))):
                yield mutant


def all_mutants() -> Iterator[ModelMutant]:
    """Those of every model."""
    for model in NAMES:
        yield from mutants(model, network(model).links)


@cache
def module_of(file: str) -> ModuleType:
    """The right page of a rule or of a model, from its place below src/backproof."""
    return importlib.import_module(f"backproof.{file.replace('/', '.')}")


def _tables(folder: str) -> list[str]:
    found = importlib.import_module(f"{__name__}.{folder}")
    return [each.name for each in pkgutil.iter_modules(found.__path__)]


def _of_file(model: str, file: str) -> Iterator[ModelMutant]:
    table = importlib.import_module(f"{__name__}.{file.replace('models/', 'pages/').replace('/', '.')}")
    for right, entries in table.LINES.items():
        for entry in entries:
            yield ModelMutant(model, file, fault_of(right, *entry), needs_reruns=False)
    for right, entries in getattr(table, "FUNCTIONS", {}).items():
        for entry in entries:
            yield ModelMutant(model, file, fault_of(right, *entry), needs_reruns=True)
    for right, entries in getattr(table, "MISSED", {}).items():
        for entry in entries:
            yield ModelMutant(model, file, fault_of(right, *entry), needs_reruns=False, missed=True)
