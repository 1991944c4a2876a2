"""How many terms may an element of a gradient sum, over how many operations, and in which precision?"""

from __future__ import annotations

from typing import NamedTuple

import torch

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, Place, consumed, dtype_at, shape_at
from backproof.proof.graph.operations import Operation, operation


class Sum(NamedTuple):
    """What has happened to a gradient on its way from the nearest ones that were given."""

    terms: float = 1.0  # a bound on the terms that one element sums
    eps: float = 0.0  # the largest rounding error on the way
    depth: int = 0  # the longest way, in operations


FULL_PRECISION = torch.finfo(torch.float32).eps
_NOTHING_YET = Sum(0.0)


def sums(graph: Graph, boundary: set[Place]) -> dict[Place, Sum]:
    """The sum at every place, since `boundary`."""
    found: dict[Place, Sum] = {}
    outputs: dict[Node, set[Place]] = {}
    for node in graph.nodes:
        arriving = outputs.get(node) or {(node, 0)}
        above = [_NOTHING_YET if at in boundary else found.get(at, _NOTHING_YET) for at in arriving]
        so_far, depth = max(one.terms for one in above), 1 + max(one.depth for one in above)
        eps = max(*(one.eps for one in above), *(eps_at(at) for at in arriving))
        shape, known = max((shape_at(at) for at in arriving), key=_count), operation(node)
        coarse = known.coarse.get(dtype_at((node, 0)), 0.0)
        for _, at in consumed(node):
            old = found.get(at, _NOTHING_YET)
            terms = max(old.terms + 1, so_far + _terms(known, shape, shape_at(at)))
            found[at] = Sum(terms, max(old.eps, eps, coarse, eps_at(at)), max(old.depth, depth))
            outputs.setdefault(at[0], set()).add(at)
    return found


def eps_at(at: Place) -> float:
    """The relative rounding error of the numbers that arrive there."""
    dtype = dtype_at(at)
    return torch.finfo(dtype).eps if dtype.is_floating_point else 0.0


def at_once(graph: Graph) -> dict[Place, float]:
    """The terms that are summed at every place after the last operations alone: those of a kernel, and one a reader.

    In half precision kernels add in float32, and only what readers send is rounded as it is added up.
    """
    readers: dict[Place, int] = {}
    longest: dict[Place, float] = {}
    for node in graph.nodes:
        for _, at in consumed(node):
            readers[at] = readers.get(at, 0) + 1
            longest[at] = max(longest.get(at, 0.0), terms_of(node, at))
    return {at: count + longest[at] for at, count in readers.items()}


def terms_of(node: Node, at: Place) -> float:
    """How many rounded terms an element of what `node` sends to `at` may sum."""
    if eps_at(at) > FULL_PRECISION:
        return 0.0
    return _terms(operation(node), shape_at((node, 0)), shape_at(at))


def _count(shape: torch.Size) -> int:
    return max(1, shape.numel())


def _terms(known: Operation, arriving: torch.Size, leaving: torch.Size) -> float:
    """How many terms one element of an operation's gradient may sum: from shapes alone, rather too many."""
    if arriving == leaving and not known.mixes:
        return 1.0
    longest = max(arriving, default=1)
    if len(arriving) > 2 and known.mixes:  # a convolution sums over positions and channels
        longest = _count(arriving)
    return float(max(1, longest, _count(arriving) // _count(leaving)))
