"""Backward passes with one operation spoiled: the operations on the way to a value, one by one and by kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from torch import Tensor

from backproof.proof.causes.fault import Fault
from backproof.proof.graph.node import (
    Arriving,
    Node,
    NotSavedError,
    Place,
    PostHook,
    consumed,
    dense,
    kind,
    saved_dims,
    shape_at,
)
from backproof.proof.graph.slips import Spoil
from backproof.proof.report.cause import Cause

_NODES = 60  # operations tried one by one, of a stretch; more are tried by kind only, which a loop's are
_KINDS = 60  # kinds tried, for speed alone


class Edge(NamedTuple):
    """One input of one operation."""

    node: Node
    position: int


class Stretch(NamedTuple):
    """The inputs of all operations between the value and the next gradients given, nearest first; and those gradients.

    Where none was given on a way, what comes down it is autograd's own, from the output.
    """

    edges: list[Edge]
    given: Mapping[Place, Tensor]


class Guess(NamedTuple):
    """What may have gone wrong at an operation, in words that `{line}` and `{what}`, its input, are put into."""

    cause: Cause
    headline: str
    next: str
    spoil: Spoil
    scaled: bool = False  # to a constant factor, `{number}`, which the gradient tells


def back_to(fault: Fault) -> Stretch:
    """Up to the next gradients given on every way."""
    graph = fault.graph
    consumers: dict[Place, list[Edge]] = {}
    outputs: dict[Node, set[Place]] = {}
    for node in graph.nodes:
        for position, at in consumed(node):
            consumers.setdefault(at, []).append(Edge(node, position))
            outputs.setdefault(at[0], set()).add(at)
    stops = {graph.places[name]: gradient for name, gradient in fault.case.handed.items() if name != fault.name}
    end = graph.places[graph.output]
    stops.setdefault(end, graph.upstream)
    outputs.setdefault(end[0], set()).add(end)
    level, found, given = [graph.places[fault.name]], {}, {}
    while level:
        new = [edge for at in level for edge in consumers.get(at, ()) if edge not in found]
        found |= dict.fromkeys(new)
        above = dict.fromkeys(at for edge in new for at in outputs.get(edge.node, ()))
        given |= {at: stops[at] for at in above if at in stops}
        level = [at for at in above if at not in stops]
    return Stretch(list(found), given)


def places(fault: Fault, edges: Sequence[Edge]) -> Iterator[list[Edge]]:
    """Every input on the way, alone, where there are few; then all of a kind."""
    if len({edge.node for edge in edges}) <= _NODES:
        yield from ([edge] for edge in edges)
    groups: dict[tuple, list[Edge]] = {}
    order = {node: number for number, node in enumerate(fault.graph.nodes)}
    for edge in sorted(edges, key=lambda edge: order[edge.node]):  # the last step of a loop first
        for likeness in _likenesses(edge):
            groups.setdefault(likeness, []).append(edge)
    several = dict.fromkeys(tuple(group) for group in groups.values() if len(group) > 1)
    yield from [list(group) for group in several][:_KINDS]


def _likenesses(edge: Edge) -> Iterator[tuple]:
    """What the same operation in each round of a loop has in common: all its inputs, or in the first round just one."""
    node, position = edge
    children = ["" if child is None else kind(child) for child, _ in node.next_functions]
    try:
        dims = saved_dims(node, len(shape_at((node, 0))))
    except NotSavedError:
        dims = ()
    yield kind(node), position, tuple(children), dims
    yield kind(node), position, children[position], dims


def spoiled(fault: Fault, stretch: Stretch, edges: Sequence[Edge], spoil: Spoil) -> Tensor | None:
    """What comes back where these inputs get what `spoil` makes of what they should get; None where it says nothing."""
    silent = []

    def at(node: Node, position: int) -> PostHook:
        def hook(leaving: Arriving, arriving: Arriving) -> Arriving | None:
            sent, arrived = leaving[position], next((one for one in arriving if one is not None), None)
            made = None if sent is None or arrived is None else _made(spoil, node, dense(sent), dense(arrived))
            if made is None:
                silent.append(node)
                return None
            return (*leaving[:position], made, *leaving[position + 1 :])

        return hook

    sent = fault.again(stretch.given, [(node, at(node, position)) for node, position in edges])
    return None if silent else sent


def _made(spoil: Spoil, node: Node, sent: Tensor, arrived: Tensor) -> Tensor | None:
    try:
        made = spoil(node, sent, arrived)
    except NotSavedError:
        return None
    if made is None or made.shape != sent.shape or made.is_complex() != sent.is_complex():
        return None
    return made.to(sent.dtype)
