"""Autograd's own backward pass but for one operation on the way: a share dropped, a sign, a derivative that is another.

A line that does in one step what the forward pass does in many, as a function of one's own does, goes wrong inside.
What it would give then is found by going back with that one slip, at one operation or at each of its kind, as a loop
repeats them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from backproof.proof.causes.by_functions import fitting
from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.other_factors import other_factors
from backproof.proof.causes.stretch import Edge, Guess, Stretch, back_to, places, spoiled
from backproof.proof.graph.formula import formula, write
from backproof.proof.graph.node import Node, Place, kind
from backproof.proof.graph.operations import operation, written_terms
from backproof.proof.graph.slips import Spoil
from backproof.proof.report.cause import Cause
from backproof.proof.report.words import listed
from backproof.proof.verdict.fit import fitted_factor

_TERMS = 3  # of a derivative, as people write it: layer norm has so many
_AGAIN = "derive {line} again, for {what}"


def other_derivative(fault: Fault) -> Iterator[Finding]:
    """got = what comes back where one operation's own derivative is spoiled as people spoil it."""
    if not fault.precise:
        return
    stretch = back_to(fault)
    for edges in places(fault, stretch.edges):
        candidates = (*_guesses(edges[0]), *other_factors(fault, edges)) if fault.bears_search else _plain(edges[0])
        for guess in candidates:
            made = spoiled(fault, stretch, edges, guess.spoil)
            c = 1.0
            if made is not None and guess.scaled:
                made, c = _scaled(fault, stretch, edges, made)
            if made is not None and fault.explains(made):
                yield _finding(fault, edges, guess, c)
                return


def _scaled(fault: Fault, stretch: Stretch, edges: Sequence[Edge], made: Tensor) -> tuple[Tensor | None, float]:
    """The same with that share times the constant that fits best."""
    rest = spoiled(fault, stretch, edges, _nothing)
    c = None if rest is None else fitted_factor(fault.got - rest, made - rest)
    return (None, 1.0) if rest is None or c is None else (rest + c * (made - rest), c)


def _finding(fault: Fault, edges: Sequence[Edge], guess: Guess, c: float) -> Finding:
    node, position = edges[0]
    line, what = _line(fault, node), _value(fault, node.next_functions[position])
    steps = "" if len(edges) == 1 else f", at each of {len(edges)} such steps"
    within = [text for reader in fault.readers if (text := formula(fault.graph, reader)) != line]
    words = {"{line}": line, "{what}": what, "{number}": f"{1 / c:.4g}" if c else "infinity"}
    return Finding(
        guess.cause,
        _filled(guess.headline, words) + steps,
        f"with just this, your gradient equals what comes back through {listed(within) or line}, to rounding.",
        _filled(guess.next, words),
    )


def _filled(text: str, words: Mapping[str, str]) -> str:
    for place, word in words.items():
        text = text.replace(place, word)
    return text


def _line(fault: Fault, node: Node) -> str:
    """What the operation computes, with the name of its value if it has one."""
    name = fault.graph.owners.get((node, 0))
    return formula(fault.graph, name) if name else _value(fault, (node, 0))


def _value(fault: Fault, at: Place) -> str:
    if at in fault.graph.owners:
        return fault.graph.owners[at]
    text = write(fault.graph, at)
    return kind(at[0]).lower() if text == "..." else text


def _plain(edge: Edge) -> Iterator[Guess]:
    """What needs no search: the share is there or not, and has one sign or the other."""
    share = "what comes back to {what} through {line}"
    yield Guess(Cause.DROPPED_TERM, f"{share} is missing", f"add {share}", _nothing)
    yield Guess(Cause.WRONG_SIGN, f"{share} has the wrong sign", f"flip the sign of {share}", _negative)


def _guesses(edge: Edge) -> Iterator[Guess]:
    node, position = edge
    yield from _plain(edge)
    yield Guess(Cause.WRONG_FACTOR, "the derivative of {line} is left out", _AGAIN, _handed_on)
    for slip in operation(node).slips:
        if slip.position == position:
            yield Guess(slip.cause, f"in the derivative of {{line}}, {slip.says}", _AGAIN, slip.spoil, slip.scaled)
    if position == 0 and operation(node).written:
        term = "a term of the derivative of {line}"
        for index in range(_TERMS):
            yield Guess(Cause.DROPPED_TERM, f"{term} is missing", _AGAIN, _without(index, 1))
            yield Guess(Cause.WRONG_SIGN, f"{term} has the wrong sign", _AGAIN, _without(index, 2))


def _negative(node: Node, sent: Tensor, arrived: Tensor) -> Tensor:
    return -sent


def _nothing(node: Node, sent: Tensor, arrived: Tensor) -> Tensor:
    return sent * 0


def _handed_on(node: Node, sent: Tensor, arrived: Tensor) -> Tensor | None:
    """What arrived, in place of what is sent; None where that is the same."""
    handed = fitting(arrived, sent.shape) if arrived.numel() >= sent.numel() else None
    return None if handed is None or handed.equal(sent) else handed


def _without(index: int, times: int) -> Spoil:
    def spoil(node: Node, sent: Tensor, arrived: Tensor) -> Tensor | None:
        terms = written_terms(node, arrived)
        return sent - times * terms[index] if index < len(terms) and terms[index].shape == sent.shape else None

    return spoil
