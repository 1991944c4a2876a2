"""Rounding measured: the backward pass again, with every gradient on the way off by its own rounding.

Random signs at every operation are a bound that is close over a few operations. Along a recurrence it grows by a
factor a step, where the gradient itself vanishes: after two hundred steps it would pass anything. So where the way
is long and the bound large, a random error is put on each gradient as it arrives at each operation, as in stochastic
arithmetic (Vignes 1993, doi:10.1016/0378-4754(93)90003-D) and Monte Carlo arithmetic (Parker 1997), and carried on
by the real derivatives. How far what arrives then moves is what rounding does, at any depth.

A pass is linear in its gradients, so the errors may be larger than roundings are, and the answer is scaled down:
roundings themselves would be lost in the rounding of the pass that is to show them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, Place, PreHook, consumed, dense
from backproof.proof.graph.operations import operation, rounded_terms
from backproof.proof.graph.passes import by_node, run
from backproof.proof.verdict.signs import can_be_drawn, sent_twice, signs, wide
from backproof.proof.verdict.sums import at_once, eps_at, terms_of

REPLAYS = 4  # draws that are averaged; each takes a backward pass
_POOL = 1 << 16  # random numbers drawn at once: a recurrence asks tens of thousands of times for a few


def measured(
    graph: Graph, handed: Mapping[str, Tensor], expected: Mapping[str, Tensor], names: Sequence[str], eps: float
) -> dict[str, Tensor]:
    """How far roundings of all terms move what arrives at each of `names`, by element, in units of `eps`.

    `eps` is the coarsest rounding on the way. The answer takes the place of √N · s for the term scale s.
    """
    chance = _Chance(torch.Generator(device=graph.upstream.device).manual_seed(3))
    size = eps**0.5  # half way between the numbers and their roundings: what is added is seen, and stays small
    last = at_once(graph)
    hooks, after = _errors(graph, handed, last, size / eps, chance)
    totals = {name: torch.zeros_like(expected[name], dtype=wide(expected[name].dtype)) for name in names}
    ends = [graph.places[name] for name in names]
    for _ in range(REPLAYS):
        arrived = run(graph, graph.places[graph.output], graph.upstream, ends, hooks, after=after)
        for name, moved in zip(names, arrived, strict=True):
            if moved is not None:
                totals[name] += (dense(moved).to(totals[name].dtype) - expected[name]).abs_().div_(size * REPLAYS)
    for name, total in totals.items():  # the last sum has been rounded too, relative to itself
        total.add_(expected[name].abs().to(total.dtype), alpha=last.get(graph.places[name], 1.0) ** 0.5)
    return totals


class _Chance:
    """Random numbers of ±¾ to ±5/4: for small tensors a window, somewhere, of many drawn once."""

    def __init__(self, generator: torch.Generator) -> None:
        self.generator = generator
        self._pools: dict[torch.dtype, Tensor] = {}
        self._at = 0

    def like(self, gradient: Tensor) -> Tensor:
        count = gradient.numel()
        if count > _POOL // 16:
            return signs(gradient, self.generator).to(gradient.dtype)
        if gradient.dtype not in self._pools:
            pool = torch.empty(_POOL, dtype=gradient.dtype, device=gradient.device)
            self._pools[gradient.dtype] = signs(pool, self.generator).to(gradient.dtype)
        # a step that is odd, and larger than the windows, comes to every place before it comes to one again
        self._at = (self._at + 2 * _POOL // 5 + 7) % _POOL
        start = self._at % (_POOL - count + 1)
        return self._pools[gradient.dtype][start : start + count].view(gradient.shape)

    def moved(self, gradient: Tensor, roundings: float, share: float) -> Tensor:
        """The gradient off by as many roundings, and by the spacing of numbers too small for their digits."""
        if not can_be_drawn(gradient, self.generator):
            return gradient
        drawn = self.like(gradient)
        least = share * torch.finfo(gradient.dtype).tiny
        return torch.addcmul(gradient, gradient, drawn, value=share * roundings).add_(drawn, alpha=least)


def _errors(
    graph: Graph, handed: Mapping[str, Tensor], last: Mapping[Place, float], scale: float, chance: _Chance
) -> tuple[list[tuple[Node, PreHook]], list[tuple[Node, Callable]]]:
    """Hooks that put errors of `scale` times the rounding of its precision before and after each operation."""
    given = by_node(graph, handed)
    before, after = [], []
    for node in graph.nodes:
        if not node.next_functions:
            continue
        share = scale * eps_at((node, 0))
        before.append((node, _before(node, given.get(node, {}), last, share, chance)))
        twice = sent_twice(node)
        if twice or operation(node).rounded is not None:
            after.append((node, _after(node, twice, share, chance)))
    return before, after


def _before(
    node: Node, given: Mapping[int, Tensor], last: Mapping[Place, float], share: float, chance: _Chance
) -> PreHook:
    """As many roundings on each number as its own sum makes, and the next: the root, as in a random walk."""
    onwards = max((terms_of(node, at) for _, at in consumed(node)), default=0.0)

    def hook(arriving: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        changed = [given.get(output, gradient) for output, gradient in enumerate(arriving)]
        for output, gradient in enumerate(changed):
            if gradient is not None:
                own = 0.0 if output in given else last.get((node, output), 1.0)
                changed[output] = chance.moved(gradient, max(1.0, own + onwards) ** 0.5, share)
        return tuple(changed)

    return hook


def _after(node: Node, twice: Sequence[int], share: float, chance: _Chance) -> Callable:
    """What an operation subtracts inside, and what it sends twice to one place, is rounded before it meets."""

    def hook(leaving: tuple[Tensor | None, ...], arriving: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        changed = list(leaving)
        for i in twice:
            gradient = changed[i]
            changed[i] = None if gradient is None else chance.moved(gradient, 1.0, share)
        terms = {} if arriving[0] is None else rounded_terms(node, arriving[0])
        for position, added in terms.items():
            old = changed[position] if position < len(changed) else None
            if old is not None and added[0].shape == old.shape:
                for term in added:
                    old = torch.addcmul(old, term, chance.like(term), value=share)
                changed[position] = old
        return tuple(changed)

    return hook
