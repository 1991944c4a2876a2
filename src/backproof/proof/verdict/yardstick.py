"""How far from autograd's gradient may correct code be? The yardstick is the size of the terms summed.

Backward passes are repeated with every gradient, at every node, multiplied by random signs. What then arrives
has no cancellation left: its mean size over the repetitions is the *term scale* s, close to the root of the
sum of the squared terms. Correct code, in whatever order it sums, stays within a few eps · √N · s, where N
bounds the number of terms of a sum: rounding errors of a running sum add like a random walk.

Two things s cannot see are added. (1) Kernels that subtract inside, such as 1 - h² for tanh, whose terms are
much larger than their difference; `graph/operations.py` knows them. (2) A reader that saturates: written as y(1 - y),
the derivative carries the rounding of y itself, so a relative error of eps in the reader is always allowed.

Signs at every operation are a bound that grows with the way, along a recurrence by a factor a step. Where the way is
long, and the bound large against the gradient, rounding is measured instead: see `measured.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, PreHook, dense
from backproof.proof.graph.operations import operation, rounded_terms
from backproof.proof.graph.passes import by_node, run
from backproof.proof.verdict.blocks import blocks
from backproof.proof.verdict.measured import measured
from backproof.proof.verdict.signs import sent_twice, signed, wide
from backproof.proof.verdict.sums import Sum, sums

REPLAYS = 4  # what random signs leave of a sum is small by chance in one draw; each takes a backward pass
MULTIPLE = 16  # of eps · √N · s: right code was measured to need 12, and n / (n - 1) for a large n is soon as near
_LOW_MULTIPLE = 4  # of eps · s, in half precision: its kernels add in float32 and round once
_FULL_PRECISION = torch.finfo(torch.float32).eps
_LONG = 12  # operations; over fewer, random signs are no more than a small factor above what rounding does
_LARGE = 1e-3  # of a gradient: a bound below it hides no fault
_ENDLESS = 1000  # operations; no bound that grows with each of them is worth four backward passes


@dataclass(frozen=True)
class Yardstick:
    """What is allowed at one value: `allowed` by element, from the term scale, the number of terms and eps.

    `fine` is the same from each element's own terms alone: too strict to accuse with, good to look for a
    cause with.
    """

    allowed: Tensor
    fine: Tensor
    terms: float
    eps: float
    undoubted: Tensor | None = None  # what was allowed before it was widened
    depth: int = 0  # operations since the nearest gradients that were given

    def widened(self, extra: Tensor) -> Yardstick:
        """The same with more allowed, where a gradient turns out to be less well known."""
        extra = torch.where(extra.isfinite(), extra, 0).to(self.allowed.dtype)
        return replace(self, allowed=self.allowed + extra, undoubted=self.allowed)

    @staticmethod
    def of_nothing(like: Tensor) -> Yardstick:
        """Of a gradient that is right to the last bit, whatever would be allowed."""
        zeros = torch.zeros((), dtype=wide(like.dtype), device=like.device).expand_as(like)
        return Yardstick(zeros, zeros, 1.0, torch.finfo(like.dtype).eps)

    def in_short(self) -> Yardstick:
        """The largest of each, in no memory: what is kept of a large one once its gradient was found right."""
        allowed, fine = (one.max().expand_as(one) for one in (self.allowed, self.fine))
        return Yardstick(allowed, fine, self.terms, self.eps, depth=self.depth)


def yardsticks(graph: Graph, handed: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Yardstick]:
    """The yardstick of every value in `expected`, given the gradients that were handed on.

    It takes two tensors of each value's size, and for a while a few of the largest's.
    """
    names = list(expected)
    if not names:
        return {}
    ways = sums(graph, {graph.places[name] for name in handed})
    ways = {name: ways.get(graph.places[name], Sum()) for name in names}
    precision = {name: max(way.eps, torch.finfo(expected[name].dtype).eps) for name, way in ways.items()}
    bounded = [name for name in names if ways[name].depth <= _ENDLESS]
    found, doubtful = {}, [name for name in names if ways[name].depth > _ENDLESS]
    for name, own in (_term_scale(graph, handed, bounded) if bounded else {}).items():
        way = ways[name]._replace(eps=precision[name])
        far = way.depth > _LONG
        lost = far and bool((expected[name].isfinite() & ~own.isfinite()).any())  # it grew until it overflowed
        found[name] = _yardstick(graph, handed, name, expected[name], own, way)
        if far and (lost or _is_large(found[name], expected[name])):
            doubtful.append(name)
    for eps in {precision[name] for name in doubtful}:
        alike = [name for name in doubtful if precision[name] == eps]
        for name, own in measured(graph, handed, expected, alike, eps).items():
            way = ways[name]._replace(terms=1.0, eps=eps)  # its terms have been counted, one by one
            found[name] = _yardstick(graph, handed, name, expected[name], own, way)
    return found


def _is_large(yardstick: Yardstick, expected: Tensor) -> bool:
    """Whether the bound might hide a fault."""
    finite = expected.isfinite()
    allowed, size = (torch.where(finite, one, 0) for one in (yardstick.allowed, expected))
    return bool(_root_mean_square(allowed) > _LARGE * _root_mean_square(size.abs().to(allowed.dtype)))


def _yardstick(
    graph: Graph, handed: Mapping[str, Tensor], name: str, expected: Tensor, own: Tensor, way: Sum
) -> Yardstick:
    """`own`, the term scale, is worked on in place: it may be as large as all memory allows."""
    terms, eps, depth = way
    _add_saturation(own, graph, handed, name)
    own.nan_to_num_(0.0, torch.finfo(expected.dtype).max)  # what overflows is large, not unknown
    unit = allowance(eps, terms)
    least = torch.finfo(expected.dtype).tiny * eps  # the spacing of numbers too small for full precision
    whole = _root_mean_square(own)  # never judge an element by its own tiny scale alone
    for fine, size in blocks(own, expected.detach()):
        size = size.to(fine.dtype).abs()
        fine.add_(torch.where(torch.isfinite(size), size, 0)).mul_(unit).add_(MULTIPLE * least * (1 + terms**0.5))
    return Yardstick(own + unit * whole, own, terms, eps, depth=depth)


def allowance(eps: float, terms: float) -> float:
    """What is allowed relative to the term scale.

    In half precision kernels accumulate in float32, so that a sum must not lose digits with its length.
    """
    return _LOW_MULTIPLE * eps if eps > _FULL_PRECISION else MULTIPLE * eps * terms**0.5


def _root_mean_square(sizes: Tensor) -> Tensor | float:
    largest = sizes.max() if sizes.numel() else torch.tensor(0.0)
    return largest * (sizes / largest).square_().mean().sqrt() if largest > 0 else 0.0


def _add_saturation(total: Tensor, graph: Graph, handed: Mapping[str, Tensor], name: str) -> None:
    """|dr| · min(1, |r / v|), summed over readers of v's shape: what their rounding may do to dv."""
    value = graph.values[name]
    for reader in graph.readers[name]:
        result, gradient = graph.values[reader].detach(), handed.get(reader)
        if gradient is None or result.shape != value.shape or not result.is_floating_point():
            continue
        for part, r, v, dr in blocks(total, result, value.detach(), gradient):
            ratio = (r.abs() / v.abs()).nan_to_num(0.0).clamp(max=1)
            ratio = ratio.to(wide(value.dtype)) + _squares_vanish(value.dtype)
            part.add_((dr.abs() * ratio).to(wide(value.dtype)))


def _squares_vanish(dtype: torch.dtype) -> float:
    """Below this, squares vanish: e / (1 + e)² is then 0, and s(1 - s) is not. In float16 all would be below it."""
    info = torch.finfo(dtype)
    return 0.0 if dtype == torch.float16 else info.tiny**0.5 / info.eps


def _term_scale(graph: Graph, handed: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    given = by_node(graph, handed)
    device = graph.upstream.device
    generator = torch.Generator(device=device).manual_seed(0)  # its own: the user's random state stays as it is
    after = [(node, _with_inner_terms(node, generator)) for node in graph.nodes if operation(node).rounded]
    after += [(node, _told_apart(twice, generator)) for node in graph.nodes if (twice := sent_twice(node))]
    hooks = [(node, _noisy(given.get(node, {}), generator)) for node in graph.nodes if node.next_functions]
    ends = [graph.places[name] for name in names]
    totals: dict[str, Tensor] = {}
    for _ in range(REPLAYS):
        arrived = run(graph, graph.places[graph.output], graph.upstream, ends, hooks, after=after)
        for name, gradient in zip(names, arrived, strict=True):
            like = graph.values[name]
            size = torch.zeros_like(like, dtype=wide(like.dtype)) if gradient is None else _size(gradient)
            totals[name] = totals[name].add_(size) if name in totals else size
        del arrived, gradient, size
    return {name: total.div_(REPLAYS) for name, total in totals.items()}


def _size(gradient: Tensor) -> Tensor:
    return dense(gradient).to(wide(gradient.dtype)).abs()


def _noisy(given: Mapping[int, Tensor], generator: torch.Generator) -> PreHook:
    def hook(arriving: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        gradients = [given.get(output, gradient) for output, gradient in enumerate(arriving)]
        return tuple(None if gradient is None else signed(gradient, generator) for gradient in gradients)

    return hook


def _with_inner_terms(node: Node, generator: torch.Generator) -> Callable:
    def hook(leaving: tuple[Tensor | None, ...], arriving: tuple[Tensor | None, ...]) -> tuple | None:
        if arriving[0] is None:
            return None
        changed = list(leaving)
        for position, terms in rounded_terms(node, arriving[0]).items():
            old = changed[position] if position < len(changed) else None
            if old is not None and terms[0].shape == old.shape:
                whole = sum((signed(term, generator) for term in terms), torch.zeros_like(terms[0]))
                changed[position] = whole.to(old.dtype)
        return tuple(changed)

    return hook


def _told_apart(positions: list[int], generator: torch.Generator) -> Callable:
    """They are summed before the next node sees them, so each needs a sign of its own here."""

    def hook(leaving: tuple[Tensor | None, ...], arriving: tuple[Tensor | None, ...]) -> tuple:
        changed = list(leaving)
        for i in positions:
            gradient = changed[i]
            changed[i] = None if gradient is None else signed(gradient, generator)
        return tuple(changed)

    return hook


def within(got: Tensor, expected: Tensor, yardstick: Yardstick) -> bool:
    """Whether two gradients agree to rounding, element by element; equal infinities and two NaN agree."""
    return not any(bool(outside(*parts).any()) for parts in blocks(got, expected, yardstick.allowed))


def outside(got: Tensor, expected: Tensor, allowed: Tensor) -> Tensor:
    """The elements where two gradients of one shape are further apart than allowed."""
    a, b = got.to(allowed.dtype), expected.to(allowed.dtype)
    same = (a == b) | (a.isnan() & b.isnan())
    tiny = torch.finfo(got.dtype).tiny  # below it numbers lose their digits one by one
    return ~same & ~((a - b).abs() <= allowed.clamp(min=tiny))
