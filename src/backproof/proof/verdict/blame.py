"""Whose line is at fault? One backward pass in which the user's own gradients are handed on gives what each line
should have produced; what follows from that is said in `decide.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import dense, version
from backproof.proof.graph.passes import forced, one_thread
from backproof.proof.report.rows import Verdict
from backproof.proof.verdict.blocks import LARGE
from backproof.proof.verdict.decide import Decision, Known, Numbers, is_plainly_exact, of_numbers
from backproof.proof.verdict.doubt import doubt
from backproof.proof.verdict.yardstick import Yardstick, yardsticks


@dataclass(frozen=True)
class Blame:
    """What is known of one gradient: how it compares, with what, and which culprits it suffers from."""

    name: str
    decision: Decision
    numbers: Numbers

    @property
    def verdict(self) -> Verdict:
        return self.decision.known.verdict

    @property
    def culprit(self) -> bool:
        return self.decision.known.at_fault


@dataclass(frozen=True)
class Blames:
    """The verdicts, what arrived at each value in the forced pass, and the yardsticks that were used."""

    found: Mapping[str, Blame]
    arriving: Mapping[str, Tensor | None]
    measures: Mapping[str, Yardstick]

    def as_if_right(self, name: str) -> Blame:
        """What a right gradient would look like, for a value whose own cannot be compared."""
        arrived = self.arriving[name]
        assert arrived is not None
        right = dense(arrived)
        return Blame(name, Decision(Known.EQUAL_BITS), Numbers(right, right, right, self.measures[name], {}))


def blame(
    graph: Graph,
    gradients: Mapping[str, Tensor],
    autograds: Mapping[str, Tensor | None],
    misshapen: Mapping[str, Known],
) -> Blames:
    """The verdict on every gradient in `gradients`, which all have their value's shape and dtype.

    `misshapen` holds the culprits that could not be compared at all; what is computed from them is not
    blamed.
    """
    handed = {graph.twin(name): gradient for name, gradient in gradients.items() if graph.twin(name) == name}
    arriving = _arriving(graph, handed, autograds)
    with one_thread(graph):
        compared = {name: dense(found) for name in (*gradients, *misshapen) if (found := arriving[name]) is not None}
        measures = Measures(graph, handed, compared)
        court = _Court(graph, gradients, handed, autograds, arriving, measures, misshapen)
        found = court.decide(None)
        rewritten = [
            name for name, one in found.items() if (one.culprit and version(gradients[name]) > 0) or one.decision.alone
        ]
        if rewritten and len(found) > 1:
            as_used = {**handed} | {name: found[name].numbers.expected for name in rewritten if name in handed}
            found = court.decide(forced(graph, as_used))
    return Blames(found, arriving, measures)


def _arriving(
    graph: Graph, handed: Mapping[str, Tensor], autograds: Mapping[str, Tensor | None]
) -> Mapping[str, Tensor | None]:
    """The forced pass; nothing is kept twice of what it leaves as it was, nor run again where it can change nothing."""
    if all((own := autograds[name]) is not None and torch.equal(dense(own), one) for name, one in handed.items()):
        return autograds
    arriving = forced(graph, handed)
    for name, found in arriving.items():
        own = autograds[name]
        if found is None or own is None or found.layout is not torch.strided or own.layout is not torch.strided:
            continue
        if torch.equal(found, own):
            arriving[name] = own
    return arriving


class Measures(Mapping[str, Yardstick]):
    """The yardsticks: of small values all at once, of each large one when it is asked for, and not kept."""

    def __init__(self, graph: Graph, handed: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
        self._graph, self._handed, self._expected = graph, handed, expected
        small = {name: one for name, one in expected.items() if not self.is_large(name)}
        self._kept = yardsticks(graph, handed, small)

    def is_large(self, name: str) -> bool:
        return self._expected[name].numel() > LARGE

    def keep(self, name: str, yardstick: Yardstick) -> None:
        self._kept[name] = yardstick

    def __getitem__(self, name: str) -> Yardstick:
        if name in self._kept:
            return self._kept[name]
        return yardsticks(self._graph, self._handed, {name: self._expected[name]})[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._expected)

    def __len__(self) -> int:
        return len(self._expected)

    def __contains__(self, name: object) -> bool:
        return name in self._expected


@dataclass
class _Court:
    """All the evidence; the yardstick of a value that is about to be accused is widened by `doubt` first."""

    graph: Graph
    gradients: Mapping[str, Tensor]
    handed: Mapping[str, Tensor]
    autograds: Mapping[str, Tensor | None]
    arriving: Mapping[str, Tensor | None]
    measures: Measures
    misshapen: Mapping[str, Known]
    doubted: set[str] = field(default_factory=set)

    def decide(self, as_used: Mapping[str, Tensor | None] | None) -> dict[str, Blame]:
        found: dict[str, Blame] = {}
        culprits = {name: known.verdict for name, known in self.misshapen.items() if known.at_fault}
        suffered: dict[str, tuple[str, ...]] = {}
        passed_by: dict[str, tuple[str, ...]] = {}  # what a gradient would suffer from that is right all the same
        for name in self.graph.names:
            suffered[name] = self._roots(name, culprits, suffered)
            own, expected = self.autograds[name], self.arriving[name]
            if name not in self.gradients or own is None or expected is None:
                continue
            used = None if as_used is None else as_used[name]
            got, expected, own = self.gradients[name], dense(expected), dense(own)
            roots = {root: culprits.get(root) for root in suffered[name]}
            large = self.measures.is_large(name)
            exact = large and is_plainly_exact(got, expected, own)
            yardstick = Yardstick.of_nothing(got) if exact else self.measures[name]
            numbers = Numbers(got, expected, own, yardstick, roots, None if used is None else dense(used))
            decision = Decision(Known.EQUAL_BITS) if exact else of_numbers(numbers)
            if decision.known is Known.DIFFERS and name not in self.doubted:
                self.doubted.add(name)
                extra = doubt(self.graph, self.handed, self.measures, name)
                self.measures.keep(name, numbers.yardstick.widened(extra))
                numbers = numbers._replace(yardstick=self.measures[name])
                decision = of_numbers(numbers)
            if decision.alone:
                passed_by[name] = tuple(numbers.roots)
            if decision.known is Known.AS_USED and not decision.roots:
                behind = [root for reader in self.graph.readers[name] for root in passed_by.get(reader, ())]
                decision = decision._replace(roots=tuple(dict.fromkeys(behind)))
            if large and not decision.known.at_fault:
                numbers = numbers._replace(yardstick=numbers.yardstick.in_short())
            found[name] = Blame(name, decision, numbers)
            if decision.known.at_fault:
                culprits[name] = decision.known.verdict
            elif not decision.roots and decision.known is not Known.NOISE:
                suffered[name] = ()  # right by value, so nothing is handed on
        return found

    def _roots(
        self, name: str, culprits: Mapping[str, Verdict], suffered: Mapping[str, tuple[str, ...]]
    ) -> tuple[str, ...]:
        """The culprits that the gradients of a value's readers are or suffer from."""
        roots: dict[str, None] = {}
        for reader in self.graph.readers[name]:
            roots |= {reader: None} if reader in culprits else dict.fromkeys(suffered.get(reader, ()))
        return tuple(roots)
