"""How far from autograd's gradient may correct code be? The yardstick is the size of the terms summed.

Backward passes are repeated with every gradient, at every node, multiplied by random signs. What then arrives
has no cancellation left: its mean size over the repetitions is the *term scale* s, close to the root of the
sum of the squared terms. Correct code, in whatever order it sums, stays within a few eps · √N · s, where N
bounds the number of terms of a sum: rounding errors of a running sum add like a random walk.

Two things s cannot see are added. (1) Kernels that subtract inside, such as 1 - h² for tanh, whose terms are
much larger than their difference; `graph/operations.py` knows them. (2) A reader that saturates: written as y(1 - y),
the derivative carries the rounding of y itself, so a relative error of eps in the reader is always allowed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, Place, PreHook, consumed, dtype_at, shape_at
from backproof.proof.graph.operations import Operation, operation, rounded_terms
from backproof.proof.graph.passes import run

REPLAYS = 4  # what random signs leave of a sum is small by chance in one draw; each takes a backward pass
MULTIPLE = 16  # of eps · √N · s: right code was measured to need 12, and n / (n - 1) for a large n is soon as near
_LOW_MULTIPLE = 4  # of eps · s, in half precision: its kernels add in float32 and round once
_FULL_PRECISION = torch.finfo(torch.float32).eps


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

    def widened(self, extra: Tensor) -> Yardstick:
        """The same with more allowed, where a gradient turns out to be less well known."""
        extra = torch.where(extra.isfinite(), extra, 0).to(self.allowed.dtype)
        return replace(self, allowed=self.allowed + extra, undoubted=self.allowed)


def yardsticks(graph: Graph, handed: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> dict[str, Yardstick]:
    """The yardstick of every value in `expected`, given the gradients that were handed on."""
    names = list(expected)
    if not names:
        return {}
    sizes = _term_scale(graph, handed, names)
    sums = _sums(graph, {graph.places[name] for name in handed})
    found = {}
    for name in names:
        gradient = expected[name]
        terms, eps = sums.get(graph.places[name], (1.0, 0.0))
        eps = max(eps, torch.finfo(gradient.dtype).eps)
        found[name] = _yardstick(graph, handed, name, gradient, sizes[name], terms, eps)
    return found


def _yardstick(
    graph: Graph,
    handed: Mapping[str, Tensor],
    name: str,
    expected: Tensor,
    own: Tensor,
    terms: float,
    eps: float,
) -> Yardstick:
    own = own + _saturation(graph, handed, name)
    own = own.nan_to_num(0.0, torch.finfo(expected.dtype).max)  # what overflows is large, not unknown
    size = expected.detach().to(own.dtype).abs()
    size = torch.where(torch.isfinite(size), size, 0)
    unit = allowance(eps, terms)
    least = torch.finfo(expected.dtype).tiny * eps  # the spacing of numbers too small for full precision
    fine = unit * (own + size) + MULTIPLE * least * (1 + terms**0.5)
    whole = _root_mean_square(own)  # never judge an element by its own tiny scale alone
    return Yardstick(fine + unit * whole, fine, terms, eps)


def allowance(eps: float, terms: float) -> float:
    """What is allowed relative to the term scale.

    In half precision kernels accumulate in float32, so that a sum must not lose digits with its length.
    """
    return _LOW_MULTIPLE * eps if eps > _FULL_PRECISION else MULTIPLE * eps * terms**0.5


def _root_mean_square(sizes: Tensor) -> Tensor | float:
    largest = sizes.max() if sizes.numel() else torch.tensor(0.0)
    return largest * (sizes / largest).square().mean().sqrt() if largest > 0 else 0.0


def _saturation(graph: Graph, handed: Mapping[str, Tensor], name: str) -> Tensor | float:
    """|dr| · min(1, |r / v|), summed over readers of v's shape: what their rounding may do to dv."""
    value = graph.values[name]
    total: Tensor | float = 0.0
    for reader in graph.readers[name]:
        result, gradient = graph.values[reader].detach(), handed.get(reader)
        if gradient is None or result.shape != value.shape or not result.is_floating_point():
            continue
        ratio = (result.abs() / value.detach().abs()).nan_to_num(0.0).clamp(max=1)
        ratio = ratio.to(wide(value.dtype)) + _squares_vanish(value.dtype)
        total = total + (gradient.abs() * ratio).to(wide(value.dtype))
    return total


def _squares_vanish(dtype: torch.dtype) -> float:
    """Below this, squares vanish: e / (1 + e)² is then 0, and s(1 - s) is not. In float16 all would be below it."""
    info = torch.finfo(dtype)
    return 0.0 if dtype == torch.float16 else info.tiny**0.5 / info.eps


def wide(dtype: torch.dtype) -> torch.dtype:
    """Yardsticks of half-precision numbers need more range than half precision has."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _term_scale(graph: Graph, handed: Mapping[str, Tensor], names: list[str]) -> dict[str, Tensor]:
    given: dict[Node, dict[int, Tensor]] = {}
    for name, gradient in handed.items():
        node, output = graph.places[name]
        given.setdefault(node, {})[output] = gradient
    device = graph.upstream.device
    generator = torch.Generator(device=device).manual_seed(0)  # its own: the user's random state stays as it is
    after = [(node, _with_inner_terms(node, generator)) for node in graph.nodes if operation(node).rounded]
    after += [(node, _told_apart(twice, generator)) for node in graph.nodes if (twice := _sent_twice(node))]
    hooks = [(node, _noisy(given.get(node, {}), generator)) for node in graph.nodes if node.next_functions]
    totals: dict[str, Tensor] = {}
    for _ in range(REPLAYS):
        handles = [node.register_hook(hook) for node, hook in after]
        try:
            arrived = run(graph.places[graph.output], graph.upstream, [graph.places[name] for name in names], hooks)
        finally:
            for handle in handles:
                handle.remove()
        for name, gradient in zip(names, arrived, strict=True):
            like = graph.values[name]
            size = torch.zeros_like(like, dtype=wide(like.dtype)) if gradient is None else _size(gradient)
            totals[name] = totals[name] + size if name in totals else size
    return {name: total / REPLAYS for name, total in totals.items()}


def _size(gradient: Tensor) -> Tensor:
    if gradient.is_sparse:
        gradient = gradient.to_dense()
    return gradient.to(wide(gradient.dtype)).abs()


def _noisy(given: Mapping[int, Tensor], generator: torch.Generator) -> PreHook:
    def hook(arriving: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        gradients = [given.get(output, gradient) for output, gradient in enumerate(arriving)]
        return tuple(None if gradient is None else signed(gradient, generator) for gradient in gradients)

    return hook


def signed(gradient: Tensor, generator: torch.Generator) -> Tensor:
    """Times ±¾ to ±5/4 at random: with signs alone, two equal terms would cancel every other time."""
    if gradient.device != generator.device or gradient.is_sparse or not gradient.is_floating_point():
        return gradient
    draw = torch.rand(gradient.shape, generator=generator, device=gradient.device, dtype=wide(gradient.dtype)) - 0.5
    return gradient * (draw + 0.75 * draw.sign()).to(gradient.dtype)


def _sums(graph: Graph, boundary: set[Place]) -> dict[Place, tuple[float, float]]:
    """For every place, a bound on the terms summed since `boundary`, and the largest eps since then."""
    found: dict[Place, tuple[float, float]] = {}
    outputs: dict[Node, set[Place]] = {}
    for node in graph.nodes:
        arriving = outputs.get(node) or {(node, 0)}
        so_far = max((0.0 if at in boundary else found.get(at, (0.0, 0.0))[0]) for at in arriving)
        eps = max(_eps(at) if at in boundary else max(_eps(at), found.get(at, (0.0, 0.0))[1]) for at in arriving)
        shape = max((shape_at(at) for at in arriving), key=_count)
        known = operation(node)
        coarse = known.coarse.get(dtype_at((node, 0)), 0.0)
        for _, at in consumed(node):
            terms = so_far + _terms(known, shape, shape_at(at))
            old = found.get(at, (0.0, 0.0))
            found[at] = (max(old[0] + 1, terms), max(old[1], eps, coarse, _eps(at)))
            outputs.setdefault(at[0], set()).add(at)
    return found


def _eps(at: Place) -> float:
    dtype = dtype_at(at)
    return torch.finfo(dtype).eps if dtype.is_floating_point else 0.0


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


def _sent_twice(node: Node) -> list[int]:
    """The gradients that a node sends to one and the same place, such as those of x - x."""
    places = [place for place in node.next_functions if place[0] is not None]
    return [i for i, place in enumerate(node.next_functions) if places.count(place) > 1]


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
    return not bool(outside(got, expected, yardstick.allowed).any())


def outside(got: Tensor, expected: Tensor, allowed: Tensor) -> Tensor:
    """The elements where two gradients of one shape are further apart than allowed."""
    a, b = got.to(allowed.dtype), expected.to(allowed.dtype)
    same = (a == b) | (a.isnan() & b.isnan())
    tiny = torch.finfo(got.dtype).tiny  # below it numbers lose their digits one by one
    return ~same & ~((a - b).abs() <= allowed.clamp(min=tiny))
