"""Running a custom kernel beside its plain reference, and comparing what comes out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction

from backproof.proof.blame import dense
from backproof.proof.calls import CannotProveError, call, is_float, make_inputs, named_inputs, seeded
from backproof.proof.glance import PROVED, Glance, glance
from backproof.proof.layouts import copied
from backproof.proof.ledger import finding
from backproof.proof.records import Evidence, Row, Verdict, number
from backproof.proof.upstream import judged, upstream_for

_TOTAL = "the sum of the outputs"
_ILL_CONDITIONED = 8  # times what rounding the inputs does: a kernel rounds a few times more on its way

Values = dict[str, Any]
Gradients = dict[str, Tensor | None]


@dataclass(frozen=True)
class Kernel:
    """What is to be proved: the function, what it stands for, and which inputs need a gradient (None: all floats)."""

    function: Callable
    reference: Callable
    inputs: Any
    grad_inputs: Collection[str] | None
    seed: int
    usual: Mapping[int, int] = field(default_factory=dict)  # sizes that a replay has changed, and the plain run's


@dataclass(frozen=True)
class Side:
    """One call of the function or of the reference: the leaves it started from, and its outputs by name."""

    leaves: Values
    outputs: dict[str, Tensor]

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


def values_of(kernel: Kernel, size: int | None = None) -> Values:
    """The inputs by the names of the parameters of the reference, in the order of the arguments."""
    return named_inputs(make_inputs(kernel.inputs, size, kernel.seed), kernel.reference)


def needed(kernel: Kernel, values: Values) -> list[str]:
    """The inputs that need a gradient. Raises CannotProveError for a name that is not a floating-point input."""
    floats = [name for name, value in values.items() if is_float(value)]
    for name in kernel.grad_inputs or ():
        if name not in floats:
            raise CannotProveError(
                f"grad_inputs names {name!r}, and the floating-point inputs are {', '.join(floats)}."
            )
    chosen = [name for name in floats if kernel.grad_inputs is None or name in kernel.grad_inputs]
    if not chosen:
        raise CannotProveError(
            "No input is a floating-point tensor that needs a gradient, so there is nothing to prove."
        )
    return chosen


def in_dtype(values: Values, dtype: torch.dtype) -> Values:
    """The same inputs with every floating-point tensor rounded to `dtype`."""
    return {
        name: value.to(dtype) if isinstance(value, Tensor) and value.is_floating_point() else value
        for name, value in values.items()
    }


def run_side(role: str, function: Callable, values: Values, needs: Collection[str], seed: int) -> Side:
    """Calls `function` on leaves of its own, in the layout of `values`, those in `needs` requiring a gradient."""
    leaves = {
        name: copied(value).requires_grad_(name in needs) if isinstance(value, Tensor) else value
        for name, value in values.items()
    }
    return called(role, function, leaves, seed)


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
    return {name: None if one is None else dense(one) for name, one in zip(needs, found, strict=True)}


def raw_gradients(side: Side, upstreams: Mapping[str, Tensor]) -> Gradients | None:
    """What an autograd Function itself returns, before the engine sums, casts or refuses it; None for other callables.

    The engine silently sums a gradient of shape (n, H) for an input of shape (1, H), so its own result cannot tell.
    """
    node = next(iter(side.outputs.values())).grad_fn
    if not isinstance(node, BackwardCFunction):
        return None
    arriving = [upstreams.get(name, torch.zeros_like(value)) for name, value in side.outputs.items()]
    with torch.no_grad():
        returned = node.apply(*arriving)
    returned = returned if isinstance(returned, tuple | list) else (returned,)
    dense_ones = (dense(one) if isinstance(one, Tensor) else one for one in returned)
    return dict(zip(side.leaves, dense_ones, strict=False))


def judged_side(
    reference: Side, gradients: Gradients, upstreams: Mapping[str, Tensor], usual: Mapping[int, int]
) -> list[Row]:
    """The judge's rows for the inputs of `gradients`, with the reference's graph as the truth."""
    values, added, output, upstream = _as_network(reference, gradients, upstreams)
    rows = judged(values, {**gradients, **added}, output, upstream, usual)
    return [row for row in rows if row.name not in added]


def glance_side(reference: Side, gradients: Gradients, upstreams: Mapping[str, Tensor]) -> Glance:
    """The same without a diagnosis."""
    values, added, output, upstream = _as_network(reference, gradients, upstreams)
    seen = glance(values, {**gradients, **added}, output, upstream)
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
        return {**values, name: reference.outputs[name]}, {name: upstream}, reference.outputs[name], upstream
    outputs = {name: reference.outputs[name] for name in upstreams if name not in values}
    total = torch.stack([(reference.outputs[name] * upstream).sum() for name, upstream in upstreams.items()]).sum()
    upstream = torch.ones_like(total, requires_grad=False)
    found = torch.autograd.grad(total, list(outputs.values()), upstream, retain_graph=True)
    added = {**dict(zip(outputs, found, strict=True)), _TOTAL: upstream}
    return {**values, **outputs, _TOTAL: total}, added, total, upstream


@dataclass(frozen=True)
class Precision:
    """Errors against float64, and what the rule allows: twice the plain reference's, and a unit of rounding."""

    own: float
    reference: float
    allowed: float

    @property
    def ok(self) -> bool:
        return self.own <= self.allowed

    def __str__(self) -> str:
        return (
            f"error against float64 {number(self.own)}; the plain reference's is {number(self.reference)}, "
            f"and at most {number(self.allowed)} is allowed"
        )


def precision(own: Tensor, reference: Tensor, truth: Tensor, units: float = 1.0) -> Precision:
    """Compares largest errors; `units` are units of rounding of the largest number."""
    wide = truth.dtype
    unit = torch.finfo(reference.dtype).eps * _most(truth)
    error = _most(reference.detach().to(wide) - truth)
    return Precision(_most(own.detach().to(wide) - truth), error, 2 * error + units * unit)


def _most(x: Tensor) -> float:
    return float(torch.nan_to_num(x.detach().abs(), nan=torch.inf).max()) if x.numel() else 0.0


def as_accurate(faults: Collection[str], gradients: Gradients, plain: Gradients, truth: Gradients | None) -> list[Row]:
    """Rows for those of `faults` that are as close to float64 as the reference's own gradient: they are right."""
    if truth is None:
        return []
    rows = []
    for name in faults:
        own, reference, exact = gradients.get(name), plain.get(name), truth.get(name)
        if own is None or reference is None or exact is None or own.shape != exact.shape:
            continue
        measured = precision(own, reference, exact)
        if measured.ok:
            row = Row(name, Verdict.ROUNDING, message=f"d{name} is right: {measured}.")
            near = torch.allclose(own, reference)
            rows.append(replace(row, approximate=near, max_difference=_most(own.double() - reference.double())))
    return rows


def evidence_of(got: Tensor, expected: Tensor) -> Evidence:
    """The largest difference between two tensors of one shape."""
    got, expected = got.detach().cpu(), expected.detach().cpu()
    change = torch.nan_to_num((got.double() - expected.double()).abs(), nan=torch.inf)
    place = tuple(int(i) for i in torch.unravel_index(change.argmax(), change.shape)) if change.ndim else ()
    return Evidence(place, float(got[place]), float(expected[place]), got, expected)


def value_rows(
    function: Side, reference: Side, truth: Side | None, moved: Mapping[str, Tensor] | None = None
) -> list[Row]:
    """A row for every output: its value beside the reference's; `moved` is what rounding the inputs does to it."""
    rows = []
    for name, expected in reference.outputs.items():
        got = function.outputs.get(name)
        if got is None:
            rows.append(_misfit(name, "is missing among what function returns"))
        elif got.shape != expected.shape:
            rows.append(_misfit(name, f"has shape {list(got.shape)}, the reference's {list(expected.shape)}"))
        elif got.dtype != expected.dtype:
            rows.append(replace(_misfit(name, f"has dtype {got.dtype}, the reference's {expected.dtype}"),
                                verdict=Verdict.DTYPE))  # fmt: skip
        else:
            right = truth.outputs[name] if truth else None
            rows.append(_value_row(name, got, expected, right, _terms(reference), (moved or {}).get(name)))
    return rows


def _terms(side: Side) -> int:
    return max((value.numel() for value in side.leaves.values() if is_float(value)), default=1)


def _misfit(name: str, claim: str) -> Row:
    row = Row(name, Verdict.SHAPE, label=name)
    return replace(finding(row, None, claim, next="return what the reference returns"), verdict=Verdict.SHAPE)


def _value_row(name: str, got: Tensor, expected: Tensor, truth: Tensor | None, terms: int, moved: Tensor | None) -> Row:
    exact = torch.equal(got, expected)
    if not is_float(expected):
        verdict, near, most = Verdict.EXACT if exact else Verdict.WRONG, exact, None
    else:
        near, most = torch.allclose(got, expected, equal_nan=True), _most(got.double() - expected.double())
        eps = torch.finfo(expected.dtype).eps
        units = 1.0 if eps > 1e-4 else terms**0.5  # sums in float32 may lose digits with their length
        measured = precision(got, expected, expected.double() if truth is None else truth, units)
        fine = exact or measured.ok or bool((got.isnan() == expected.isnan()).all() and near)
        if not fine and moved is not None:
            fine = bool(((got.double() - expected.double()).abs() <= _ILL_CONDITIONED * moved).all())
        verdict = Verdict.EXACT if exact else Verdict.ROUNDING if fine else Verdict.WRONG
    row = Row(name, verdict, exact=exact, approximate=near, max_difference=most, label=name)
    if verdict in PROVED:
        return row
    if is_float(expected):
        row = replace(row, evidence=evidence_of(got, expected))
    rows = _wrong_rows(got, expected)
    cause = "F7" if rows and rows[-1] == len(expected) - 1 and rows == list(range(rows[0], len(expected))) else None
    where = f"rows {rows[0]} to {rows[-1]} of {len(expected)} differ, the others are right" if rows else ""
    advice = "look at how the last, partial tile is handled" if cause else "compare the forward passes step by step"
    return finding(row, cause, "is not what the reference computes", where, next=advice)


def _wrong_rows(got: Tensor, expected: Tensor) -> list[int]:
    """The rows that differ by more than float rounding, where others do not."""
    if expected.ndim == 0 or len(expected) < 2:
        return []
    near = torch.isclose(got.double(), expected.double(), rtol=1e-3, atol=1e-6, equal_nan=True)
    wrong = (~near.reshape(len(expected), -1).all(1)).nonzero().flatten().tolist()
    return wrong if len(wrong) < len(expected) else []
