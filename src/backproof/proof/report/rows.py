"""What is known of one gradient: its verdict, the evidence, and where a replay or another gradient comes in."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from torch import Tensor

from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.words import apart, number


class Verdict(StrEnum):
    """What is known about one gradient."""

    EXACT = "exact"  # bitwise equal to automatic differentiation's
    ROUNDING = "rounding"  # right; it differs by no more than rounding may
    INHERITED = "inherited"  # differs, but only since a gradient it is computed from is wrong
    WRONG = "wrong"  # its own line is the fault
    MISSING = "missing"  # there is none
    SHAPE = "shape"  # its shape is not the value's
    DTYPE = "dtype"  # its dtype or device is not the value's
    NOT_FINITE = "not finite"  # NaN or infinity where a number belongs
    NOT_TESTABLE = "not testable"  # nothing here could tell right from wrong
    UNREACHABLE = "unreachable"  # the output does not depend on the value


PROVED = (Verdict.EXACT, Verdict.ROUNDING)


@dataclass(frozen=True)
class Evidence:
    """Where a gradient differs most from what its line should give, and both in full for pictures.

    `got_tensor` and `expected_tensor` are detached, on the CPU, and may differ in shape where that is the
    fault. Of complex tensors they hold the `parts`: real numbers with a last dimension of 2, 0 for the real part and 1
    for the imaginary one.
    """

    worst_index: tuple[int, ...]
    got: float
    expected: float
    got_tensor: Tensor
    expected_tensor: Tensor
    parts: bool = False

    @property
    def place(self) -> str:
        """The worst index in words; of a complex tensor, that of its element and which part of it."""
        index = self.worst_index[:-1] if self.parts else self.worst_index
        where = f" at {list(index)}" if index else ""
        return where + (", imaginary part" if self.worst_index[-1] else ", real part") if self.parts else where

    def __str__(self) -> str:
        place = self.place
        if not math.isfinite(self.got):
            return f"first{place or ' of all'}: got {self.got}, expected {number(self.expected)}"
        difference = number(abs(self.got - self.expected))
        got, expected = apart(self.got, self.expected)
        return f"largest difference {difference}{place}: got {got}, expected {expected}"


@dataclass(frozen=True)
class Row:
    """The verdict on the gradient of one value.

    `exact`, `approximate` and `max_difference` compare with automatic differentiation's own gradient, as
    the notebooks' `cmp` does, but never broadcast; the difference is None where the two cannot be subtracted.
    `cause` is the code of a `Cause`, as "F6", or None where nothing is wrong or the cause is not certain; where several
    explain the numbers alike, `candidates` has their codes. `certainty` says what the cause rests on, and
    `applicability` whether doing just what the message advises gives the right gradient; both are None where there is
    no cause, and no advice. `remark` is what a report says beside its table,
    once for each value. `factor` is the constant by which the gradient, or one of its terms, is off, where that is
    what is wrong with it.
    """

    name: str
    verdict: Verdict
    cause: str | None = None
    message: str = ""
    exact: bool = False
    approximate: bool = False
    max_difference: float | None = None
    culprit: bool = False
    inherited_from: tuple[str, ...] = ()
    evidence: Evidence | None = None
    replay: str | None = None
    label: str = ""
    certainty: Certainty | None = None
    applicability: Applicability | None = None
    candidates: tuple[str, ...] = ()
    factor: float | None = None
    remark: str = ""

    def __repr__(self) -> str:
        """`Row(dw: wrong, F12, max difference 1.03)`: the message and the tensors are looked at by name."""
        said = [self.verdict.value, *self.named]
        if self.max_difference:
            said.append(f"max difference {self.max_difference:.3g}")
        return f"Row({self.gradient}: {', '.join(said)})"

    def __str__(self) -> str:
        """As the notebooks' `cmp` prints it: `h               | exact: True  | approximate: True  | maxdiff: 0.0`."""
        difference = math.nan if self.max_difference is None else self.max_difference
        return (
            f"{self.name:15s} | exact: {self.exact!s:5s} | approximate: {self.approximate!s:5s} | "
            f"maxdiff: {float(f'{difference:.10g}')}"
        )

    @property
    def named(self) -> tuple[str, ...]:
        """The codes of the causes that the message names: the one that is certain, or those that may be."""
        return (self.cause,) if self.cause else self.candidates

    @property
    def gradient(self) -> str:
        """What the gradient is called in messages."""
        return self.label or f"d{self.name}"

    @property
    def ok(self) -> bool:
        """Whether nothing speaks against this gradient; what could not be tested is not held against it."""
        return self.verdict in (Verdict.EXACT, Verdict.ROUNDING) or (
            self.verdict is Verdict.NOT_TESTABLE and self.cause is None and not self.culprit
        )


class Findings(Protocol):
    """What the writers of text, page and JSON read of a report."""

    @property
    def rows(self) -> tuple[Row, ...]: ...
    @property
    def notes(self) -> tuple[str, ...]: ...
    @property
    def skipped(self) -> tuple[str, ...]: ...
    @property
    def unjudged(self) -> tuple[str, ...]: ...
    @property
    def open(self) -> tuple[str, ...]: ...
    @property
    def proved(self) -> int: ...
    @property
    def ok(self) -> bool: ...
    @property
    def culprits(self) -> tuple[Row, ...]: ...


def finding(
    row: Row,
    cause: Cause | None,
    claim: str,
    *details: str,
    next: str,
    certainty: Certainty = Certainty.FITS,
    applicability: Applicability = Applicability.LOOK,
) -> Row:
    """The row with a cause and a message: claim, details, the evidence that the row has, and what to try.

    The claim goes on from the gradient's name, unless it begins with a capital letter's sentence of its own.
    """
    parts = [
        f"{claim}." if claim[0].isupper() else f"{row.gradient} {claim}.",
        *details,
        str(row.evidence or ""),
        f"{applicability.word}: {next}",
    ]
    return replace(
        row,
        cause=cause,
        message="\n  ".join(part for part in parts if part),
        certainty=certainty if cause else None,
        applicability=applicability,
        candidates=(),
    )
