"""What does F6 mean? From a code to what is known of the cause."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from backproof.proof.report.cause import Cause, Entry
from backproof.proof.report.known import (
    f01_upstream_ignored,
    f02_contiguity_assumed,
    f03_changed_in_place,
    f04_no_gradient,
    f05_low_precision,
    f06_dropped_term,
    f07_rows_left_out,
    f08_wrong_denominator,
    f09_wrong_dimensions,
    f10_swapped_or_transposed,
    f11_overwritten,
    f12_constant_factor,
    f13_wrong_sign,
    f14_other_forward_pass,
    f15_wrong_tensor,
    f16_wrong_factor,
    f17_not_finite,
)

ENTRIES: tuple[Entry, ...] = (
    f01_upstream_ignored.ENTRY,
    f02_contiguity_assumed.ENTRY,
    f03_changed_in_place.ENTRY,
    f04_no_gradient.ENTRY,
    f05_low_precision.ENTRY,
    f06_dropped_term.ENTRY,
    f07_rows_left_out.ENTRY,
    f08_wrong_denominator.ENTRY,
    f09_wrong_dimensions.ENTRY,
    f10_swapped_or_transposed.ENTRY,
    f11_overwritten.ENTRY,
    f12_constant_factor.ENTRY,
    f13_wrong_sign.ENTRY,
    f14_other_forward_pass.ENTRY,
    f15_wrong_tensor.ENTRY,
    f16_wrong_factor.ENTRY,
    f17_not_finite.ENTRY,
)
_BY_CODE = {entry.cause.value: entry for entry in ENTRIES}


class UnknownCauseError(ValueError):
    """There is no cause of that code; the message says which there are."""


def entry_of(code: str) -> Entry:
    """What is known of one cause, by its code in capitals or not. Raises UnknownCauseError."""
    found = _BY_CODE.get(code.upper())
    if found is None:
        raise UnknownCauseError(_nearest(code))
    return found


def named_by(codes: Iterable[str]) -> list[Entry]:
    """What is known of the causes in `codes`, each once, in their order here; what is no cause is passed over."""
    wanted = set(codes)
    return [entry for entry in ENTRIES if entry.cause in wanted]


def _nearest(code: str) -> str:
    first, *_, last = Cause
    close = get_close_matches(code.upper(), _BY_CODE, n=2)
    meant = f" (is {' or '.join(close)} meant?)" if close else ""
    shown = code or "''"
    return f"There is no cause {shown}{meant}; there are {first} to {last}, and `backproof explain` lists them."
