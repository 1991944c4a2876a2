"""The whole check as a diagnosis sees it, and the small records that hypotheses work with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from torch import Tensor

from backproof.proof.graph.graph import OUTPUT, Graph
from backproof.proof.graph.node import Place, dense, version
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Certainty
from backproof.proof.verdict.blame import Blames


@dataclass(frozen=True)
class Case:
    """The whole check: graph, all named tensors, the user's gradients, autograd's own, and what was found.

    `handed` are the gradients that could be handed on; `handed_dead` those of values the output does not
    depend on, where they fit; `unreachable` names all such values that have a gradient.
    """

    graph: Graph
    values: Mapping[str, Tensor]
    handed: Mapping[str, Tensor]
    handed_dead: Mapping[str, Tensor]
    unreachable: frozenset[str]
    autograds: Mapping[str, Tensor | None]
    blames: Blames
    label: Callable[[str], str]
    whole_pass: bool = True  # whether all values are of the forward pass that the output comes from

    @property
    def arriving(self) -> Mapping[str, Tensor | None]:
        return self.blames.arriving

    @cached_property
    def changed_after_use(self) -> dict[str, list[str]]:
        """Culprits that were changed in place, and the gradients that had been computed from them before."""
        found: dict[str, list[str]] = {}
        for name, one in self.blames.found.items():
            for reader in self.graph.readers[name] if one.decision.as_used else ():
                blamed = self.blames.found.get(reader)
                if blamed is not None and blamed.culprit and version(self.handed[reader]) > 0:
                    found.setdefault(reader, []).append(name)
        return found

    @cached_property
    def inputs_of_dead(self) -> dict[str, tuple[str, ...]]:
        """What the values that the output does not depend on are computed from."""
        dead = [name for name in self.graph.names if not self.graph.reaches_output(name)]
        return {name: self.graph.inputs_of(name) for name in dead}

    def readers_of_dead(self, name: str) -> list[str]:
        return [reader for reader, inputs in self.inputs_of_dead.items() if name in inputs]

    def ancestors(self, name: str) -> set[str]:
        """All named values that `name` is computed from, directly or not."""
        found: set[str] = set()
        stack = [name]
        while stack:
            new = set(self.graph.inputs_of(stack.pop())) - found
            found |= new
            stack += new
        return found

    def upstream(self, reader: str) -> Tensor | None:
        """The gradient of a reader that the line of a value had to work with."""
        if reader in self.handed:
            return self.handed[reader]
        arrived = self.arriving.get(reader)
        return None if arrived is None else dense(arrived)

    def d(self, name: str) -> str:
        """What the gradient of `name` is called."""
        return name if name == OUTPUT else self.label(name)


class Term(NamedTuple):
    """One term of the sum that a gradient is, and the named values it comes back through, nearest last.

    `within` is the expression inside the last one's line that reads the value, where that line has several.
    """

    tensor: Tensor
    path: tuple[str, ...]
    within: str = ""

    @property
    def reader(self) -> str:
        return self.path[-1]


class Finding(NamedTuple):
    """A cause that explains the gradient to rounding: in one clause, why so, and what to try next.

    `mended` is what becomes of the gradient when `next` is done to the letter, and nothing else; None where that is
    no formula. It is compared with the right gradient before anybody is told that `next` mends the fault. `factor` is
    the constant by which the gradient, or one of its terms, is off, if that is what is wrong.
    """

    cause: Cause | None
    headline: str
    why: str
    next: str
    mended: Tensor | None = None
    certainty: Certainty = Certainty.FITS
    candidates: tuple[Cause, ...] = ()
    factor: float | None = None


class Part(NamedTuple):
    """What the user's gradient leaves for one reader's share when the other shares are right.

    Where the reader sees only a block of the value, as with slices and chunks, `window` is that block, and
    `got` and `expected` are cut down to it; both are zero elsewhere if the gradient is to be explained by
    this share.
    """

    reader: str
    start: Place  # where `upstream` belongs: the reader, or a place without a name on the way back from it
    d: str  # what `upstream` is called
    line: str  # the forward line from the value to there
    got: Tensor
    expected: Tensor
    upstream: Tensor
    rest: Tensor  # the other shares
    window: tuple[slice, ...]
    alone: bool  # the only share, so that `got` is the user's gradient itself

    def whole(self, candidate: Tensor) -> Tensor:
        """The gradient that `candidate`, in place of the right share, makes."""
        if candidate.shape != self.expected.shape:
            return candidate
        made = self.rest.clone()
        made[self.window] += candidate
        return made

    @property
    def subject(self) -> str:
        return "your gradient" if self.alone else f"what stands for the share through {self.reader}"

    @property
    def place(self) -> str:
        """Where in the line advice belongs, as a clause to end it with."""
        return "" if self.alone else f", in the share through {self.reader}"
