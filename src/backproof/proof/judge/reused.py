"""Names that a loop uses again: the gradient under a name may then belong to an earlier tensor than the value does."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, consumed, dense, is_leaf, kind, shape_at
from backproof.proof.graph.passes import run

_DEPTH = 3  # nodes that have to be of the same kinds: an activation, a sum and a product, as in a step of an RNN
_STEPS = 512  # places that are asked for their gradient, in one backward pass


def reused(graph: Graph, name: str, got: Tensor) -> str:
    """Why `got` need not be meant for this tensor, in a clause; empty where nothing speaks for that.

    It is so where nameless tensors on the way were made by the same operations, as in every step of a loop: whoever
    walks back through the loop is left with the gradient of the first step, and with the value of the last.
    """
    own = graph.places[name]
    if is_leaf(own):
        return ""
    made = _made_by(own[0], _DEPTH)
    alike = [(node, own[1]) for node in graph.nodes if node != own[0] and _made_by(node, _DEPTH) == made]
    nameless = [at for at in alike if at in graph.used and at not in graph.owners]
    places = [at for at in nameless if shape_at(at) == shape_at(own)]
    if not places:
        return ""
    arrived = run(graph, graph.places[graph.output], graph.upstream, places[:_STEPS])
    if any(found is not None and _same(dense(found), got) for found in arrived):
        return f"it is the gradient of an earlier {name}, since the name is used again"
    return f"{len(places)} nameless tensors were made as {name} was, so the name may be used again by a loop"


def _made_by(node: Node, depth: int) -> tuple:
    """The kinds of a node and of the nodes behind it, down to a depth; leaves and constants are all alike."""
    if not node.next_functions:
        return ()
    if depth == 1:
        return (kind(node),)
    return (kind(node), *(_made_by(at[0], depth - 1) for _, at in consumed(node)))


def _same(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and bool((a != 0).any()) and torch.allclose(a.double(), b.double(), rtol=1e-4, atol=1e-7)
