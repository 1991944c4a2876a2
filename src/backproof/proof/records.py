"""What the prover hands back: immutable records, a verdict and a message for every value."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from os import PathLike
from pathlib import Path

from torch import Tensor

from backproof.files import write_text

WIDTH = 80  # columns of a plain terminal


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


class GradientError(AssertionError):
    """A report that is not ok; the message is the report."""


@dataclass(frozen=True)
class Evidence:
    """Where a gradient differs most from what its line should give, and both in full for pictures.

    `got_tensor` and `expected_tensor` are detached, on the CPU, and may differ in shape where that is the
    fault.
    """

    worst_index: tuple[int, ...]
    got: float
    expected: float
    got_tensor: Tensor
    expected_tensor: Tensor

    def __str__(self) -> str:
        place = f" at {list(self.worst_index)}" if self.worst_index else ""
        if not math.isfinite(self.got):
            return f"first{place or ' of all'}: got {self.got}, expected {number(self.expected)}"
        difference = number(abs(self.got - self.expected))
        got, expected = apart(self.got, self.expected)
        return f"largest difference {difference}{place}: got {got}, expected {expected}"


@dataclass(frozen=True)
class Row:
    """The verdict on the gradient of one value.

    `exact`, `approximate` and `max_difference` compare with automatic differentiation's plain gradient, as
    the notebooks' `cmp` does, but never broadcast; the difference is None where the two cannot be subtracted.
    `cause` is one of "F1" to "F17", or None where nothing is wrong or the cause is unknown.
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


@dataclass(frozen=True)
class Report:
    """One row a value, in the order of the backward pass, and remarks that belong to no single value."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when no gradient is wrong, missing, unreachable or inherits a fault."""
        return all(row.ok for row in self.rows)

    @property
    def culprits(self) -> tuple[Row, ...]:
        """The rows whose own line is at fault, whatever the verdict is called; never an inherited one."""
        return tuple(row for row in self.rows if row.culprit)

    def __getitem__(self, name: str) -> Row:
        """The row of the value `name`. Raises KeyError where there is none."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def raise_if_wrong(self) -> None:
        """Raises GradientError, with this report as its message, unless the report is ok."""
        if not self.ok:
            raise GradientError(f"\n{self}")

    def to_json(self) -> str:
        from backproof.proof.html import to_json

        return to_json(self)

    def save_html(self, path: str | PathLike[str]) -> None:
        """Writes the report as one page that needs no other file; whole or not at all. Raises OSError."""
        from backproof.proof.html import to_html

        write_text(Path(path), to_html(self))

    def _repr_html_(self) -> str:
        from backproof.proof.html import to_notebook_html

        return to_notebook_html(self)

    def __str__(self) -> str:
        blocks = ["\n".join(_table(self.rows)), *_messages(self.rows), *_remarks(self), _summary(self)]
        return "\n\n".join(block for block in blocks if block)


def number(x: float | None) -> str:
    """Three significant digits; zero and whole numbers plainly."""
    if x is None:
        return "-"
    return "0" if x == 0 else f"{x:.2e}"


def apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ."""
    digits = next((n for n in range(2, 17) if a == b or f"{a:.{n}e}" != f"{b:.{n}e}"), 17)
    return ("0" if a == 0 else f"{a:.{digits}e}", "0" if b == 0 else f"{b:.{digits}e}")


def wrapped(text: str, width: int = WIDTH) -> str:
    """Every line of `text` within `width` columns; what is carried over is indented by two more."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line.strip(),
            width,
            initial_indent=indent,
            subsequent_indent=indent + "  ",
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def listed(names: list[str] | tuple[str, ...], most: int = 4) -> str:
    """`a`, `a and b`, `a, b and c`, and past `most` names `a, b, c, ... (6 gradients)`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])}, ... ({len(names)} gradients)"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)


def _table(rows: tuple[Row, ...]) -> Iterator[str]:
    if not rows:
        return
    widest = min(28, max(len("value"), *(len(row.name) for row in rows)))
    yield f"  {'value':<{widest}}  {'verdict':<12}  {'cause':<5}  max difference"
    for row in rows:
        mark = "!" if row.culprit else " "
        name = row.name if len(row.name) <= widest else row.name[: widest - 1] + "…"
        line = f"{mark} {name:<{widest}}  {row.verdict.value:<12}  {row.cause or '':<5}  {number(row.max_difference)}"
        if row.inherited_from:
            origin = f"from {', '.join(row.inherited_from)}"
            line = f"{line:<{widest + 34}}  {origin}"
        yield line if len(line) <= WIDTH else line[: WIDTH - 1] + "…"


def _messages(rows: tuple[Row, ...]) -> Iterator[str]:
    inherited: dict[tuple[str, ...], list[Row]] = {}
    quiet: dict[str, list[Row]] = {}
    for row in rows:
        if row.verdict is Verdict.INHERITED:
            inherited.setdefault(row.inherited_from, []).append(row)
        elif row.culprit:
            yield wrapped(row.message)
        elif row.message:
            quiet.setdefault(row.message.removeprefix(f"{row.gradient}:"), []).append(row)
    names = {row.name: row.gradient for row in rows}
    for origin, heirs in inherited.items():
        lines = "this line is right" if len(heirs) == 1 else "these lines are right"
        heirs_named = listed([row.gradient for row in heirs])
        culprits = listed([names.get(name, name) for name in origin]) or "a gradient above"
        yield wrapped(f"{heirs_named}: inherited from {culprits}; {lines}.")
    for same in quiet.values():
        about, _, rest = same[0].message.partition(": ")
        if len(same) > 1 and about == same[0].gradient:
            yield wrapped(f"{listed([row.gradient for row in same])}: {rest}")
        else:
            yield wrapped("\n".join(row.message for row in same))


def _remarks(report: Report) -> Iterator[str]:
    for kind, remarks in (("note", report.notes), ("not replayed", report.skipped)):
        yield "\n".join(wrapped(f"{kind}: {remark}") for remark in remarks)


def _summary(report: Report) -> str:
    proved = sum(row.verdict in (Verdict.EXACT, Verdict.ROUNDING) for row in report.rows)
    parts = [f"{proved} of {len(report.rows)} gradients proved"]
    counts = (
        (len(report.culprits), "at fault"),
        (sum(row.verdict is Verdict.INHERITED for row in report.rows), "inherited"),
        (sum(row.verdict is Verdict.NOT_TESTABLE for row in report.rows), "not testable here"),
        (sum(row.verdict is Verdict.UNREACHABLE and not row.culprit for row in report.rows), "unreachable"),
    )
    parts += [f"{count} {what}" for count, what in counts if count]
    return wrapped(", ".join(parts) + ".")
