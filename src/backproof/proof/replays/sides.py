"""One call of a kernel or of its reference, and what goes back through it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from backproof.proof.graph.node import dense, is_custom
from backproof.proof.judge.misread_upstream import judged
from backproof.proof.replays.complex_numbers import parts_of, whole_row
from backproof.proof.report.rows import Row
from backproof.proof.user.calls import CannotProveError, call, seeded
from backproof.proof.user.layouts import copied
from backproof.proof.user.tensors import as_real, counterpart, is_float
from backproof.proof.user.upstream import upstream_for
from backproof.proof.verdict.glance import Glance, glance

_TOTAL = "the sum of the outputs"


Values = dict[str, Any]


Gradients = dict[str, Tensor | None]


@dataclass(frozen=True)
class Side:
    """One call of the function or of the reference: the leaves it started from, and its outputs by name.

    The judge knows real numbers only, so the reference starts from the real numbers of complex inputs; `parts` names
    those.
    """

    leaves: Values
    outputs: dict[str, Tensor]
    parts: frozenset[str] = frozenset()

    @property
    def differentiable(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.outputs.items() if value.requires_grad}


def is_function(candidate: Any) -> bool:
    """Whether this is a subclass of torch.autograd.Function."""
    return isinstance(candidate, type) and issubclass(candidate, torch.autograd.Function)


def apply_of(function: Any) -> Callable:
    """`.apply` of an autograd Function, or the callable itself. Raises CannotProveError for anything else."""
    if is_function(function):
        return function.apply
    if not callable(function):
        raise CannotProveError(
            f"function must be a torch.autograd.Function or a callable; it is a {type(function).__name__}."
        )
    return function


def in_dtype(values: Values, dtype: torch.dtype | None) -> Values:
    """The same inputs, every floating-point tensor in `dtype` and complex ones as precise; as they are for None."""
    if dtype is None:
        return values
    return {
        name: value.to(counterpart(value.dtype, dtype)) if is_float(value) else value for name, value in values.items()
    }


def run_side(role: str, function: Callable, values: Values, needs: Collection[str], seed: int) -> Side:
    """Calls `function` on leaves of its own, in the layout of `values`, those in `needs` requiring a gradient."""
    leaves = {
        name: copied(value).requires_grad_(name in needs) if isinstance(value, Tensor) else value
        for name, value in values.items()
    }
    parts = frozenset(name for name in needs if role == "reference" and leaves[name].is_complex())
    if not parts:
        return called(role, function, leaves, seed)
    starts = {name: as_real(leaves[name].detach()).requires_grad_() for name in parts}
    given = {name: torch.view_as_complex(starts[name]) if name in parts else leaf for name, leaf in leaves.items()}
    return Side({**leaves, **starts}, called(role, function, given, seed).outputs, parts)


def called(role: str, function: Callable, leaves: Values, seed: int) -> Side:
    """Calls `function` on the tensors given. Raises CannotProveError where it raises or returns no tensor."""
    with seeded(seed), torch.enable_grad():
        returned = call(role, function, leaves.values())
    return Side(leaves, outputs_of(role, returned))


def outputs_of(role: str, returned: Any) -> dict[str, Tensor]:
    """The tensors of what was returned by name: `output`, a NamedTuple's or mapping's names, or `output[0]`, …."""
    if isinstance(returned, Tensor):
        return {"output": returned}
    if isinstance(returned, tuple | list):
        names = getattr(returned, "_fields", [f"output[{i}]" for i in range(len(returned))])
        returned = dict(zip(names, returned, strict=True))
    if not isinstance(returned, Mapping):
        raise CannotProveError(f"{role} must return a tensor or several; it returned a {type(returned).__name__}.")
    found = {name: value for name, value in returned.items() if isinstance(value, Tensor)}
    if not found:
        raise CannotProveError(f"{role} must return a tensor or several; there is none in what it returned.")
    return found


def upstreams_for(side: Side, seed: int) -> dict[str, Tensor]:
    """A random upstream gradient for every differentiable output of the reference."""
    return {name: upstream_for(value, seed + i) for i, (name, value) in enumerate(side.differentiable.items())}


def gradients_of(
    side: Side, upstreams: Mapping[str, Tensor], needs: Collection[str], *, retain: bool = False
) -> Gradients:
    """What automatic differentiation brings to the leaves in `needs`; each upstream gradient is handed on as it is."""
    outputs = {name: side.outputs[name] for name in upstreams if side.outputs[name].requires_grad}
    if not outputs:
        return dict.fromkeys(needs)
    found = torch.autograd.grad(
        list(outputs.values()),
        [side.leaves[name] for name in needs],
        [upstreams[name] for name in outputs],
        retain_graph=retain,
        allow_unused=True,
    )
    arrived = {name: None if one is None else dense(one) for name, one in zip(needs, found, strict=True)}
    return {
        name: torch.view_as_complex(one.contiguous()) if one is not None and name in side.parts else one
        for name, one in arrived.items()
    }


def raw_gradients(side: Side, upstreams: Mapping[str, Tensor]) -> Gradients | None:
    """What an autograd Function itself returns, before the engine sums, casts or refuses it; None for other callables.

    The engine silently sums a gradient of shape (n, H) for an input of shape (1, H), so its own result cannot tell.
    """
    node = next(iter(side.outputs.values())).grad_fn
    if not is_custom(node):
        return None
    arriving = [upstreams.get(name, torch.zeros_like(value)) for name, value in side.outputs.items()]
    with torch.no_grad():
        returned = node.apply(*arriving)
    returned = returned if isinstance(returned, tuple | list) else (returned,)
    dense_ones = (dense(one) if isinstance(one, Tensor) else one for one in returned)
    return dict(zip(side.leaves, dense_ones, strict=False))


def judged_side(reference: Side, gradients: Gradients, upstreams: Mapping[str, Tensor]) -> list[Row]:
    """The judge's rows for the inputs of `gradients`, with the reference's graph as the truth."""
    values, added, output, upstream = _as_network(reference, gradients, upstreams)
    rows = judged(values, {**parts_of(gradients, reference.parts), **added}, output, upstream)
    rows = [row for row in rows if row.name not in added]
    if not any(value.is_complex() for value in (*gradients.values(), *upstreams.values()) if value is not None):
        return rows
    sent = {name: one.conj() if one.is_complex() else one for name, one in upstreams.items()}
    other = gradients_of(reference, sent, tuple(gradients), retain=True)
    return [whole_row(row, other.get(row.name), parts=row.name in reference.parts) for row in rows]


def glance_side(reference: Side, gradients: Gradients, upstreams: Mapping[str, Tensor]) -> Glance:
    """The same without a diagnosis."""
    values, added, output, upstream = _as_network(reference, gradients, upstreams)
    seen = glance(values, {**parts_of(gradients, reference.parts), **added}, output, upstream)
    right = {name: verdict for name, verdict in seen.right.items() if name not in added}
    return Glance(seen.faults - added.keys(), right)


def _as_network(
    reference: Side, gradients: Gradients, upstreams: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, Tensor], Tensor, Tensor]:
    """Inputs and outputs by name, the outputs' gradients, and one output with its upstream gradient.

    Several outputs are multiplied by theirs and added up; the gradient of one is autograd's own, since another output
    may be computed from it.
    """
    values = {name: reference.leaves[name] for name in gradients}
    if len(upstreams) == 1:
        ((name, upstream),) = upstreams.items()
        output, upstream = as_real(reference.outputs[name]), as_real(upstream)
        return {**values, name: output}, {name: upstream}, output, upstream
    seen = {name: as_real(reference.outputs[name]) for name in upstreams}
    outputs = {name: value for name, value in seen.items() if name not in values}
    products = [(value * as_real(upstreams[name])).sum() for name, value in seen.items()]
    total = torch.stack(products).sum()
    upstream = torch.ones_like(total, requires_grad=False)
    found = torch.autograd.grad(total, list(outputs.values()), upstream, retain_graph=True)
    added = {**dict(zip(outputs, found, strict=True)), _TOTAL: upstream}
    return {**values, **outputs, _TOTAL: total}, added, total, upstream
