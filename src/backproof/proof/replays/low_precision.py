"""A kernel in low precision: its errors against float64, beside those of its plain reference."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from functools import partial
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.replays.accuracy import most, precision
from backproof.proof.replays.again import new, shown
from backproof.proof.replays.arithmetic import computes_otherwise
from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import KernelTrial, sent_back
from backproof.proof.replays.kinks import excused, kink_of
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.sides import Gradients, gradients_of, run_side, upstreams_for
from backproof.proof.replays.subject import BackwardRaisedError, Conditions, Proof, SkippedError
from backproof.proof.replays.values import evidence_of
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Row
from backproof.proof.report.words import number
from backproof.proof.user.arguments import Values, in_dtype
from backproof.proof.user.calls import describe
from backproof.proof.user.tensors import as_real, is_finite, is_float, short_name, to_neighbours, widened
from backproof.proof.verdict.decide import Known, row_of

_FINE = 1e-6  # far less than the narrow dtype's rounding: a jump that so small a shift shows is at a kink
_CALLS = 3  # more, where one is not precise enough
_NEARBY = 4  # roundings of the inputs: the largest of five errors is rarely small, and the middle one rarely large
_SPREADS = 2  # what few calls show of all orders of a sum; a sum that stops growing is off by far more than it spreads

_Result = tuple[str, Tensor | None, Tensor | None, Tensor | None, str]  # name, got, plain reference, float64, label


def in_low_precision(proof: Proof[Kernel, KernelTrial], ledger: Ledger, *, dtype: torch.dtype) -> list[Row]:
    """Errors against float64, of the same rounded inputs, beside those of the plain reference in `dtype`."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ComplexHalf support is experimental")  # nobody asked for these but we
        return _in_low_precision(proof, ledger, dtype)


def _in_low_precision(proof: Proof[Kernel, KernelTrial], ledger: Ledger, dtype: torch.dtype) -> list[Row]:
    kernel, needs = proof.subject, proof.first_run.needs
    if any(is_float(value) and value.is_complex() for value in proof.first_run.values.values()):
        raise SkippedError(f"there are no complex numbers of the precision of {short_name(dtype)}")
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
    exact = gradients_of(truth, {name: widened(value) for name, value in upstreams.items()}, needs)
    results = [(name, function.outputs.get(name), value, truth.outputs[name], name)
               for name, value in reference.outputs.items() if is_float(value)]  # fmt: skip
    results += [(name, found[name], own[name], exact[name], f"d{name}") for name in needs]
    results = [each for each in results if each[0] not in ledger.known()]
    imprecise = {each[0]: (each, row) for each in results if (row := _imprecise(*each, dtype)) is not None}
    if not imprecise:
        return []
    nearby = _errors_nearby(kernel, values, needs, upstreams)
    imprecise = {name: (each, row) for name, (each, _) in imprecise.items()
                 if (row := _imprecise(*each, dtype, nearby.get(name, _AS_IT_IS))) is not None}  # fmt: skip
    if not imprecise:
        return []
    if misfit := computes_otherwise(kernel, values, needs, dtype):
        raise SkippedError(misfit)
    bench = kernel.bench(needs, upstreams)._replace(reference=partial(_exact, kernel, needs, upstreams), fine=_FINE)
    calls = [{**function.outputs, **found}, *_calls(kernel, values, needs, upstreams)]
    rows = []
    for name, (each, row) in imprecise.items():
        got, right = each[1], each[3]
        assert got is not None and right is not None  # or no error was measured
        may_have_kinks = name in needs and name not in kernel.meant
        kink = kink_of(name, got, right, values, bench, torch.finfo(dtype).eps) if may_have_kinks else None
        row = excused(row, kink, first=False)
        rows.append(_unsteady(row, [one.get(name) for one in calls], each, dtype, nearby.get(name, _AS_IT_IS)))
    return new(rows, ledger) + [row for row in rows if row.remark]


class _Nearby(NamedTuple):
    """Errors where each input is moved to a neighbour by chance: the reference's largest, and the function's usual one.

    The error of a few numbers, or of one, as of a loss, may happen to be far from what rounding does to them.
    """

    reference: float = 0.0
    own: float = torch.inf


_AS_IT_IS = _Nearby()


def _errors_nearby(
    kernel: Kernel, values: Values, needs: tuple[str, ...], upstreams: Mapping[str, Tensor]
) -> dict[str, _Nearby]:
    generator = torch.Generator().manual_seed(kernel.seed)
    errors: dict[str, list[tuple[float, float]]] = {}
    for _ in range(_NEARBY):
        moved = {name: to_neighbours(value, torch.finfo(value.dtype).eps, generator) if is_float(value) else value
                 for name, value in values.items()}  # fmt: skip
        reference = run_side("reference", kernel.reference, moved, needs, kernel.seed)
        function, truth = kernel.called(moved, needs), kernel.truth(moved, needs)
        if truth is None:
            return {}
        wide = {name: widened(value) for name, value in upstreams.items()}
        own = {**function.outputs, **sent_back(function, upstreams, needs)}
        plain = {**reference.outputs, **gradients_of(reference, upstreams, needs)}
        for name, exact in {**truth.outputs, **gradients_of(truth, wide, needs)}.items():
            seen = [_error(one.get(name), exact) for one in (plain, own)]
            if seen[0] is not None and seen[1] is not None and seen[0] < torch.inf:
                errors.setdefault(name, []).append((seen[0], seen[1]))
    return {name: _Nearby(max(one for one, _ in both), median(one for _, one in both)) for name, both in errors.items()}


def _error(got: Tensor | None, exact: Tensor | None) -> float | None:
    if got is None or exact is None or got.shape != exact.shape or not is_float(got):
        return None
    return most(as_real(widened(got.detach()) - widened(exact.detach())))


def _calls(kernel: Kernel, values: Values, needs: tuple[str, ...], upstreams: Mapping[str, Tensor]) -> list[Gradients]:
    """Outputs and gradients of more calls with the same arguments."""
    found = []
    for _ in range(_CALLS):
        side = kernel.called(values, needs)
        found.append({**side.outputs, **sent_back(side, upstreams, needs)})
    return found


def _unsteady(row: Row, seen: list[Tensor | None], each: _Result, dtype: torch.dtype, nearby: _Nearby) -> Row:
    """Where calls differ, as sums in another order do, one of them may be unlucky: their spread is allowed for."""
    name, got, reference, exact, label = each
    if not row.culprit or got is None or reference is None or exact is None:
        return row
    usable = [as_real(widened(one.detach())) for one in seen if one is not None and one.shape == exact.shape]
    if len(usable) < len(seen):
        return row
    stack = torch.stack(usable)
    spread = most(stack.amax(0) - stack.amin(0))
    measured = precision(got, reference, exact, nearby=nearby.reference, usual=nearby.own)
    if not 0 < spread < torch.inf or measured.own > measured.allowed + _SPREADS * spread:
        return row
    said = f"{label} differs between two calls in {short_name(dtype)} by up to {number(spread)}, and its {measured}"
    return row_of(name, Known.AS_PRECISE, label=label, remark=f"{said}: no more than the order of a sum explains")


def _exact(kernel: Kernel, needs: tuple[str, ...], upstreams: Mapping[str, Tensor], values: Values) -> Gradients:
    """The reference's gradients in float64."""
    truth = run_side("reference", kernel.reference, in_dtype(dict(values), torch.float64), needs, kernel.seed)
    return gradients_of(truth, {name: widened(one) for name, one in upstreams.items()}, needs)


def _imprecise(
    name: str,
    got: Tensor | None,
    reference: Tensor | None,
    exact: Tensor | None,
    label: str,
    dtype: torch.dtype,
    nearby: _Nearby = _AS_IT_IS,
) -> Row | None:
    if got is None or reference is None or exact is None or got.shape != reference.shape:
        return None  # the first run has reported that already
    measured = precision(got, reference, exact, nearby=nearby.reference, usual=nearby.own)
    if measured.ok:
        return None
    row = row_of(name, Known.SHOWN_BY_A_REPLAY, label=label, evidence=evidence_of(got, exact))
    claim = f"is less precise in {short_name(dtype)} than plain operations"
    advice = "sum in float32, and round to the narrow dtype once, at the end"
    return shown(row, Cause.LOW_PRECISION, claim, str(measured), next=advice)
