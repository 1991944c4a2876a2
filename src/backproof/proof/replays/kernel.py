"""A torch.autograd.Function, or any callable with a backward pass of its own, beside a plain reference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from backproof.proof.replays.accuracy import as_precise
from backproof.proof.replays.kinks import Bench, excused, kink_of
from backproof.proof.replays.sides import (
    Gradients,
    Side,
    Values,
    glance_side,
    gradients_of,
    in_dtype,
    judged_side,
    raw_gradients,
    run_side,
    upstreams_for,
)
from backproof.proof.replays.subject import (
    BackwardRaisedError,
    Conditions,
    FunctionRaisedError,
    SkippedError,
    inputs_under,
)
from backproof.proof.replays.values import value_rows
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.user.calls import CannotProveError, describe
from backproof.proof.user.inputs import named_inputs
from backproof.proof.user.layouts import copied
from backproof.proof.user.tensors import as_real, counterpart, is_finite, is_float, same_bits, short_name, widened
from backproof.proof.user.writes import Kept

_DRAWS = 4  # roundings of the inputs that are tried
_REFUSED = "automatic differentiation refuses gradients of these shapes"


@dataclass(frozen=True)
class KernelTrial:
    """Both sides on the same values, what was sent back through them, and what the judge says of what arrived."""

    values: Values
    needs: tuple[str, ...]
    function: Side
    reference: Side
    upstreams: dict[str, Tensor]
    gradients: Gradients
    rows: list[Row] = field(default_factory=list)
    refused: str = ""
    own: Gradients = field(default_factory=dict)  # what the reference brings to the inputs


@dataclass(frozen=True)
class Kernel:
    """The subject; see `subject.py` for what each member is. No `grad_inputs`: every floating-point input needs one."""

    function: Callable
    reference: Callable
    inputs: Any
    grad_inputs: Collection[str] | None = None
    seed: int = 0

    backward_called = "the backward pass of function"
    stateless = "keep what backward needs with ctx.save_for_backward, and nothing on the class or in the module"
    bound_to_dtypes = True
    takes_upstream = True

    def values(self, conditions: Conditions) -> Values:
        """The inputs by the names of the parameters of the reference, in the order of the arguments."""
        given = named_inputs(inputs_under(conditions, self.inputs, self.seed), self.reference)
        given = in_dtype(given, conditions.dtype)
        layout, contiguous = conditions.input_layout, conditions.contiguous
        if layout is None:
            return given
        made = {name: layout.of(value, contiguous=contiguous) for name, value in given.items() if is_float(value)}
        return {name: value if made.get(name) is None else made[name] for name, value in given.items()}

    def needed(self, values: Values) -> tuple[str, ...]:
        """The inputs that need a gradient. Raises CannotProveError for a name that is not a floating-point input."""
        floats = [name for name, value in values.items() if is_float(value)]
        for name in self.grad_inputs or ():
            if name not in floats:
                raise CannotProveError(
                    f"grad_inputs names {name!r}, and the floating-point inputs are {', '.join(floats)}."
                )
        chosen = tuple(name for name in floats if self.grad_inputs is None or name in self.grad_inputs)
        if not chosen:
            raise CannotProveError(
                "No input is a floating-point tensor that needs a gradient, so there is nothing to prove."
            )
        return chosen

    def called(self, values: Values, needs: Collection[str]) -> Side:
        """The function on leaves of its own. Raises FunctionRaisedError."""
        try:
            return run_side("function", self.function, values, needs, self.seed)
        except CannotProveError as error:
            raise FunctionRaisedError(str(error), error.brief) from error.__cause__

    def tried(self, conditions: Conditions, known: Collection[str] | None = None) -> KernelTrial:
        values = self.values(conditions)
        needs = conditions.needs or self.needed(values)
        reference = run_side("reference", self.reference, values, needs, self.seed)
        if not reference.differentiable:
            raise CannotProveError(
                "No output of reference depends on an input that needs a gradient, so there is nothing to prove."
            )
        if conditions.size is not None or conditions.input_layout is not None:  # its numbers are not the user's
            self._refuse_what_is_not_finite(reference, needs)
        function = self.called(values, needs)
        for name, value in function.differentiable.items():
            if conditions.dtype is not None and value.dtype is not counterpart(value.dtype, conditions.dtype):
                wanted, got = short_name(conditions.dtype), short_name(value.dtype)
                raise SkippedError(f"function turns {wanted} inputs into a {got} {name}")
        truth = self.truth(values, needs)
        rows = value_rows(function, reference, truth)
        if truth is not None and any(row.verdict is Verdict.WRONG for row in rows):
            rows = value_rows(function, reference, truth, self._moved(values, needs, truth))
        upstreams = upstreams_for(reference, self.seed + conditions.draw)
        upstreams = {name: dense for name, dense in upstreams.items() if name in (conditions.outputs or upstreams)}
        trial = KernelTrial(values, needs, function, reference, upstreams, {}, rows, _REFUSED)
        if any(function.outputs.get(name) is None or function.outputs[name].shape != dense.shape
               for name, dense in upstreams.items()):  # fmt: skip
            return trial
        return self._sent_back(trial, truth, conditions, known)

    def _sent_back(
        self, trial: KernelTrial, truth: Side | None, conditions: Conditions, known: Collection[str] | None
    ) -> KernelTrial:
        values, needs, function, reference = trial.values, trial.needs, trial.function, trial.reference
        upstreams = trial.upstreams
        if conditions.layout is not None:
            layout, contiguous = conditions.layout, conditions.contiguous
            made = {name: layout.of(dense, contiguous=contiguous) for name, dense in upstreams.items()}
            upstreams = {name: value for name, value in made.items() if value is not None}
        sent = {name: copied(value) for name, value in upstreams.items()}
        gradients, misshapen, refused = self._gradients(values, needs, function, sent)
        own = gradients_of(reference, upstreams, needs, retain=True)
        gradients = {name: one for name, one in gradients.items() if one is not None or _needed(own[name])}
        exact = gradients_of(truth, {n: widened(u) for n, u in upstreams.items()}, needs) if truth else None
        judged = _judged(reference, gradients | misshapen, upstreams, own, exact, known)
        rows = trial.rows + self._without_kinks(judged, trial, gradients, upstreams, own, first=known is None)
        return KernelTrial(
            values, needs, function, reference, upstreams, gradients, rows, _REFUSED if refused else "", own
        )

    def _without_kinks(
        self,
        rows: list[Row],
        trial: KernelTrial,
        gradients: Gradients,
        upstreams: dict[str, Tensor],
        own: Gradients,
        *,
        first: bool,
    ) -> list[Row]:
        """The rows without culprits that differ from the reference at kinks and ties only; they get a word instead."""
        bench = self.bench(trial.needs, upstreams)
        found = []
        for row in rows:
            got, right = gradients.get(row.name), own.get(row.name)
            if row.culprit and row.verdict is Verdict.WRONG and got is not None and right is not None:
                eps = torch.finfo(trial.values[row.name].dtype).eps
                row = excused(row, kink_of(row.name, got, right, trial.values, bench, eps), first=first)
            found.append(row)
        return found

    def bench(self, needs: tuple[str, ...], upstreams: Mapping[str, Tensor]) -> Bench:
        """Both sides on shifted inputs, with the same upstream gradients."""

        def sent() -> dict[str, Tensor]:
            return {name: copied(value) for name, value in upstreams.items()}

        def total(values: Values) -> float:
            outputs = run_side("reference", self.reference, values, (), self.seed).outputs
            return sum(float((as_real(widened(outputs[n])) * as_real(widened(u))).sum()) for n, u in upstreams.items())

        return Bench(
            lambda values: sent_back(self.called(dict(values), needs), sent(), needs),
            lambda values: gradients_of(
                run_side("reference", self.reference, dict(values), needs, self.seed), sent(), needs
            ),
            total,
        )

    def second(self, first_run: KernelTrial, known: Collection[str]) -> tuple[list[Row], Mapping[str, Kept]]:
        side = self.called(first_run.values, first_run.needs)
        self.back(side, first_run, retain=True)
        return self.changed(side, first_run, known), {}

    def changed(self, side: Side, first_run: KernelTrial, known: Collection[str]) -> list[Row]:
        """What the first run's upstream gradients bring back through `side`, where it is not what they brought."""
        gradients = self.back(side, first_run)
        before = first_run.gradients
        changed = {name: one for name, one in gradients.items() if name in before and not _equal(one, before[name])}
        if not changed or glance_side(first_run.reference, changed, first_run.upstreams).faults <= set(known):
            return []
        return judged_side(first_run.reference, changed, first_run.upstreams)

    def back(self, side: Side, first_run: KernelTrial, *, retain: bool = False) -> Gradients:
        """The first run's upstream gradients sent back through `side`. Raises BackwardRaisedError."""
        upstreams = {name: copied(value) for name, value in first_run.upstreams.items()}
        return sent_back(side, upstreams, first_run.needs, retain=retain)

    def truth(self, values: Values, needs: Collection[str]) -> Side | None:
        """The reference in float64, where it can."""
        try:
            side = run_side("reference", self.reference, in_dtype(values, torch.float64), needs, self.seed)
        except CannotProveError:
            return None
        wide = (torch.float64, torch.complex128)
        return side if all(value.dtype in wide for value in side.differentiable.values()) else None

    def _refuse_what_is_not_finite(self, reference: Side, needs: Collection[str]) -> None:
        truth = gradients_of(reference, upstreams_for(reference, self.seed), needs, retain=True)
        if not is_finite(reference.outputs) or not is_finite(truth):
            raise SkippedError("the values or gradients of reference are not finite")

    def _moved(self, values: Values, needs: Collection[str], truth: Side) -> Mapping[str, Tensor]:
        """How far rounding the inputs alone moves each output: far, where a layer norm meets a constant row."""
        generator = torch.Generator().manual_seed(self.seed)
        most: dict[str, Tensor] = {}
        for _ in range(_DRAWS):
            shaken = dict(in_dtype(values, torch.float64))
            for name, value in shaken.items():
                if is_float(value):
                    signs = torch.randint(0, 2, value.shape, generator=generator).to(value.device) * 2 - 1
                    shaken[name] = value * (1 + torch.finfo(values[name].dtype).eps * signs)
            for name, output in run_side("reference", self.reference, shaken, needs, self.seed).outputs.items():
                if output.dtype in (torch.float64, torch.complex128):
                    apart = as_real(output - truth.outputs[name]).abs().detach()
                    most[name] = torch.maximum(most[name], apart) if name in most else apart
        return most

    def _gradients(
        self, values: Values, needs: Collection[str], function: Side, sent: dict[str, Tensor]
    ) -> tuple[Gradients, Gradients, bool]:
        """The function's gradients, those of a shape that is not the input's, and whether the engine refused them."""
        spare = self.called(values, needs)
        try:
            raw = raw_gradients(spare, {name: copied(value) for name, value in sent.items()})
        except Exception:  # it raises again below, where it is reported
            raw = None
        misshapen: Gradients = {
            name: gradient
            for name, gradient in (raw or {}).items()
            if name in needs and isinstance(gradient, Tensor) and gradient.shape != values[name].shape
        }
        try:
            return sent_back(function, sent, needs, retain=True), misshapen, False
        except BackwardRaisedError:
            if misshapen and raw is not None:  # the engine refuses them all for the sake of one
                return {name: raw.get(name) for name in needs}, misshapen, True
            raise


def sent_back(
    side: Side, upstreams: Mapping[str, Tensor], needs: Collection[str], *, retain: bool = False
) -> Gradients:
    """What `gradients_of` brings through the function's side. Raises BackwardRaisedError for whatever it raises."""
    try:
        return gradients_of(side, upstreams, needs, retain=retain)
    except Exception as error:
        reason = describe(error)
        raise BackwardRaisedError(reason, sentence=f"The backward pass of function raised {reason}") from error


def _judged(
    reference: Side,
    gradients: Gradients,
    upstreams: dict[str, Tensor],
    own: Gradients,
    exact: Gradients | None,
    known: Collection[str] | None,
) -> list[Row]:
    """Full rows in the first run (`known` is None); in a replay, only what it shows beyond the known culprits."""
    seen = glance_side(reference, gradients, upstreams)
    precise = as_precise(seen.faults, gradients, own, exact)
    fine = {row.name for row in precise}
    if known is not None and seen.faults - fine <= set(known):
        return seen.rows() + precise
    doubtful = {name: gradient for name, gradient in gradients.items() if name not in fine}
    return precise + (judged_side(reference, doubtful, upstreams) if doubtful else [])


def _needed(gradient: Tensor | None) -> bool:
    """None may stand for a gradient of zeros."""
    return gradient is not None and bool((gradient != 0).any())


def _equal(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else same_bits(a, b)
