"""What the prover hands back: immutable records, a verdict and a message for every value."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from backproof.files import write_text
from backproof.proof.report.rows import PROVED, Row
from backproof.proof.report.text import to_text


class GradientError(AssertionError):
    """A report that is not ok; the message is the report."""


@dataclass(frozen=True)
class Report:
    """One row a value, in the order of the backward pass, and remarks that belong to no single value.

    `unjudged` names the gradients that were computed, and that nothing was compared with, each with a hint why;
    `open` the values on the way to the output that have no gradient yet. Neither counts for or against `ok`.
    """

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()
    open: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """True when some gradient is proved, and none is wrong, missing, unreachable or inherits a fault."""
        return self.proved > 0 and all(row.ok for row in self.rows)

    @property
    def proved(self) -> int:
        """How many gradients were compared and are right."""
        return sum(row.verdict in PROVED for row in self.rows)

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
        from backproof.proof.report.as_json import to_json

        return to_json(self)

    def save_html(self, path: str | PathLike[str]) -> None:
        """Writes the report as one page that needs no other file; whole or not at all. Raises OSError."""
        from backproof.proof.report.page import to_html

        write_text(Path(path), to_html(self))

    def _repr_html_(self) -> str:
        from backproof.proof.report.page import to_notebook_html

        return to_notebook_html(self)

    def __repr__(self) -> str:
        """`Report(ok=False, 2 of 3 proved, at fault: w F12)`."""
        guilty = ", ".join(" ".join((row.name, *row.named)) for row in self.culprits)
        said = f"ok={self.ok}, {self.proved} of {len(self.rows)} proved{guilty and f', at fault: {guilty}'}"
        return f"Report({said})"

    def __str__(self) -> str:
        return to_text(self)
