"""Whether a forward line still gives what it gave: its numbers, computed once more from today's tensors.

A parameter that was updated since through `.data` or under no_grad leaves no trace that autograd sees, and every
gradient that reads it comes out otherwise. Only operations that keep their operands for the backward pass matter, and
what they are combined with; of a line with any other operation nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, NotSavedError, Place, consumed, kind, leaf_at, saved, signed

_ROUNDINGS = 16  # eps of the terms' sizes: products of a few thousand terms in another order differ by 8


class Numbers(NamedTuple):
    """A value in float64, and the size of the terms that it is made of, element by element."""

    value: Tensor
    size: Tensor


def changed_since(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The named values whose line no longer gives them, and the named tensors that the line reads."""
    found = {}
    for name, inputs in graph.inputs.items():
        value = graph.values[name].detach()
        if not value.is_floating_point() or not inputs:
            continue
        now = _again(graph, graph.places[name], top=True)
        if now is None or now.value.shape != value.shape:
            continue
        allowed = _ROUNDINGS * torch.finfo(value.dtype).eps * now.size
        if bool(((now.value - value.double()).abs() > allowed).any()):
            found[name] = inputs
    return found


def _again(graph: Graph, at: Place, *, top: bool = False) -> Numbers | None:
    """The numbers at a place, from named values, leaves, and what operations have kept; None where that is unknown."""
    if not top and at in graph.owners:
        return _numbers(graph.values[graph.owners[at]])
    leaf = leaf_at(at)
    if leaf is not None:
        return None if top else _numbers(leaf)
    node = at[0]
    make = _MAKERS.get(kind(node))
    if make is None:
        return None
    behind = dict(consumed(node))

    def operand(position: int, name: str = "") -> Numbers:
        made = _again(graph, behind[position]) if position in behind else None
        if made is None:
            made = _numbers(saved(node, name)) if name else None
        if made is None:
            raise NotSavedError(name)
        return made

    try:
        return make(node, operand)
    except (NotSavedError, RuntimeError):
        return None


def _numbers(value: object) -> Numbers | None:
    if not isinstance(value, Tensor) or not value.is_floating_point():
        return None
    wide = value.detach().double()
    return Numbers(wide, wide.abs())


Operand = Callable[..., Numbers]


def _product(multiply: Callable[[Tensor, Tensor], Tensor], first: str, second: str) -> Callable:
    def make(node: Node, operand: Operand) -> Numbers:
        a, b = operand(0, first), operand(1, second)
        return Numbers(multiply(a.value, b.value), multiply(a.size, b.size))

    return make


def _sum(sign: int) -> Callable:
    def make(node: Node, operand: Operand) -> Numbers:
        a, b, factor = operand(0), operand(1), sign * saved(node, "alpha")
        return Numbers(a.value + factor * b.value, a.size + abs(factor) * b.size)

    return make


def _addmm(node: Node, operand: Operand) -> Numbers:
    bias, a, b = operand(0), operand(1, "mat1"), operand(2, "mat2")
    alpha, beta = saved(node, "alpha"), saved(node, "beta")
    return Numbers(
        beta * bias.value + alpha * (a.value @ b.value), abs(beta) * bias.size + abs(alpha) * (a.size @ b.size)
    )


def _moved(move: Callable[[Node, Tensor], Tensor]) -> Callable:
    def make(node: Node, operand: Operand) -> Numbers:
        a = operand(0)
        return Numbers(move(node, a.value), move(node, a.size))

    return make


def _function(function: Callable[[Tensor], Tensor]) -> Callable:
    """Of slope 1 at most, so that rounding does not grow."""

    def make(node: Node, operand: Operand) -> Numbers:
        a = operand(0)
        return Numbers(function(a.value), a.size + 1)

    return make


_MAKERS: Mapping[str, Callable[[Node, Operand], Numbers]] = {
    "Mm": _product(torch.matmul, "self", "mat2"),
    "Bmm": _product(torch.matmul, "self", "mat2"),
    "Mv": _product(torch.mv, "self", "vec"),
    "Dot": _product(torch.dot, "self", "tensor"),
    "Mul": _product(torch.mul, "self", "other"),
    "Addmm": _addmm,
    "Add": _sum(1),
    "Sub": _sum(-1),
    "T": _moved(lambda node, a: a.mT),
    "Transpose": _moved(lambda node, a: a.transpose(*(signed(saved(node, dim)) for dim in ("dim0", "dim1")))),
    "Tanh": _function(torch.tanh),
    "Sigmoid": _function(torch.sigmoid),
    "Relu": _function(torch.relu),
}


def names_of(changed: Mapping[str, tuple[str, ...]], graph: Graph) -> Iterator[str]:
    """The tensors that changed: of what a line reads, the leaves, which are what training updates; else all."""
    for inputs in changed.values():
        leaves = [name for name in inputs if graph.values[name].is_leaf]
        yield from leaves or inputs
