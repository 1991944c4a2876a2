"""One call of a kernel or of its reference, and what goes back through it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from backproof.proof.graph.node import (
    arguments_of,
    dense,
    is_custom,
    leaf_was_written,
    only_backward_goes_through,
    place,
)
from backproof.proof.judge.misread_upstream import judged
from backproof.proof.replays.complex_numbers import parts_of, whole_row
from backproof.proof.replays.meant import with_meant
from backproof.proof.replays.outputs import outputs_of
from backproof.proof.report.rows import Row
from backproof.proof.user.arguments import CALL, Call, Values, arguments_for
from backproof.proof.user.calls import CannotProveError, call, seeded
from backproof.proof.user.carried import installed
from backproof.proof.user.layouts import copied
from backproof.proof.user.structure import mapped
from backproof.proof.user.tensors import as_real, is_float
from backproof.proof.user.upstream import upstream_for
from backproof.proof.verdict.glance import Glance, glance

_TOTAL = "the sum of the outputs"

Gradients = dict[str, Tensor | None]


@dataclass(frozen=True)
class Side:
    """One call of the function or of the reference: the leaves it started from, and its outputs by name.

    While a backward pass runs, `stage` has to be entered: the module then holds the leaves that it ran with. `own` are
    leaves that only this side holds, by name. `again` makes the same call once more, and `on_copies` says that it would
    not run on leaves, since it writes into its arguments.

    The judge knows real numbers only, so the reference starts from the real numbers of complex inputs; `parts` names
    those.
    """

    leaves: Values
    outputs: dict[str, Tensor]
    parts: frozenset[str] = frozenset()
    stage: Callable[[], AbstractContextManager] = nullcontext
    own: Mapping[str, Tensor] = field(default_factory=dict)
    again: Callable[[], Side] | None = None
    on_copies: bool = False

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


def run_side(role: str, function: Callable, values: Values, needs: Collection[str], seed: int) -> Side:
    """Calls `function` on leaves of its own, in the layout of `values`, those in `needs` requiring a gradient.

    A function that writes into its arguments cannot be called on leaves: it gets copies, as a network would give it.
    """
    try:
        return called(role, function, leaves_of(values, needs), seed)
    except CannotProveError as error:
        if not leaf_was_written(error.__cause__):
            raise
        return called(role, function, leaves_of(values, needs), seed, on_copies=True)  # the others were written into


def leaves_of(values: Values, needs: Collection[str]) -> Values:
    """Copies of the tensors among `values`, in the same layout, those in `needs` requiring a gradient."""
    return {
        name: copied(value).requires_grad_(name in needs) if isinstance(value, Tensor) else value
        for name, value in values.items()
    }


def called(role: str, function: Callable, leaves: Values, seed: int, *, on_copies: bool = False) -> Side:
    """Calls `function` on the tensors given, or on copies of them.

    Raises CannotProveError where it raises or returns no tensor.
    """
    complex_ones = [name for name, value in leaves.items() if isinstance(value, Tensor) and value.is_complex()]
    parts = frozenset(name for name in complex_ones if role == "reference" and leaves[name].requires_grad)
    starts = {name: as_real(leaves[name].detach()).requires_grad_() for name in parts}
    given = {name: torch.view_as_complex(starts[name]) if name in parts else leaf for name, leaf in leaves.items()}
    whole = given.get(CALL)
    meant = whole.meant if isinstance(whole, Call) and role == "reference" else {}
    given |= {name: leaves[name].detach() for name in meant}
    stage, own = installed(whole.held[role], given, whole.dtype) if isinstance(whole, Call) else (nullcontext, {})
    args, named = arguments_for(function, given)
    with seeded(seed), torch.enable_grad(), stage():
        if on_copies:
            args, named = mapped(copy_of, args), mapped(copy_of, named)
        returned = call(role, function, args, named)

    def again() -> Side:
        return called(role, function, leaves, seed, on_copies=on_copies)

    outputs = with_meant(outputs_of(role, returned), leaves, meant)
    return Side({**leaves, **starts}, outputs, parts, stage, own, again, on_copies)


def copy_of(value: Tensor) -> Tensor:
    """A copy that gradients go back through to the value itself."""
    return value.clone() if is_float(value) else value


def upstreams_for(side: Side, seed: int, function: Side | None = None) -> dict[str, Tensor]:
    """A random upstream gradient for every differentiable output of the reference.

    But for those that `function` marks as non-differentiable, beside others through which its gradients come.
    """
    sent = {name: upstream_for(value, seed + i) for i, (name, value) in enumerate(side.differentiable.items())}
    return {name: value for name, value in sent.items() if name not in cut_off(function, side)}


def cut_off(function: Side | None, reference: Side) -> list[str]:
    """The outputs that are differentiable in the reference and have no graph in the function, where others have one."""
    if function is None or not any(name in function.differentiable for name in reference.differentiable):
        return []
    return [
        name for name in reference.differentiable if name in function.outputs and name not in function.differentiable
    ]


def gradients_of(
    side: Side,
    upstreams: Mapping[str, Tensor],
    needs: Collection[str],
    *,
    retain: bool = False,
    sparse: bool = False,
) -> Gradients:
    """What automatic differentiation brings to the leaves in `needs`; each upstream gradient is handed on as it is.

    Sparse gradients are made dense, unless they are asked for with `sparse`.
    """
    outputs = {name: side.outputs[name] for name in upstreams if side.outputs[name].requires_grad}
    if not outputs:
        return dict.fromkeys(needs)
    sent, leaves = [upstreams[name] for name in outputs], [side.leaves[name] for name in needs]
    try:
        with side.stage():
            found = torch.autograd.grad(list(outputs.values()), leaves, sent, retain_graph=retain, allow_unused=True)
    except RuntimeError as error:
        if side.again is None or not only_backward_goes_through(error):
            raise
        later = side.again()
        found = _by_backward(later, list(outputs), [later.leaves.get(name, side.leaves[name]) for name in needs], sent)
    kept = found if sparse else [None if one is None else dense(one) for one in found]
    return {
        name: torch.view_as_complex(one.contiguous()) if one is not None and name in side.parts else one
        for name, one in zip(needs, kept, strict=True)
    }


def _by_backward(side: Side, names: list[str], leaves: list[Tensor], upstreams: list[Tensor]) -> list[Tensor | None]:
    """The same by `backward()`, which is all that a reentrant checkpoint goes along with."""
    for leaf in leaves:
        leaf.grad = None
    with side.stage():
        torch.autograd.backward([side.outputs[name] for name in names], upstreams)
    found = [leaf.grad for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return found


def raw_gradients(side: Side, upstreams: Mapping[str, Tensor]) -> Gradients | None:
    """What an autograd Function itself returns, before the engine sums, casts or refuses it; None for other callables.

    The engine silently sums a gradient of shape (n, H) for an input of shape (1, H), so its own result cannot tell.
    """
    node = next(iter(side.outputs.values())).grad_fn
    if not is_custom(node):
        return None
    arriving = [upstreams.get(name, torch.zeros_like(value)) for name, value in side.outputs.items()]
    with torch.no_grad(), side.stage():
        returned = node.apply(*arriving)
    returned = returned if isinstance(returned, tuple | list) else (returned,)
    places = {place(value): name for name, value in side.leaves.items() if is_float(value) and value.requires_grad}
    raw: Gradients = {}
    for position, at in arguments_of(node).items():
        if at in places and position < len(returned):
            one = returned[position]
            raw[places[at]] = dense(one) if isinstance(one, Tensor) else one
    return raw


def judged_side(reference: Side, gradients: Gradients, upstreams: Mapping[str, Tensor]) -> list[Row]:
    """The judge's rows for the inputs of `gradients`, with the reference's graph as the truth."""
    with reference.stage():
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
    with reference.stage():
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
