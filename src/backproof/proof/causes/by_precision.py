"""Numbers in low precision: an error that looks like rounding and is too large for the dtype."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.report.cause import Cause

_LOWER = (torch.float32, torch.float16, torch.bfloat16)


_PARTIAL_SUMS = 4  # binary digits that adding up as many as sixteen results of low precision may add


def rounded(fault: Fault) -> Iterator[Finding]:
    """got is the right gradient rounded to a lower dtype, or the sum of a few such."""
    dtype = rounded_to(fault)
    if dtype is not None:
        yield _finding(fault, dtype)


def rounded_to(fault: Fault) -> torch.dtype | None:
    """The dtype whose few digits got has, if each element is as near to the right one as they allow."""
    for dtype in _few_digits(fault):
        if bool((fault.difference.abs() <= _allowed(dtype, fault.expected.abs(), 1.0)).all()):
            return dtype
    return None


def summed(fault: Fault) -> Iterator[Finding]:
    """got has the few digits of a lower dtype, and is as far off as long sums in that dtype are."""
    for dtype in _few_digits(fault):
        if bool((fault.difference.abs() <= _allowed(dtype, fault.allowed, 1 / fault.yardstick.eps)).all()):
            yield _finding(fault, dtype)
            return


def _few_digits(fault: Fault) -> Iterator[torch.dtype]:
    for dtype in _LOWER:
        eps = torch.finfo(dtype).eps
        digits = 1 - int(torch.tensor(eps).log2()) + _PARTIAL_SUMS
        lower = eps > 2 * torch.finfo(fault.given.dtype).eps
        clear = fault.got.abs() > fault.size * (2.0**digits * fault.yardstick.eps / 2)
        if not lower or not bool(clear.any()):  # where terms cancel, what is left has few digits in any dtype
            continue
        if _has_digits(fault.got[clear], digits) and not _has_digits(fault.expected, digits):
            yield dtype


def _allowed(dtype: torch.dtype, sizes: Tensor, times: float) -> Tensor:
    return sizes * (torch.finfo(dtype).eps * times) + torch.finfo(dtype).tiny


def _has_digits(numbers: Tensor, digits: int) -> bool:
    """Whether no number has more than so many significant binary digits."""
    mantissa = torch.frexp(numbers).mantissa * 2.0**digits
    return bool((mantissa == mantissa.round()).all())


def _finding(fault: Fault, dtype: torch.dtype) -> Finding:
    name = str(dtype).removeprefix("torch.")
    return Finding(
        Cause.LOW_PRECISION,
        f"it is computed in {name}",
        f"no element has more digits than a {name} number, or a few added up; the error is of that size.",
        f"sum in {str(fault.given.dtype).removeprefix('torch.')}, and convert afterwards if need be",
    )
