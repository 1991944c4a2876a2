"""Whose line is at fault? One backward pass in which the user's own gradients are handed on gives what each line
should have produced; what follows from that is said in `decide.py`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import dense, version
from backproof.proof.graph.passes import forced, one_thread
from backproof.proof.report.rows import Verdict
from backproof.proof.verdict.decide import Decision, Known, Numbers, of_numbers
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
    arriving = forced(graph, handed)
    with one_thread(graph):
        compared = {name: dense(found) for name in (*gradients, *misshapen) if (found := arriving[name]) is not None}
        measures = yardsticks(graph, handed, compared)
        court = _Court(graph, gradients, handed, autograds, arriving, measures, misshapen)
        found = court.decide(None)
        rewritten = [
            name for name, one in found.items() if (one.culprit and version(gradients[name]) > 0) or one.decision.alone
        ]
        if rewritten and len(found) > 1:
            as_used = {**handed} | {name: found[name].numbers.expected for name in rewritten if name in handed}
            found = court.decide(forced(graph, as_used))
    return Blames(found, arriving, measures)


@dataclass
class _Court:
    """All the evidence; the yardstick of a value that is about to be accused is widened by `doubt` first."""

    graph: Graph
    gradients: Mapping[str, Tensor]
    handed: Mapping[str, Tensor]
    autograds: Mapping[str, Tensor | None]
    arriving: Mapping[str, Tensor | None]
    measures: dict[str, Yardstick]
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
            numbers = Numbers(
                self.gradients[name],
                dense(expected),
                dense(own),
                self.measures[name],
                {root: culprits.get(root) for root in suffered[name]},
                None if used is None else dense(used),
            )
            decision = of_numbers(numbers)
            if decision.known is Known.DIFFERS and name not in self.doubted:
                self.doubted.add(name)
                extra = doubt(self.graph, self.handed, self.measures, name)
                self.measures[name] = self.measures[name].widened(extra)
                numbers = numbers._replace(yardstick=self.measures[name])
                decision = of_numbers(numbers)
            if decision.alone:
                passed_by[name] = tuple(numbers.roots)
            if decision.known is Known.AS_USED and not decision.roots:
                behind = [root for reader in self.graph.readers[name] for root in passed_by.get(reader, ())]
                decision = decision._replace(roots=tuple(dict.fromkeys(behind)))
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
