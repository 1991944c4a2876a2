"""A kernel of which only a part is used: one output, or the gradients of some inputs; replays of a kernel alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from backproof.proof.replays.again import laid_out, raised, shown
from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import KernelTrial, sent_back
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.sides import Side
from backproof.proof.replays.state import goes_through
from backproof.proof.replays.subject import BackwardRaisedError, Conditions, Proof
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Row
from backproof.proof.report.words import listed
from backproof.proof.user.layouts import Layout, copied
from backproof.proof.user.tensors import is_float

_NONE = "take None for zeros, or leave out ctx.set_materialize_grads(False), and autograd sends zeros"


def input_layout(proof: Proof[Kernel, KernelTrial], ledger: Ledger, *, layout: Layout) -> list[Row]:
    """All floating-point inputs in another layout."""
    if all(layout.of(value) is None for value in proof.first_run.values.values() if is_float(value)):
        return []
    conditions = Conditions(input_layout=layout, needs=proof.first_run.needs)
    return laid_out(proof, ledger, conditions, f"when the inputs are {layout.name} in memory")


def some_inputs(proof: Proof[Kernel, KernelTrial], ledger: Ledger, *, needs: tuple[str, ...]) -> list[Row]:
    """Only some inputs need a gradient, as where the others are frozen."""
    try:
        return proof.subject.tried(Conditions(needs=needs), ledger.known()).rows
    except BackwardRaisedError as error:
        when = f"when only {' and '.join(needs)} needs a gradient"
        advice = "look at ctx.needs_input_grad, and return one gradient an input"
        return [raised(proof, ledger, error, when, Cause.NO_GRADIENT, advice)]


class _Undefined(torch.autograd.Function):
    """Hands its argument on, and no gradient back: as a layer does whose backward pass returns None."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> None:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None


def undefined_upstream(proof: Proof[Kernel, KernelTrial], ledger: Ledger) -> list[Row]:
    """No upstream gradient arrives, as where the next layer returns None; zeros, or None where the function asks so."""
    kernel, trial = proof.subject, proof.first_run
    side = _ended(kernel.called(trial.values, trial.needs), trial)
    if not side.outputs:
        return []
    ends = side.outputs
    sent = {name: torch.zeros_like(value) for name, value in ends.items()}
    try:
        found = sent_back(side, sent, trial.needs)
    except BackwardRaisedError as error:
        when = f"when no gradient arrives for {listed(list(ends))}, as where the next layer returns None"
        return [raised(proof, ledger, error, when, Cause.NO_GRADIENT, _NONE)]
    claim = "is not zero where no upstream gradient arrives"
    advice = "multiply by the upstream gradient, which is None or zeros there"
    rows = [ledger.row(name) for name, one in found.items() if one is not None and bool((one != 0).any())]
    fine = ledger.known() | kernel.meant.keys()  # what is meant need not be a product with the upstream gradient
    return [shown(row, Cause.UPSTREAM_IGNORED, claim, next=advice) for row in rows if row.name not in fine]


def _ended(side: Side, trial: KernelTrial) -> Side:
    """The side with outputs through which no gradient comes back."""
    ends = {name: _Undefined.apply(side.outputs[name]) for name in trial.upstreams if side.outputs[name].requires_grad}
    again = side.again
    return replace(side, outputs=ends, again=again and (lambda: _ended(again(), trial)))


def one_output(proof: Proof[Kernel, KernelTrial], ledger: Ledger, *, output: str) -> list[Row]:
    """Only one output is used; the upstream gradients of the others are zeros, or None where the function asks so."""
    try:
        return proof.subject.tried(Conditions(outputs=(output,)), ledger.known()).rows
    except BackwardRaisedError as error:
        when = f"when only {output} is used"
        upstreams = proof.first_run.upstreams
        unused = [name for name in upstreams if name != output]
        zeros = {name: copied(u) if name == output else torch.zeros_like(u) for name, u in upstreams.items()}
        if not goes_through(proof, zeros):
            return [raised(proof, ledger, error, when, Cause.NO_GRADIENT, "make backward work for each output alone")]
        when += f", since the gradient of {listed(unused)}, which nobody uses, is None there"
        return [raised(proof, ledger, error, when, Cause.NO_GRADIENT, _NONE)]
