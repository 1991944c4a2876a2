"""Names that a loop uses again: the gradient under a name may then belong to an earlier tensor than the value does."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, Place, consumed, dense, is_leaf, kind, nodes_behind, shape_at
from backproof.proof.graph.passes import run

_DEPTH = 3  # nodes that have to be of the same kinds: an activation, a sum and a product, as in a step of an RNN
_STEPS = 512  # places that are asked for their gradient, in one backward pass


def of_an_earlier_step(graph: Graph, name: str, got: Tensor) -> bool:
    """Whether `got` is the gradient of a nameless tensor of the same operation: what a walk back through a loop leaves.

    The first step of a loop is made of a leaf, and so otherwise than the next ones; its gradient tells it all the same.
    Earlier is what the named tensor was made of: one that is made of it may well have the gradient of a slip.
    """
    behind = set(nodes_behind([graph.values[name]]))
    places = [at for at in _nameless(graph, name) if at[0] in behind]
    if not places:
        return False
    arrived = run(graph, graph.places[graph.output], graph.upstream, places[:_STEPS])
    return any(one is not None and _same(dense(one), got) for one in arrived)


def steps_alike(graph: Graph, name: str) -> int:
    """How many nameless tensors were made by the same operations, as in every step of a loop.

    Whoever walks back through it is left with a gradient of the first step, and with the value of the last.
    """
    made = _made_by(graph.places[name][0], _DEPTH)
    return sum(_made_by(node, _DEPTH) == made for node, _ in _nameless(graph, name))


def _nameless(graph: Graph, name: str) -> list[Place]:
    """Places without a name that the output depends on, of the same kind and shape."""
    own = graph.places[name]
    if is_leaf(own):
        return []
    found = [(node, own[1]) for node in graph.nodes if node != own[0] and kind(node) == kind(own[0])]
    return [at for at in found if at in graph.used and at not in graph.owners and shape_at(at) == shape_at(own)]


def _made_by(node: Node, depth: int) -> tuple:
    """The kinds of a node and of the nodes behind it, down to a depth; leaves and constants are all alike."""
    if not node.next_functions:
        return ()
    if depth == 1:
        return (kind(node),)
    return (kind(node), *(_made_by(at[0], depth - 1) for _, at in consumed(node)))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a != 0).any()) and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-7)
