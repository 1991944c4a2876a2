"""What a kernel does to what it was given and between its calls: replays of a kernel alone."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from backproof.proof.replays.again import new, raised, shown
from backproof.proof.replays.damage import UNCHANGED
from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import KernelTrial, sent_back
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.outputs import as_named, outputs_of
from backproof.proof.replays.sides import copy_of, glance_side, leaves_of, run_side
from backproof.proof.replays.subject import BackwardRaisedError, Conditions, Proof, SkippedError
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Row
from backproof.proof.report.words import listed
from backproof.proof.user.layouts import copied
from backproof.proof.user.structure import mapped, tensors_in
from backproof.proof.user.tensors import as_real, is_float
from backproof.proof.user.writes import damaged, describe_change, keep
from backproof.proof.verdict.decide import Known, ruled

_COPY = "write into a new tensor; autograd and other branches of the network still need the old numbers"


def unchanged(proof: Proof[Kernel, KernelTrial], ledger: Ledger) -> list[Row]:
    """Inputs, outputs, saved tensors and the upstream gradient are the same before and after."""
    kernel, first_run, rows = proof.subject, proof.first_run, []
    leaves = leaves_of(first_run.values, first_run.needs)
    inputs = keep(leaves)
    side = kernel.called_on(leaves, on_copies=first_run.function.on_copies)
    overwritten = damaged(inputs)
    for name, kept in overwritten.items():
        claim = f"The forward pass changes its input {name} in place"
        row = shown(ledger.row(name), Cause.CHANGED_IN_PLACE, claim, describe_change(kept), next=_COPY)
        ledger.put(replace(row, replay=UNCHANGED))  # whatever the first run took it for
        rows.append(row)
    if overwritten:
        _excuse_readers(proof, ledger, {name: kept.tensor.detach() for name, kept in overwritten.items()})
    upstreams = {name: copied(value) for name, value in first_run.upstreams.items()}
    saved = getattr(side.outputs[proof.output].grad_fn, "saved_tensors", ())
    given = {
        **{f"its input {name}": (name, value) for name, value in leaves.items()},
        **{f"its {name}": (name, value) for name, value in side.outputs.items()},
        **{f"its saved tensor {i}": (proof.output, value) for i, value in enumerate(saved)},
        **{f"the upstream gradient of {name}": (name, value) for name, value in upstreams.items()},
    }
    kept = keep({what: value for what, (_, value) in given.items()})
    sent_back(side, upstreams, first_run.needs)
    for what, item in damaged(kept).items():
        name = given[what][0]
        if name not in {row.name for row in rows}:
            claim = f"The backward pass changes {what} in place"
            rows.append(shown(ledger.row(name), Cause.CHANGED_IN_PLACE, claim, describe_change(item), next=_COPY))
    return rows


def _excuse_readers(proof: Proof[Kernel, KernelTrial], ledger: Ledger, damage: Mapping[str, Tensor]) -> None:
    """Gradients that are right for the numbers that the forward pass has left in its inputs are not at fault."""
    kernel, trial = proof.subject, proof.first_run
    accused = {name: one for name, one in trial.gradients.items() if ledger.row(name).culprit and name not in damage}
    if not accused:
        return
    there = {**trial.values, **{name: copied(value) for name, value in damage.items()}}
    reference = run_side("reference", kernel.reference, there, trial.needs, kernel.seed)
    faults = glance_side(reference, accused, trial.upstreams).faults
    names = listed(list(damage))
    for name in accused.keys() - faults:
        said = f"d{name}: right for the numbers that the forward pass has left in {names}; this line is right."
        row = ruled(ledger.row(name), Known.READ_DAMAGE, cause=None, certainty=None, applicability=None, candidates=(),
                    inherited_from=tuple(damage), message=said, evidence=None)  # fmt: skip
        ledger.excuse(row)


def two_graphs(proof: Proof[Kernel, KernelTrial], ledger: Ledger) -> list[Row]:
    """Another call between the forward and the backward pass, as two layers of one kind have it."""
    kernel, first_run = proof.subject, proof.first_run
    side = kernel.called(first_run.values, first_run.needs)
    other = {name: value * 0.75 if is_float(value) else value for name, value in first_run.values.items()}
    kernel.called(other, first_run.needs)
    try:
        rows = kernel.changed(side, first_run, ledger.known())
    except BackwardRaisedError as error:
        when = "when the function was called again before it"
        return [raised(proof, ledger, error, when, Cause.CHANGED_IN_PLACE, kernel.stateless)]
    claim = "depends on other calls: one more call of the function before the backward pass changes it"
    return [shown(row, Cause.CHANGED_IN_PLACE, claim, next=kernel.stateless) for row in new(rows, ledger)]


def used_twice(proof: Proof[Kernel, KernelTrial], ledger: Ledger) -> list[Row]:
    """Inputs with a second reader and a result with a sister: the upstream gradient then belongs to several nodes."""
    if any(row.cause == Cause.CHANGED_IN_PLACE for row in ledger.rows.values()):
        return []  # what is shared was damaged, which is known already
    if proof.subject.meant:
        raise SkippedError("what an input is meant to get says nothing of its second reader")
    kernel, output, first_run = proof.subject, proof.output, proof.first_run
    sides = (kernel.reference, first_run.reference), (kernel.function, first_run.function)
    reference, function = (_residual(each, output, kernel.outputs, side.on_copies) for each, side in sides)
    twice = replace(kernel, reference=reference, function=function, grad_inputs=first_run.needs)
    try:
        rows = twice.tried(Conditions(), ledger.known()).rows
    except BackwardRaisedError as error:
        if _raises_alone(proof):
            raise SkippedError(f"{kernel.backward_called} raises when only {output} is used") from error
        when = "where its input and its result are used twice"
        return [raised(proof, ledger, error, when, Cause.CHANGED_IN_PLACE, _COPY)]
    if any(ledger.row(name).culprit for name in proof.first_run.reference.outputs):
        rows = [row for row in rows if row.name in proof.first_run.needs]  # a wrong value is wrong here as well
    claim = "is wrong where its input and its upstream gradient are used elsewhere too, as in a residual branch"
    return [shown(row, Cause.CHANGED_IN_PLACE, claim, next=_COPY) for row in new(rows, ledger)]


def _residual(function: Callable, output: str, names: Collection[str], on_copies: bool) -> Callable:
    """Two calls of `function` and a shortcut from its inputs, added up; `names` are those of its outputs.

    The shortcut is computed first, so its backward pass runs last and sees what was done to the shared gradient. A
    function that writes into its arguments gets copies, since what has other readers is not its to write into.
    """

    def residual(*arguments: Any, **named: Any) -> Tensor:
        shared = [mapped(lambda value: value * 1.0 if is_float(value) else value, each) for each in (arguments, named)]
        inputs = [value for each in shared for value in tensors_in("", each).values() if is_float(value)]
        shortcut = (
            torch.stack([as_real(value.sin()).sum().double() for value in inputs]).sum() if inputs else torch.zeros(())
        )

        def result() -> Tensor:
            args, keywords = (mapped(copy_of, each) for each in shared) if on_copies else shared
            return as_named(outputs_of("function", function(*args, **keywords)), names)[output]

        first, second = result(), result()
        return shortcut.to(first.dtype).expand_as(first) + first + second

    return functools.wraps(function, updated=())(residual)  # with its parameters' names, by which the inputs are called


def _raises_alone(proof: Proof[Kernel, KernelTrial]) -> bool:
    """Whether backward raises as soon as only one of several outputs is used."""
    return len(proof.first_run.upstreams) > 1 and not goes_through(
        proof, {proof.output: copied(proof.first_run.upstreams[proof.output])}
    )


def goes_through(proof: Proof[Kernel, KernelTrial], upstreams: dict[str, Tensor]) -> bool:
    """Whether the function's backward pass takes these upstream gradients without raising."""
    side = proof.subject.called(proof.first_run.values, proof.first_run.needs)
    try:
        sent_back(side, upstreams, proof.first_run.needs)
    except BackwardRaisedError:
        return False
    return True
