"""Sums in low precision: an error that looks like rounding and is too large for the dtype."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from backproof.proof.diagnose.fault import Fault, Finding

_LOWER = (torch.float32, torch.float16, torch.bfloat16)
_PARTIAL_SUMS = 4  # bits that adding up a few results of low precision may add


def low_precision(fault: Fault) -> Iterator[Finding]:
    """It is computed in a lower dtype than it is handed over in."""
    dtype = lower_dtype(fault)
    if dtype is not None:
        name = str(dtype).removeprefix("torch.")
        yield Finding(
            "F5",
            f"it is computed in {name}",
            f"no element has more digits than a {name} number, or a few added up; the error is of that size.",
            f"sum in {str(fault.given.dtype).removeprefix('torch.')}, and convert afterwards if need be",
        )


def lower_dtype(fault: Fault) -> torch.dtype | None:
    """The dtype whose few digits got has, if it is as far off as sums in that dtype are."""
    for dtype in _LOWER:
        eps = torch.finfo(dtype).eps
        if eps <= 2 * torch.finfo(fault.given.dtype).eps:
            continue
        digits = 1 - int(torch.tensor(eps).log2()) + _PARTIAL_SUMS
        if not _has_digits(fault.got, digits) or _has_digits(fault.expected, digits):
            continue
        allowed = fault.allowed * (eps / fault.yardstick.eps) + torch.finfo(dtype).tiny
        if bool((fault.difference.abs() <= allowed).all()):
            return dtype
    return None


def _has_digits(numbers: Tensor, digits: int) -> bool:
    """Whether no number has more than so many significant binary digits."""
    mantissa = torch.frexp(numbers).mantissa * 2.0**digits
    return bool((mantissa == mantissa.round()).all())
