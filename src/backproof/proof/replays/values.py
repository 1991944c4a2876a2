"""The outputs of a kernel beside those of its reference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backproof.proof.causes.wording import ranges
from backproof.proof.replays.accuracy import most, precision
from backproof.proof.replays.sides import Side
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Evidence, Row, finding
from backproof.proof.user.tensors import as_real, is_float
from backproof.proof.verdict.decide import Known, of_value, row_of

_ILL_CONDITIONED = 8  # times what rounding the inputs does: a kernel rounds a few times more on its way
_FLOAT32 = torch.finfo(torch.float32).eps


def evidence_of(got: Tensor, expected: Tensor) -> Evidence:
    """The largest difference between two tensors of one shape; of complex ones, between their parts."""
    parts = expected.is_complex()
    got, expected = as_real(got.detach()).cpu(), as_real(expected.detach()).cpu()
    change = torch.nan_to_num((got.double() - expected.double()).abs(), nan=torch.inf)
    place = tuple(int(i) for i in torch.unravel_index(change.argmax(), change.shape)) if change.ndim else ()
    return Evidence(place, float(got[place]), float(expected[place]), got, expected, parts)


def value_rows(
    function: Side, reference: Side, truth: Side | None, moved: Mapping[str, Tensor] | None = None
) -> list[Row]:
    """A row for every output: its value beside the reference's; `moved` is what rounding the inputs does to it."""
    rows = []
    for name, expected in reference.outputs.items():
        got = function.outputs.get(name)
        if got is None:
            rows.append(_misfit(name, "is missing among what function returns"))
        elif got.shape != expected.shape:
            rows.append(_misfit(name, f"has shape {list(got.shape)}, the reference's {list(expected.shape)}"))
        elif got.dtype != expected.dtype:
            claim = f"has dtype {got.dtype}, the reference's {expected.dtype}"
            rows.append(_misfit(name, claim, Known.VALUE_DTYPE))
        else:
            right = truth.outputs[name] if truth else None
            rows.append(_value_row(name, got, expected, right, _terms(reference), (moved or {}).get(name)))
    return rows


def _terms(side: Side) -> int:
    return max((value.numel() for value in side.leaves.values() if is_float(value)), default=1)


def _misfit(name: str, claim: str, known: Known = Known.VALUE_MISFIT) -> Row:
    return finding(row_of(name, known, label=name), None, claim, next="return what the reference returns")


def _value_row(name: str, got: Tensor, expected: Tensor, truth: Tensor | None, terms: int, moved: Tensor | None) -> Row:
    whole = (got, expected)
    got, expected, truth = as_real(got), as_real(expected), None if truth is None else as_real(truth)
    if not is_float(expected):
        fine, near, largest = False, torch.equal(got, expected), None
    else:
        near, largest = torch.allclose(got, expected, equal_nan=True), most(got.double() - expected.double())
        eps = torch.finfo(expected.dtype).eps
        units = 1.0 if eps > _FLOAT32 else terms**0.5  # sums in float32 may lose digits with their length
        measured = precision(got, expected, expected.double() if truth is None else truth, units)
        fine = measured.ok or bool((got.isnan() == expected.isnan()).all() and near)
        if not fine and moved is not None:
            fine = bool(((got.double() - expected.double()).abs() <= _ILL_CONDITIONED * moved).all())
    known = of_value(got, expected, fine=fine)
    exact = known is Known.EQUAL_BITS
    row = row_of(name, known, exact=exact, approximate=near, max_difference=largest, label=name)
    if not known.at_fault:
        return row
    if is_float(expected):
        row = replace(row, evidence=evidence_of(*whole))
    rows = _wrong_rows(got, expected) if whole[0].ndim else []
    last_rows = bool(rows) and rows == list(range(rows[0], len(expected)))
    cause = Cause.ROWS_LEFT_OUT if last_rows else None
    where = f"{_named(rows, len(expected))}, the others are right" if rows else ""
    advice = "look at how the last, partial tile is handled" if cause else "compare the forward passes step by step"
    return finding(row, cause, "is not what the reference computes", where, next=advice)


def _wrong_rows(got: Tensor, expected: Tensor) -> list[int]:
    """The rows that differ by more than float rounding, where others do not."""
    if expected.ndim == 0 or len(expected) < 2:
        return []
    near = torch.isclose(got.double(), expected.double(), rtol=1e-3, atol=1e-6, equal_nan=True)
    wrong = (~near.reshape(len(expected), -1).all(1)).nonzero().flatten().tolist()
    return wrong if len(wrong) < len(expected) else []


def _named(rows: list[int], count: int) -> str:
    return f"row {rows[0]} of {count} differs" if len(rows) == 1 else f"rows {ranges(rows)} of {count} differ"
