"""A kernel in low precision: its errors against float64, beside those of its plain reference."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.replays.accuracy import precision
from backproof.proof.replays.again import new, shown
from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import KernelTrial, sent_back
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.sides import gradients_of, run_side, upstreams_for
from backproof.proof.replays.subject import BackwardRaisedError, Conditions, Proof, SkippedError
from backproof.proof.replays.values import evidence_of
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Row
from backproof.proof.user.calls import describe
from backproof.proof.user.tensors import is_finite, is_float, short_name
from backproof.proof.verdict.decide import Known, row_of


def in_low_precision(proof: Proof[Kernel, KernelTrial], ledger: Ledger, *, dtype: torch.dtype) -> list[Row]:
    """Errors against float64, of the same rounded inputs, beside those of the plain reference in `dtype`."""
    kernel, needs = proof.subject, proof.first_run.needs
    values = kernel.values(Conditions(dtype=dtype))
    truth = kernel.truth(values, needs)
    if truth is None:
        raise SkippedError("reference does not run in float64, which the errors are measured against")
    reference = run_side("reference", kernel.reference, values, needs, kernel.seed)
    function = kernel.called(values, needs)
    upstreams = upstreams_for(reference, kernel.seed, function)
    try:
        own = gradients_of(reference, upstreams, needs)
    except RuntimeError as error:
        raise SkippedError(f"the backward pass of reference raised {describe(error)}") from error
    if not is_finite(reference.outputs) or not is_finite(own):
        raise SkippedError(f"the plain reference is not finite in {dtype}")
    try:
        found = sent_back(function, upstreams, needs)
    except BackwardRaisedError as error:
        raise SkippedError(f"{kernel.backward_called} raised {error}") from error
    exact = gradients_of(truth, {name: value.double() for name, value in upstreams.items()}, needs)
    results = [(name, function.outputs.get(name), value, truth.outputs[name], name)
               for name, value in reference.outputs.items() if is_float(value)]  # fmt: skip
    results += [(name, found[name], own[name], exact[name], f"d{name}") for name in needs]
    return new([row for each in results if (row := _imprecise(*each, dtype)) is not None], ledger)


def _imprecise(
    name: str, got: Tensor | None, reference: Tensor | None, exact: Tensor | None, label: str, dtype: torch.dtype
) -> Row | None:
    if got is None or reference is None or exact is None or got.shape != reference.shape:
        return None  # the first run has reported that already
    measured = precision(got, reference, exact)
    if measured.ok:
        return None
    row = row_of(name, Known.SHOWN_BY_A_REPLAY, label=label, evidence=evidence_of(got, exact))
    claim = f"is less precise in {short_name(dtype)} than plain operations"
    advice = "sum in float32, and round to the narrow dtype once, at the end"
    return shown(row, Cause.LOW_PRECISION, claim, str(measured), next=advice)
