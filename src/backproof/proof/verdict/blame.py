"""Whose line is at fault? Each gradient is compared twice, and the pair of answers is the verdict.

| autograd's own gradient | what the user's upstream gradients should give | verdict                        |
| ----------------------- | ---------------------------------------------- | ------------------------------ |
| equal                   | equal                                          | exact, or rounding             |
| differs                 | equal                                          | inherited                      |
| either                  | differs                                        | wrong: this line is the fault  |
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import dense
from backproof.proof.graph.passes import forced, one_thread
from backproof.proof.report.rows import Verdict
from backproof.proof.verdict.doubt import doubt
from backproof.proof.verdict.yardstick import Yardstick, outside, within, yardsticks

_FINGERPRINT = 12  # elements of pure rounding that, equal to the last bit, cannot be so by chance


@dataclass(frozen=True)
class Blame:
    """What is known of one gradient: how it compares, with what, and which culprits it suffers from."""

    name: str
    verdict: Verdict
    culprit: bool
    got: Tensor
    expected: Tensor
    plain: Tensor
    yardstick: Yardstick
    roots: tuple[str, ...] = ()
    seen: str = ""  # why a line is right although it disagrees with the final upstream gradients


@dataclass(frozen=True)
class Blames:
    """The verdicts, what arrived at each value in the forced pass, and the yardsticks that were used."""

    found: Mapping[str, Blame]
    arriving: Mapping[str, Tensor | None]
    measures: Mapping[str, Yardstick]

    def as_if_right(self, name: str) -> Blame:
        """What a right gradient would look like, for a value whose own cannot be compared."""
        right, measure = self.arriving[name], self.measures[name]
        assert right is not None
        return Blame(name, Verdict.EXACT, False, dense(right), dense(right), dense(right), measure)


@dataclass
class _State:
    """Fills up along the backward pass: culprits so far, and which of them each value suffers from."""

    roots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    culprits: dict[str, Verdict] = field(default_factory=dict)


def blame(
    graph: Graph,
    gradients: Mapping[str, Tensor],
    plain: Mapping[str, Tensor | None],
    misshapen: Mapping[str, Verdict],
) -> Blames:
    """The verdict on every gradient in `gradients`, which all have their value's shape and dtype.

    `misshapen` holds the culprits that could not be compared at all; what is computed from them is not
    blamed.
    """
    handed = {graph.twin(name): gradient for name, gradient in gradients.items() if graph.twin(name) == name}
    arriving = forced(graph, handed)
    with one_thread(graph):
        return _blame(graph, gradients, handed, plain, arriving, misshapen)


def _blame(
    graph: Graph,
    gradients: Mapping[str, Tensor],
    handed: Mapping[str, Tensor],
    plain: Mapping[str, Tensor | None],
    arriving: Mapping[str, Tensor | None],
    misshapen: Mapping[str, Verdict],
) -> Blames:
    compared = {name: dense(found) for name in (*gradients, *misshapen) if (found := arriving[name]) is not None}
    measures = yardsticks(graph, handed, compared)
    court = _Court(graph, gradients, handed, plain, arriving, measures, misshapen)
    found = court.verdicts(None)
    rewritten = [name for name, one in found.items() if one.culprit and gradients[name]._version > 0]
    if rewritten and len(found) > 1:
        as_used = {**handed} | {name: found[name].expected for name in rewritten if name in handed}
        found = court.verdicts(forced(graph, as_used))
    return Blames(found, arriving, measures)


@dataclass
class _Court:
    """All the evidence; the yardstick of a value that is about to be accused is widened by `doubt` first."""

    graph: Graph
    gradients: Mapping[str, Tensor]
    handed: Mapping[str, Tensor]
    plain: Mapping[str, Tensor | None]
    arriving: Mapping[str, Tensor | None]
    measures: dict[str, Yardstick]
    misshapen: Mapping[str, Verdict]
    doubted: set[str] = field(default_factory=set)

    def verdicts(self, as_used: Mapping[str, Tensor | None] | None) -> dict[str, Blame]:
        found: dict[str, Blame] = {}
        shapes = {name: kind for name, kind in self.misshapen.items() if kind is Verdict.SHAPE}
        state = _State(culprits=shapes)
        for name in self.graph.names:
            state.roots[name] = _roots(self.graph, name, state)
            own, expected = self.plain[name], self.arriving[name]
            if name not in self.gradients or own is None or expected is None:
                continue
            used = None if as_used is None else as_used[name]
            one = _judge(name, self.gradients[name], dense(expected), dense(own), self.measures[name], state, used)
            if one.verdict is Verdict.WRONG and name not in self.doubted:
                self.doubted.add(name)
                extra = doubt(self.graph, self.handed, self.measures, name)
                self.measures[name] = self.measures[name].widened(extra)
                one = _judge(name, self.gradients[name], dense(expected), dense(own), self.measures[name], state, used)
            found[name] = one
            if one.culprit:
                state.culprits[name] = one.verdict
            elif not one.roots and one.verdict is not Verdict.NOT_TESTABLE:
                state.roots[name] = ()  # right by value, so nothing is handed on
        return found


def _roots(graph: Graph, name: str, state: _State) -> tuple[str, ...]:
    """The culprits that the gradients of a value's readers are or suffer from."""
    roots: dict[str, None] = {}
    for reader in graph.readers[name]:
        roots |= {reader: None} if reader in state.culprits else dict.fromkeys(state.roots.get(reader, ()))
    return tuple(roots)


def _judge(
    name: str,
    got: Tensor,
    expected: Tensor,
    plain: Tensor,
    yardstick: Yardstick,
    state: _State,
    as_used: Tensor | None,
) -> Blame:
    def verdict(kind: Verdict, *, culprit: bool = False, roots: tuple[str, ...] = (), seen: str = "") -> Blame:
        return Blame(name, kind, culprit, got, expected, plain, yardstick, roots, seen)

    roots = state.roots[name]
    finite = torch.isfinite(expected)
    if bool((finite & ~torch.isfinite(got)).any()):
        return verdict(Verdict.NOT_FINITE, culprit=True, roots=roots)
    if bool((~finite).any()) and not roots:
        return verdict(Verdict.NOT_FINITE)
    wrong = outside(got, expected, yardstick.allowed) & finite
    if bool(wrong.any()):
        if as_used is not None and within(got, dense(as_used), yardstick):
            equal = within(got, plain, yardstick)
            kind = _proved(got, plain) if equal else Verdict.INHERITED
            return verdict(kind, roots=() if equal else roots, seen="changed after use")
        if roots and _stands_alone(got, expected, plain, yardstick):
            return verdict(_proved(got, plain), seen="independent")
        if any(state.culprits.get(root) is Verdict.SHAPE for root in roots):
            return verdict(Verdict.INHERITED, roots=roots)
        return verdict(Verdict.WRONG, culprit=True, roots=roots)
    if roots and not within(got, plain, yardstick):
        return verdict(Verdict.INHERITED, roots=roots)
    if proves_nothing(got, expected, yardstick):
        if _negated_noise(got, expected):
            return verdict(Verdict.WRONG, culprit=True, roots=roots)
        return verdict(Verdict.NOT_TESTABLE)
    return verdict(_proved(got, plain))


def _proved(got: Tensor, plain: Tensor) -> Verdict:
    return Verdict.EXACT if torch.equal(got, plain) else Verdict.ROUNDING


def _stands_alone(got: Tensor, expected: Tensor, plain: Tensor, yardstick: Yardstick) -> bool:
    """Right by value although an upstream gradient is wrong: computed without it, as a collapsed formula is.

    Two faults that cancel look the same when the first is a constant factor; then this line is not acquitted.
    """
    if not within(got, plain, yardstick):
        return False
    a, b = expected.flatten().to(yardstick.allowed.dtype), plain.flatten().to(yardstick.allowed.dtype)
    size, allowed = torch.dot(b, b), yardstick.allowed.flatten()
    nothing_came = not bool((a.abs() > allowed).any())
    return nothing_came or (bool(size > 0) and bool(outside(a, b * (torch.dot(a, b) / size), allowed).any()))


def proves_nothing(got: Tensor, expected: Tensor, yardstick: Yardstick) -> bool:
    """A zero, or the rounding left of one, would look the same with a term missing or a sign flipped.

    Unless the rounding itself, element for element and to the last bit, is autograd's.
    """
    if bool((expected.abs() > yardstick.allowed).any()):
        return False
    return not (torch.equal(got, expected) and int((expected != 0).sum()) >= min(_FINGERPRINT, expected.numel()))


def _negated_noise(got: Tensor, expected: Tensor) -> bool:
    """The rounding left of a zero, bit for bit, negated, in many elements that were rounded each for itself.

    What is left when a sum cancels has few binary digits. A number with all its digits is such a rest times
    something: one rounding, spread over many elements, whose sign is a matter of chance.
    """
    if not torch.equal(got, -expected):
        return False
    digits = round(-math.log2(torch.finfo(expected.dtype).eps)) // 2
    mantissa = torch.frexp(expected.double()).mantissa * 2**digits
    rests = expected[(mantissa != 0) & (mantissa == mantissa.round())]
    return len(rests.abs().unique()) >= _FINGERPRINT
