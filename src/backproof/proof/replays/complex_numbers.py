"""Complex numbers beside a reference. The judge knows real ones only, so it is given real and imaginary parts.

PyTorch's gradient of z = a + bi is ∂L/∂a + i ∂L/∂b, so that the parts of a right gradient are the right gradients of
the parts, whatever was computed in between. What a judge of real numbers cannot see is said here: which part is wrong,
and that a conjugate is missing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Evidence, Row, Verdict, finding
from backproof.proof.user.tensors import as_real

_ROUNDINGS = 64  # of the largest number; the judge allows about as many for sums as long as most
_CONVENTION = "PyTorch's gradient of z = a + bi is dL/da + i dL/db; behind y = f(z) it is conj(f'(z)) times that of y"


def parts_of(gradients: Mapping[str, Tensor | None], names: Collection[str]) -> dict[str, Tensor | None]:
    """The gradients, those in `names` as real numbers; one that is real itself has imaginary parts of 0."""
    return {
        name: one if one is None or name not in names else as_real(one.to(torch.promote_types(one.dtype, torch.cfloat)))
        for name, one in gradients.items()
    }


def whole_row(row: Row, conjugated: Tensor | None, *, parts: bool) -> Row:
    """The judge's row in words for complex numbers; `parts` says that the input is complex.

    `conjugated` is autograd's gradient for the conjugate upstream gradients: it, or its conjugate where the input is
    complex, is what a line gives that leaves the conjugate of the derivative out.
    """
    evidence = row.evidence
    if parts and row.verdict is Verdict.SHAPE:
        row = replace(row, message=f"{row.message}\n  the last dimension, of 2, holds real and imaginary part")
    if evidence is None:
        return row
    if parts:
        evidence = replace(evidence, parts=True)
        row = replace(row, evidence=evidence, message=row.message.replace(str(row.evidence), str(evidence)))
    if row.verdict is not Verdict.WRONG or not row.culprit:
        return row
    claim = _claim(evidence, conjugated, parts)
    if claim is None:
        return row
    said, cause, advice = claim
    return finding(row, cause, said, _CONVENTION, next=advice)


def _claim(evidence: Evidence, conjugated: Tensor | None, parts: bool) -> tuple[str, Cause | None, str] | None:
    got, expected = evidence.got_tensor, evidence.expected_tensor
    if got.shape != expected.shape:
        return None
    if parts and _equal(got, expected * torch.tensor([1, -1])):
        return "is the conjugate of the right gradient", Cause.WRONG_SIGN, "conjugate it, with .conj()"
    if conjugated is not None and _equal(got, as_real(conjugated.conj()).cpu()):
        advice = "conjugate what the upstream gradient is multiplied by: dx = dy * w.conj() for y = x * w"
        return "lacks a conjugate: yours is what the derivative itself gives", Cause.WRONG_FACTOR, advice
    if parts and _equal(got[..., 0], expected[..., 0]):
        if not bool(got[..., 1].any()):
            advice = "keep complex numbers to the end, without .real or .abs()"
            return "has no imaginary part; its real part is right", Cause.DROPPED_TERM, advice
        return "has a wrong imaginary part; its real part is right", None, "derive the imaginary part again"
    return None


def _equal(got: Tensor, other: Tensor) -> bool:
    """To rounding of the largest number; the judge has found that the right gradient is further away."""
    if got.shape != other.shape or not bool(other.isfinite().all()):
        return False
    size = float(other.abs().max()) if other.numel() else 0.0
    return size > 0 and bool(((got - other).abs() <= _ROUNDINGS * torch.finfo(got.dtype).eps * size).all())
