"""A gradient taken apart into the terms that it is the sum of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from torch import Tensor

from backproof.proof.causes.case import Case, Term
from backproof.proof.graph.formula import write
from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, Place, consumed, dense
from backproof.proof.graph.operations import written_terms
from backproof.proof.graph.passes import cuts, run, share

_PATHS = 24  # at most this many ways back from gradients that were given are told apart; there may be millions
_DEPTH = 4  # values without a gradient on such a way; behind more, nobody says from where a term comes


def taken_apart(case: Case, name: str) -> Iterator[Term]:
    """By reader, by way back to the nearest gradients given, by place of use, by term inside a kernel."""
    for path, upstream in _paths(case, name, ()):
        for tensor, within in _uses(case.graph, path[-1], name, upstream):
            yield Term(dense(tensor).double(), path, within)


def _paths(case: Case, name: str, below: tuple[str, ...]) -> list[tuple[tuple[str, ...], Tensor]]:
    """Every way from a gradient that was given to `name`, and what it brings to the last stop before."""
    found = list(islice(_ways(case, name, below), _PATHS + 1))
    if len(found) <= _PATHS:
        return found  # else too many to tell apart: by reader, then
    return [((reader,), up) for reader in case.graph.readers[name] if (up := case.upstream(reader)) is not None]


def _ways(case: Case, name: str, below: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    for reader in case.graph.readers[name]:
        given = case.handed.get(reader)
        if given is None and reader == case.graph.output:
            given = case.graph.upstream
        if given is None and len(below) >= _DEPTH:
            given = case.upstream(reader)
        if given is not None:
            yield (reader,), given
            continue
        for path, upstream in _paths(case, reader, (*below, name)):
            sent = share(case.graph, path[-1], reader, upstream)
            if sent is not None:
                yield (*path, reader), sent


def _uses(graph: Graph, reader: str, value: str, upstream: Tensor) -> list[tuple[Tensor, str]]:
    """The share through `reader`, one tensor for each place where the value is used on the way, and that place.

    No place where it says nothing: it is the line itself, or holds several terms.
    """
    at = graph.places[value]
    caught: dict[tuple[int, int], tuple[Tensor, ...]] = {}
    users = list(_users(graph, at))

    def catch(key: int, node: Node, positions: list[int]) -> Callable:
        def hook(leaving: tuple[Tensor | None, ...], arriving: tuple[Tensor | None, ...]) -> None:
            for position in positions:
                gradient = leaving[position]
                if gradient is None:
                    continue
                caught[key, position] = (gradient.detach(),)
                if position == 0 and arriving[0] is not None:
                    caught[key, 0] = written_terms(node, arriving[0].detach()) or caught[key, 0]

        return hook

    after = [(node, catch(key, node, positions)) for key, (node, positions) in enumerate(users)]
    (whole,) = run(graph, graph.places[reader], upstream, [at], cuts(graph, reader, value), after=after)
    if whole is None:
        return []
    used = [(term, users[key][0]) for (key, _), terms in caught.items() for term in terms]
    if len(used) < 2 or not all(one.shape == whole.shape for one, _ in used):
        return [(whole, "")]
    nodes = [node for _, node in used]
    telling = {node for node in nodes if nodes.count(node) == 1 and node is not graph.places[reader][0]}
    texts = {node: write(graph, (node, 0)).strip(".") if node in telling else "" for node in nodes}
    clear = {text for text in texts.values() if list(texts.values()).count(text) == 1}
    return [(one, texts[node] if texts[node] in clear else "") for one, node in used]


def _users(graph: Graph, at: Place) -> Iterator[tuple[Node, list[int]]]:
    for node in graph.nodes:
        positions = [position for position, place in consumed(node) if place == at]
        if positions:
            yield node, positions
