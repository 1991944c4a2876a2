"""Another value in the place of the one that a product multiplies by."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from torch import Tensor

from backproof.proof.causes.by_functions import fitting
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.stretch import Edge, Guess
from backproof.proof.graph.node import Node, NotSavedError, saved
from backproof.proof.graph.operations import operation
from backproof.proof.graph.slips import Spoil
from backproof.proof.report.cause import Cause

_NEAR = 40  # operations nearest the output in which the last state of a loop is looked for
_ENDS = 12  # such states tried, for speed alone


def other_factors(fault: Fault, edges: Sequence[Edge]) -> Iterator[Guess]:
    """Another value for the factor that a product multiplies by: a named one, or in a loop that of the next step."""
    factors = [_factor(edge) for edge in edges]
    like = next((factor for factor in factors if factor is not None), None)
    if like is None or not like.is_floating_point():
        return
    if len(edges) == 1:
        for name, value in fault.graph.values.items():
            if _alike(value, like) and not value.detach().equal(like):
                yield Guess(
                    Cause.WRONG_TENSOR,
                    f"{name} stands where another factor belongs, in {{line}}",
                    f"see what {{line}} multiplies by, and put it where {name} stands",
                    _multiplied({edges[0].node: value.detach()}),
                )
        return
    alike = [factor for factor in factors if factor is not None and _alike(factor, like)]
    if len(alike) < len(factors):
        return  # not the rounds of a loop: the factor of one does not fit another
    # the edges begin with the last step, so that the step after is the one in front
    for words, ours, theirs, (end, _) in (
        ("after", edges[1:], alike[:-1], edges[0]),
        ("before", edges[:-1], alike[1:], edges[-1]),
    ):
        by_node = {edge.node: factor for edge, factor in zip(ours, theirs, strict=True)}
        for state in _states(fault, like)[:_ENDS]:
            yield Guess(
                Cause.WRONG_TENSOR,
                f"the factor of the step {words} stands in {{line}}",
                "move the index by one: {line} has the factor of its own step",
                _multiplied({**by_node, end: state}),
            )


def _factor(edge: Edge) -> Tensor | None:
    """What the operation multiplies by what comes back to this input."""
    known = operation(edge.node)
    names = {position: name for position, name in known.arguments.items() if position != edge.position}
    if len(names) != 1 or edge.position not in known.arguments or known.divides:
        return None
    return _kept(edge.node, *names.values())


def _multiplied(factors: Mapping[Node, Tensor]) -> Spoil:
    def spoil(node: Node, sent: Tensor, arrived: Tensor) -> Tensor | None:
        factor = factors[node]
        if "@" not in operation(node).text:
            return fitting(arrived * factor, sent.shape)
        first = sent.shape[-2:] == (arrived.shape[-2], factor.shape[-2]) and arrived.shape[-1] == factor.shape[-1]
        return arrived @ factor.mT if first else factor.mT @ arrived

    return spoil


def _alike(value: object, like: Tensor) -> bool:
    return isinstance(value, Tensor) and value.shape == like.shape and value.dtype == like.dtype


def _states(fault: Fault, like: Tensor) -> list[Tensor]:
    """What the first or the last state of a loop may be: named, a slice of what is, or kept where the loss is made."""
    values = [value.detach() for value in fault.graph.values.values()]
    found = [*values]
    found += [
        value.select(dim, index)
        for value in values
        if value.dim() == like.dim() + 1
        for dim in range(value.dim())
        for index in (-1, 0)
    ]
    for node in fault.graph.nodes[:_NEAR]:
        found += [kept for name in ("self", "result", "mat1", "other") if (kept := _kept(node, name)) is not None]
    return [state for state in found if _alike(state, like)]


def _kept(node: Node, name: str) -> Tensor | None:
    try:
        value = saved(node, name)
    except NotSavedError:
        return None
    return value if isinstance(value, Tensor) and value.numel() > 1 else None
