"""A second look before an accusation: how well is the gradient known at all, in this precision?

The yardstick allows for the rounding of one line. More sources of rounding can make right code differ, and
only matter in badly conditioned places, so they are worked out only for lines that look wrong:

1. The forward values are rounded. Mathematically equal formulas then differ by what an error of eps in each
   value does to the gradient: a batch normalisation that subtracts a mean of 10,000 from 10,001 has lost four
   digits, and a formula that takes the differences to sum to zero shows it. Differentiating the gradient once
   more gives the size.
2. The user's upstream gradients are rounded, each by as much as its own yardstick allows. A collapsed formula
   goes back to gradients further up and does not share those errors.
3. An operation of which nothing is known may round inside: see `noise.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import is_leaf, not_allocated
from backproof.proof.graph.passes import replace_with, run
from backproof.proof.verdict.noise import MARGIN, noise
from backproof.proof.verdict.signs import signed
from backproof.proof.verdict.yardstick import Yardstick, allowance, wide

_REPLAYS = 3  # draws that are averaged; each takes a backward pass
_SHARE = 0.25  # of the allowance: these errors are relative to sizes that are known, not to a bound
_NEAR = 8  # upstream values whose own sensitivity is worked out, nearest first: a collapsed formula skips so many lines
_FAR = 100  # operations; over more, errors in forward values may grow without end, and a formula reads those it has
_DIGIT = 16  # times the rounding of the gradients themselves: so much is left of forward rounding over a far way
_MOST = 64  # upstream values whose rounding is carried on, nearest first: a network's, not a long recurrence's


def doubt(graph: Graph, handed: Mapping[str, Tensor], measures: Mapping[str, Yardstick], name: str) -> Tensor:
    """What may be allowed at `name` beyond its yardstick, element by element."""
    generator = torch.Generator(device=graph.upstream.device).manual_seed(1)
    above = [one for one in _above(graph, handed, name) if one in measures]
    near = [*above[:_NEAR], name]
    inside = {one: _smoothed(moved) for one, moved in noise(graph, handed, measures, near).items()}
    for one in near:
        moved = _forward_rounding(graph, handed, measures[one], one, generator)
        if one in inside and bool(inside[one].any()):  # an operation of which nothing is known is on the way
            moved = MARGIN * moved
        if measures[one].depth > _FAR:
            moved = torch.minimum(moved, _DIGIT * _smoothed(measures[one].fine))
        inside[one] = inside.get(one, 0) + moved
    own = {one: _smoothed(measures[one].fine) + inside.get(one, 0) for one in above}
    return _carried(graph, own, name, generator) + inside[name]


def _above(graph: Graph, handed: Mapping[str, Tensor], name: str) -> list[str]:
    """The values whose gradients `name`'s may be computed from, directly or not, nearest first."""
    found: dict[str, None] = {}
    level = [name]
    while level and len(found) < _MOST:
        level = [reader for one in level for reader in graph.readers[one] if reader not in found]
        found |= dict.fromkeys(level)
    return [one for one in found if one in handed][:_MOST]


def _forward_rounding(
    graph: Graph, handed: Mapping[str, Tensor], measure: Yardstick, name: str, generator: torch.Generator
) -> Tensor:
    """How far rounding errors in all named values move a gradient, element by element."""
    try:
        moved = _moved(graph, handed, name, generator)
    except RuntimeError as error:  # a kernel that cannot be differentiated twice
        if not_allocated(error):
            raise
        return torch.zeros_like(measure.allowed)
    return _SHARE * allowance(measure.eps, 1.0) * _smoothed(moved.to(measure.allowed.dtype))


def _moved(graph: Graph, handed: Mapping[str, Tensor], name: str, generator: torch.Generator) -> Tensor:
    """What arrives at `name`, differentiated in the direction of relative errors of 1 with random signs.

    Reverse mode twice gives the derivative in one direction: slopes(w) = wᵀJ is linear in w, so that the
    derivative of its product with a direction, by w, is J times that direction.
    """
    values = [one for one in graph.names if graph.can_be_asked(one) and graph.twin(one) == one]
    hooks = [(graph.places[one][0], replace_with(graph.places[one][1], own)) for one, own in handed.items()]
    with torch.enable_grad():
        start = graph.places[graph.output]
        (sent,) = run(graph, start, graph.upstream, [graph.places[name]], hooks, keep=True)
        if sent is None or not sent.requires_grad:
            return torch.zeros_like(graph.values[name])
        weights = torch.ones_like(sent).requires_grad_()
        slopes = torch.autograd.grad(
            [sent],
            [GradientEdge(*graph.places[one]) for one in values],
            [weights],
            create_graph=True,
            allow_unused=True,
        )
        total = torch.zeros_like(sent)
        for _ in range(_REPLAYS):
            products = [
                (slope * signed(graph.values[one].detach(), generator)).sum()
                for one, slope in zip(values, slopes, strict=True)
                if slope is not None and slope.requires_grad and not slope.is_sparse
            ]
            if products:
                along = torch.stack(products).sum()
                (moved,) = torch.autograd.grad([along], [weights], retain_graph=True, allow_unused=True)
                total = total if moved is None else total + moved.detach().abs()
    return total.detach() / _REPLAYS


def _smoothed(sizes: Tensor) -> Tensor:
    """One element may be small by chance: the least root mean square of its row, column, ... is added."""
    sizes = torch.where(sizes.isfinite(), sizes, 0)
    if sizes.dim() == 0:
        return sizes
    means = [sizes.square().mean(dim, keepdim=True).sqrt().expand_as(sizes) for dim in range(sizes.dim())]
    return sizes + torch.stack(means).amin(0)


def _carried(graph: Graph, own: Mapping[str, Tensor], name: str, generator: torch.Generator) -> Tensor:
    """The doubts of the upstream gradients, with random signs, carried on to `name`."""
    like = graph.values[name]
    total = torch.zeros_like(like, dtype=wide(like.dtype))
    for _ in range(_REPLAYS):
        hooks = [
            (graph.places[one][0], _injected(graph.places[one][1], noise, generator))
            for one, noise in own.items()
            if not is_leaf(graph.places[one])
        ]
        start = torch.zeros_like(graph.upstream)
        (arrived,) = run(graph, graph.places[graph.output], start, [graph.places[name]], hooks)
        if arrived is not None and not arrived.is_sparse:
            total += arrived.to(total.dtype).abs()
    return _smoothed(total / _REPLAYS)


def _injected(output: int, noise: Tensor, generator: torch.Generator) -> Callable:
    def hook(arriving: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        changed = list(arriving)
        extra = signed(noise, generator)
        old = changed[output]
        changed[output] = extra if old is None else old + extra.to(old.dtype)
        return tuple(changed)

    return hook
