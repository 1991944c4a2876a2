"""Sums of shares: one missing, twice, with another sign or factor, or not complete when it was used."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

import torch
from torch import Tensor

from backproof.proof.causes.by_constants import meaning
from backproof.proof.causes.case import Finding, Term
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.wording import lines_of
from backproof.proof.graph.formula import formula
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Certainty
from backproof.proof.report.words import listed
from backproof.proof.verdict.fit import fitted_factor

_ALIKE = 1e-5  # of two gradients of one formula, in float32
_TERMS = 8  # of which any two or more may be missing: of more there are too many sums, one of which fits by chance


def nothing(fault: Fault) -> Iterator[Finding]:
    """got = 0."""
    if not bool((fault.got != 0).any()):
        yield Finding(
            Cause.NO_GRADIENT,
            "it is zero everywhere",
            f"{fault.name} does reach the output, through {listed(fault.readers) or 'nothing named'}.",
            f"compute it from {lines_of(fault, fault.readers)}",
            certainty=Certainty.SEEN,
        )


def one_term(fault: Fault) -> Iterator[Finding]:
    """got = expected + (c - 1) · term, for one term out of several: c is 0, 2, -1, or fitted."""
    terms = telling(fault)
    if len(terms) < 2:
        return
    for term in (*fault.shares, *terms):
        rest = fault.expected - term.tensor
        for c in (0, 2, -1):
            if fault.explains(rest + c * term.tensor):
                if len(fault.readers) > 1 or not _proportional(term.tensor, fault.expected):
                    yield _counted(fault, term, c)  # else one line's gradient is off by a factor, and that says it all
                return
    for term in (*fault.shares, *terms):
        rest = fault.expected - term.tensor
        c = fitted_factor(fault.got - rest, term.tensor)
        if c is None or not fault.explains(rest + c * term.tensor):
            continue
        inside = any(t is term for t in terms) and sum(t.path == term.path for t in terms) > 1
        means = meaning(fault, c, ratios=not inside)
        if means is None or (means.cause == Cause.CONSTANT_FACTOR and fault.informative < 4):
            continue
        yield Finding(
            Cause.OTHER_FORWARD_PASS if inside and means.cause == Cause.CONSTANT_FACTOR else means.cause,
            f"{'a term of ' * inside}the share that comes back through {_path(term)} is off by the constant factor "
            f"{means.factor}",
            f"{_read_by(fault)}; all else is right, to rounding{means.likely}.",
            f"{means.next}, in what flows back through {formula(fault.graph, term.reader)}",
            mended=_times(fault, _through(fault, [term.reader]), means.times),
            factor=c,
        )
        return


def _proportional(a: Tensor, b: Tensor) -> bool:
    c = fitted_factor(a, b)
    return c is not None and bool((a - c * b).norm() <= _ALIKE * a.norm())


def several_terms(fault: Fault) -> Iterator[Finding]:
    """got = the sum of c · term, two or more of them with c = 0, 2 or -1."""
    terms = telling(fault)
    if not 2 < len(terms) <= _TERMS:
        return
    for count in range(2, len(terms)):
        for left_out in combinations(range(len(terms)), count):
            if fault.explains(fault.expected - sum(terms[i].tensor for i in left_out)):
                yield Finding(
                    Cause.DROPPED_TERM,
                    f"{_several(terms, left_out)} are missing",
                    f"{_read_by(fault)}; your gradient equals the others alone (to rounding).",
                    f"add what flows back through {lines_of(fault, [terms[i].reader for i in left_out])}",
                    mended=fault.got + _through(fault, [terms[i].reader for i in left_out]),
                )
                return
    for changed in combinations(range(len(terms)), 2):
        for c in (-1, 2):
            if fault.explains(fault.expected + (c - 1) * sum(terms[i].tensor for i in changed)):
                what = "have the wrong sign" if c < 0 else "are counted twice"
                yield Finding(
                    Cause.WRONG_SIGN if c < 0 else Cause.DROPPED_TERM,
                    f"{_several(terms, changed)} {what}",
                    f"{_read_by(fault)}; all else is right, to rounding.",
                    "flip these signs" if c < 0 else "add each once",
                    mended=None if (named := _named(terms, changed)) is None else fault.got + (1 - c) * named,
                )
                return


def incomplete_upstream(fault: Fault) -> Iterator[Finding]:
    """The line read a gradient to which not all shares had been added yet."""
    for part in fault.parts:
        blamed = fault.case.blames.found.get(part.reader)
        if blamed is None or part.reader not in fault.case.handed:
            continue
        reader = Fault(fault.case, blamed)
        for sub in reader.parts:
            if len(reader.parts) < 2:
                break
            for kept in (sub.rest, reader.expected - sub.rest):
                sent = fault.through(part, kept)
                if sent is not None and fault.explains(part.rest + sent):
                    d = part.d
                    yield Finding(
                        Cause.DROPPED_TERM,
                        f"it was computed from {d} before {d} was complete",
                        f"it equals what flows back when {d} lacks one of its shares ({listed(reader.readers)}).",
                        f"add up {d} first, then compute {fault.d}",
                        mended=part.whole(part.expected),
                    )
                    return


def unreached(fault: Fault) -> Iterator[Finding]:
    """got holds what would come back through readers on which the output does not depend."""
    graph = fault.graph
    dead = [name for name in fault.case.readers_of_dead(fault.name) if name in fault.case.handed_dead]
    if not dead:
        return
    extra = torch.zeros_like(fault.expected)
    for name in dead:
        sent = fault.back(name, fault.case.handed_dead[name])
        if sent is None or sent.shape != extra.shape:
            return
        extra = extra + sent
    alone = fault.explains(extra)
    if alone or fault.explains(fault.expected + extra):
        ds = listed([fault.case.d(name) for name in dead])
        live = listed(graph.readers[fault.name])
        yield Finding(
            Cause.NO_GRADIENT,
            f"it is what comes back through {listed(dead)}, and the output does not depend on {_them(dead)}",
            f"{fault.name} reaches the output through {live} only; your line uses {ds}.",
            f"if {listed(dead)} should reach the output, mend the forward pass where {live} reads {fault.name}",
        )


def _them(names: list[str]) -> str:
    return "it" if len(names) == 1 else "them"


def _counted(fault: Fault, term: Term, c: int) -> Finding:
    d = fault.case.d(term.reader)
    line = formula(fault.graph, term.reader)
    whole = any(t is term for t in fault.shares)
    others = [t for t in telling(fault) if t is not term and not (whole and t.reader == term.reader)]
    inside = any(t.path == term.path for t in others)
    what, back = f"the share that comes back through {_path(term)}", f"what flows back from {d} through {line}"
    if inside and term.within:
        what, back = f"the term that comes back through {term.within}, in {line},", f"{back}, by way of {term.within}"
    elif inside:
        what, back = f"one of the terms of what comes back through {_path(term)}", f"all the terms of {back}"
    told = term.tensor if inside and term.within else _through(fault, [term.reader])  # what `back` says, to the letter
    if c == 0:
        alone = " and ".join(dict.fromkeys(_path(t) for t in others))
        kept = f"the other {'terms' if len(others) > 1 else 'term'}" if inside else f"the share of {alone}"
        return Finding(
            Cause.DROPPED_TERM,
            f"{what} is missing",
            f"{_read_by(fault)}; your gradient equals {kept} alone (to rounding).",
            f"add {back}",
            mended=fault.got + told,
        )
    this = "that term" if inside else "that share"
    if c == 2:
        return Finding(
            Cause.DROPPED_TERM,
            f"{what} is counted twice",
            f"{_read_by(fault)}; with {this} once, your gradient would be right to rounding.",
            f"add {back} once",
            mended=fault.got - told,
        )
    return Finding(
        Cause.WRONG_SIGN,
        f"{what} has the wrong sign",
        f"{_read_by(fault)}; with {this}'s sign flipped, your gradient would be right to rounding.",
        f"flip the sign of {'that term in ' if inside and not term.within else ''}{back}",
        mended=fault.got + 2 * told,
    )


def _through(fault: Fault, readers: Sequence[str]) -> Tensor:
    """All that flows back through some readers."""
    terms = [term.tensor for term in fault.terms if term.reader in readers]
    return sum(terms, torch.zeros_like(fault.expected))


def _times(fault: Fault, share: Tensor, factor: float | None) -> Tensor | None:
    """The user's gradient with what stands in it for `share` multiplied by a factor."""
    return None if factor is None else fault.got + (factor - 1) * (fault.got - fault.expected + share)


def _named(terms: Sequence[Term], chosen: Sequence[int]) -> Tensor | None:
    """Some of the terms added up; None where words do not tell them from others that come back the same way."""
    paths = [term.path for term in terms]
    if any(paths.count(terms[i].path) > 1 and not terms[i].within for i in chosen):
        return None
    return sum((terms[i].tensor for i in chosen[1:]), terms[chosen[0]].tensor)


def _several(terms: Sequence[Term], chosen: Iterable[int]) -> str:
    """Some of the terms by the ways they come back; those inside one line by the expressions that read the value."""
    paths = [term.path for term in terms]
    names = dict.fromkeys(
        f"{term.within} in {_path(term)}" if paths.count(term.path) > 1 and term.within else _path(term)
        for term in (terms[i] for i in chosen)
    )
    if len(names) == 1:
        return f"several terms of what comes back through {next(iter(names))}"
    return f"the shares that come back through {listed(list(names))}"


def telling(fault: Fault) -> list[Term]:
    """The terms whose absence would show."""
    return [term for term in fault.terms if bool((term.tensor.abs() > fault.allowed).any())]


def _path(term: Term) -> str:
    return term.reader if len(term.path) == 1 else " from ".join(reversed(term.path))


def _read_by(fault: Fault) -> str:
    return f"{fault.name} is read by {listed(fault.readers)}"
