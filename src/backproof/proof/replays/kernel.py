"""A torch.autograd.Function, or any callable with a backward pass of its own, beside a plain reference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from backproof.proof.graph.node import dense
from backproof.proof.replays.kernel_calls import (
    KernelTrial,
    equal,
    judged_trial,
    meant_to_get_none,
    misshapen,
    needed,
    sent_back,
    without_kinks,
)
from backproof.proof.replays.kinks import Bench
from backproof.proof.replays.meant import note_on, refuse_unfit_meant
from backproof.proof.replays.outputs import as_named
from backproof.proof.replays.sides import (
    Gradients,
    Side,
    called,
    glance_side,
    gradients_of,
    judged_side,
    run_side,
    upstreams_for,
)
from backproof.proof.replays.subject import (
    FIRST,
    BackwardRaisedError,
    Conditions,
    FunctionRaisedError,
    SkippedError,
    inputs_under,
)
from backproof.proof.replays.unjudged import notes_on, with_leftovers
from backproof.proof.replays.values import value_rows
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.user.arguments import CALL, Values, flat_values, in_dtype
from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.layouts import copied
from backproof.proof.user.tensors import as_real, counterpart, is_finite, is_float, short_name, to_neighbours, widened
from backproof.proof.user.writes import Kept

_DRAWS = 4  # roundings of the inputs that are tried
_REFUSED = "automatic differentiation refuses gradients of these shapes"


@dataclass(frozen=True)
class Kernel:
    """The subject; see `subject.py` for what each member is. No `grad_inputs`: every floating-point input needs one."""

    function: Callable
    reference: Callable
    inputs: Any
    grad_inputs: Collection[str] | None = None
    seed: int = 0
    meant: Mapping[str, Callable] = field(default_factory=dict)

    backward_called = "the backward pass of function"
    stateless = "keep what backward needs with ctx.save_for_backward, and nothing on the class or in the module"
    bound_to_dtypes = True
    takes_upstream = True

    def values(self, conditions: Conditions) -> Values:
        """All tensors that the two are given by name, also those within structures and those that both hold.

        Only arguments are laid out in memory in other ways: what a module holds is its own affair.
        """
        given = flat_values(inputs_under(conditions, self.inputs, self.seed), self.function, self.reference)
        given = {
            **in_dtype(given, conditions.dtype),
            CALL: replace(given[CALL], dtype=conditions.dtype, meant=self.meant),
        }
        layout, contiguous = conditions.input_layout, conditions.contiguous
        if layout is None:
            return given
        arguments = [name for name, value in given.items() if is_float(value) and name not in given[CALL].parameters]
        made = {name: layout.of(given[name], contiguous=contiguous) for name in arguments}
        return {name: value if made.get(name) is None else made[name] for name, value in given.items()}

    def needed(self, values: Values) -> tuple[str, ...]:
        """The inputs that need a gradient. Raises CannotProveError for a name that is not a floating-point input."""
        floats = [name for name, value in values.items() if is_float(value)]
        for name in self.grad_inputs or ():
            if name not in floats:
                raise CannotProveError(
                    f"grad_inputs names {name!r}, and the floating-point inputs are {', '.join(floats)}."
                )
        asked = floats if self.grad_inputs is None else self.grad_inputs
        chosen = tuple(name for name in floats if name in asked and name not in self.declined)
        if not chosen:
            raise CannotProveError(
                "No input is a floating-point tensor that needs a gradient, so there is nothing to prove."
            )
        refuse_unfit_meant(self.meant, values, chosen)
        return chosen

    @cached_property
    def declined(self) -> dict[str, str]:
        """The inputs that get None and are not meant to be differentiated, and why it is thought so."""
        if self.grad_inputs is not None:
            return {}
        values = self.values(FIRST)
        try:
            return meant_to_get_none(values, self.function, self.reference, self.seed)
        except Exception:  # the first run meets it again, and reports it
            return {}

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """What the reference calls its outputs."""
        values = self.values(FIRST)
        return tuple(run_side("reference", self.reference, values, self.needed(values), self.seed).outputs)

    def called(self, values: Values, needs: Collection[str]) -> Side:
        """The function on leaves of its own, with its outputs called as the reference's. Raises FunctionRaisedError."""
        return self._named(lambda: run_side("function", self.function, values, needs, self.seed))

    def called_on(self, leaves: Values, *, on_copies: bool) -> Side:
        """The same on these leaves, or on copies of them."""
        return self._named(lambda: called("function", self.function, leaves, self.seed, on_copies=on_copies))

    def _named(self, make: Callable[[], Side]) -> Side:
        try:
            side = make()
        except CannotProveError as error:
            raise FunctionRaisedError(str(error), error.brief) from error.__cause__
        again = side.again
        return replace(side, outputs=as_named(side.outputs, self.outputs), again=again and (lambda: self._named(again)))

    def tried(self, conditions: Conditions, known: Collection[str] | None = None) -> KernelTrial:
        values = self.values(conditions)
        needs = conditions.needs or self.needed(values)
        reference = run_side("reference", self.reference, values, needs, self.seed)
        if not reference.differentiable:
            raise CannotProveError(
                "No output of reference depends on an input that needs a gradient, so there is nothing to prove. "
                "Where a gradient is meant all the same, meant= says which."
            )
        if conditions.size is not None or conditions.input_layout is not None:  # its numbers are not the user's
            self._refuse_what_is_not_finite(reference, needs)
        function = self.called(values, needs)
        if not function.differentiable and set(conditions.needs or [""]) <= set(values[CALL].parameters):
            raise SkippedError("function has no graph where no argument needs a gradient, as a reentrant checkpoint")
        for name, value in function.differentiable.items():
            if conditions.dtype is not None and value.dtype is not counterpart(value.dtype, conditions.dtype):
                wanted, got = short_name(conditions.dtype), short_name(value.dtype)
                raise SkippedError(f"function turns {wanted} inputs into a {got} {name}")
        truth = self.truth(values, needs)
        rows = value_rows(function, reference, truth)
        if truth is not None and any(row.verdict is Verdict.WRONG for row in rows):
            rows = value_rows(function, reference, truth, self._moved(values, needs, truth))
        upstreams = upstreams_for(reference, self.seed + conditions.draw, function)
        upstreams = {name: dense for name, dense in upstreams.items() if name in (conditions.outputs or upstreams)}
        trial = KernelTrial(values, needs, function, reference, upstreams, {}, rows, _REFUSED)
        if any(function.outputs.get(name) is None or function.outputs[name].shape != dense.shape
               for name, dense in upstreams.items()):  # fmt: skip
            return trial
        trial = self._sent_back(trial, truth, conditions, known)
        return trial if known is not None else self._with_leftovers(trial)

    def _sent_back(
        self, trial: KernelTrial, truth: Side | None, conditions: Conditions, known: Collection[str] | None
    ) -> KernelTrial:
        needs, reference, upstreams = trial.needs, trial.reference, trial.upstreams
        if conditions.layout is not None:
            layout, contiguous = conditions.layout, conditions.contiguous
            made = {name: layout.of(dense, contiguous=contiguous) for name, dense in upstreams.items()}
            upstreams = {name: value for name, value in made.items() if value is not None}
        sent = {name: copied(value) for name, value in upstreams.items()}
        gradients, returned, refused = self._gradients(trial, sent, first=known is None)
        notes = () if refused else tuple(notes_on(gradients, returned, trial.values))
        gradients = {name: None if one is None else dense(one) for name, one in gradients.items()}
        own = gradients_of(reference, upstreams, needs, retain=True)
        gradients = {name: one for name, one in gradients.items() if one is not None or needed(own[name])}
        exact = gradients_of(truth, {n: widened(u) for n, u in upstreams.items()}, needs) if truth else None
        judged = gradients | returned if refused else gradients
        rows = judged_trial(reference, judged, upstreams, own, exact, known)
        why = _REFUSED if refused else ""
        trial = replace(trial, upstreams=upstreams, gradients=gradients, own=own, refused=why, notes=notes)
        fair = without_kinks(rows, trial, self.bench(needs, upstreams), first=known is None)
        return replace(trial, rows=trial.rows + fair)

    def _with_leftovers(self, trial: KernelTrial) -> KernelTrial:
        def again() -> tuple[Side, Side]:
            reference = run_side("reference", self.reference, trial.values, trial.needs, self.seed)
            return self.called(trial.values, trial.needs), reference

        trial = with_leftovers(trial, again, () if self.grad_inputs is not None else trial.needs)
        return replace(trial, notes=(*trial.notes, *self.declined.values(), *map(note_on, self.meant)))

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
        try:
            return self.changed(side, first_run, known), {}
        except BackwardRaisedError as error:  # it says so, and nobody gets wrong numbers
            raise SkippedError(f"{self.backward_called} refuses a second one: {error}") from error

    def changed(self, side: Side, first_run: KernelTrial, known: Collection[str]) -> list[Row]:
        """What the first run's upstream gradients bring back through `side`, where it is not what they brought."""
        gradients = self.back(side, first_run)
        before = first_run.gradients
        changed = {name: one for name, one in gradients.items() if name in before and not equal(one, before[name])}
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
                    shaken[name] = to_neighbours(value, torch.finfo(values[name].dtype).eps, generator)
            for name, output in run_side("reference", self.reference, shaken, needs, self.seed).outputs.items():
                if output.dtype in (torch.float64, torch.complex128):
                    apart = as_real(output - truth.outputs[name]).abs().detach()
                    most[name] = torch.maximum(most[name], apart) if name in most else apart
        return most

    def _gradients(
        self, trial: KernelTrial, sent: dict[str, Tensor], *, first: bool
    ) -> tuple[Gradients, Gradients, bool]:
        """The function's gradients, those returned in another shape than the inputs', and whether that was refused."""
        values, needs = trial.values, trial.needs
        raw, odd = misshapen(self.called(values, needs), sent, needs) if first else ({}, {})
        try:
            return sent_back(trial.function, sent, needs, sparse=True), odd, False
        except BackwardRaisedError:
            if not first:
                raw, odd = misshapen(self.called(values, needs), sent, needs)
            if odd:  # the engine refuses them all for the sake of one
                return {name: raw.get(name) for name in needs}, odd, True
            raise
