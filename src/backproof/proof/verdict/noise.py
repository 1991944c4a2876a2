"""How well is a gradient known that comes through an operation of which nothing is known?

Its kernel may subtract inside what is much larger than the difference, as a normalisation does far from zero, and
its formula may go through a saved result that was rounded. So the backward pass is run again, and while such an
operation computes, every number that enters one of its steps is changed by as much as a right one may be off. What
then arrives is off by as much as right code may be: a different kernel, another formula, a wider type.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, not_allocated
from backproof.proof.graph.operations import operation
from backproof.proof.graph.passes import replace_with, run
from backproof.proof.verdict.signs import signed, wide
from backproof.proof.verdict.yardstick import Yardstick, allowance

_REPLAYS = 3
MARGIN = 4  # kernels round coefficients of their own as well, which no number that enters shows: needed were 1.3


def noise(
    graph: Graph, handed: Mapping[str, Tensor], measures: Mapping[str, Yardstick], names: Iterable[str]
) -> dict[str, Tensor]:
    """How far what arrives at each of `names` moves; empty where all operations on the way are known."""
    names = list(names)
    unknown = [node for node in graph.nodes if node.next_functions and operation(node).unknown_inside]
    if not unknown:
        return {}
    try:
        return _moved(graph, handed, names, unknown)
    except (RuntimeError, TypeError, NotImplementedError) as error:  # an operation that does not let its steps be seen
        if isinstance(error, RuntimeError) and not_allocated(error):
            raise
        return {name: _half_the_digits(measures[name]) for name in names}


def _half_the_digits(measure: Yardstick) -> Tensor:
    """A difference in the first half of the digits is no rounding in any kernel that is worth its name."""
    return measure.fine * (measure.eps**0.5 / allowance(measure.eps, measure.terms))


def _moved(graph: Graph, handed: Mapping[str, Tensor], names: list[str], unknown: list[Node]) -> dict[str, Tensor]:
    start, ends = graph.places[graph.output], [graph.places[name] for name in names]
    hooks = [(graph.places[one][0], replace_with(graph.places[one][1], own)) for one, own in handed.items()]
    still = run(graph, start, graph.upstream, ends, hooks)
    mode = _Noise(torch.Generator(device=graph.upstream.device).manual_seed(2))
    hooks += [(node, mode.begin) for node in unknown]
    after = [(node, mode.end) for node in unknown]
    totals = {name: torch.zeros_like(measure, dtype=wide(measure.dtype)) for name, measure in _strided(names, still)}
    for _ in range(_REPLAYS):
        with mode:
            moved = run(graph, start, graph.upstream, ends, hooks, after=after)
        for name, one, other in zip(names, moved, still, strict=True):
            if name in totals and one is not None and other is not None:
                totals[name] += _apart(one, other)
    return {name: MARGIN / _REPLAYS * total for name, total in totals.items()}


def _strided(names: list[str], gradients: list[Tensor | None]) -> list[tuple[str, Tensor]]:
    pairs = zip(names, gradients, strict=True)
    return [(name, one) for name, one in pairs if one is not None and one.layout is torch.strided]


def _apart(one: Tensor, other: Tensor) -> Tensor:
    """What overflows when it is moved is not known at all; its square still is a number."""
    dtype = wide(other.dtype)
    most = torch.finfo(dtype).max ** 0.5 / 1e3
    apart = (one.to(dtype) - other.to(dtype)).abs().nan_to_num(most, most).clamp(max=most)
    return torch.where(other.isfinite(), apart, 0)


class _Noise(TorchDispatchMode):
    """Between `begin` and `end`, changes all numbers that enter an operation by the allowance of their precision.

    Views and writes in place are left alone, and comparisons, whose answers are no numbers.
    """

    def __init__(self, generator: torch.Generator) -> None:
        super().__init__()
        self.generator, self.active = generator, False

    def begin(self, arriving: tuple[Tensor | None, ...]) -> None:
        self.active = True

    def end(self, leaving: tuple[Tensor | None, ...], arriving: tuple[Tensor | None, ...]) -> None:
        self.active = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        schema = func._schema
        aliases = any(one.alias_info is not None for one in (*schema.arguments, *schema.returns))
        if not self.active or aliases or schema.name.rpartition("::")[2] in _COMPARISONS:
            return func(*args, **kwargs)
        return func(*map(self._moved, args), **{name: self._moved(value) for name, value in kwargs.items()})

    def _moved(self, value: Any) -> Any:
        if isinstance(value, list | tuple):
            return type(value)(self._moved(one) for one in value)
        if not isinstance(value, Tensor):
            return value
        if value.is_complex():
            return torch.complex(self._moved(value.real), self._moved(value.imag))
        if not value.is_floating_point() or value.device != self.generator.device or value.layout is not torch.strided:
            return value
        share = allowance(torch.finfo(value.dtype).eps, 1.0)
        ones = torch.ones_like(value, dtype=wide(value.dtype))
        return (value * (1 + share * signed(ones, self.generator))).to(value.dtype)


_COMPARISONS = frozenset(["eq", "ne", "lt", "le", "gt", "ge", "isnan", "isinf", "sign", "sgn"])
