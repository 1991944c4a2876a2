"""The causes that a report can name, and what is known of each. Read without PyTorch, so that `explain` is quick.

`Cause` gives every cause its name in code and the code that users see. Its entry, in a file of its own under `known/`,
says what it is; `registry` finds the entry. A search in `proof/causes/` finds the cause.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

RIGHT = "  # right: "


class Cause(StrEnum):
    """What may be wrong with a gradient. Equal to its code, as in `row.cause == "F6"`."""

    UPSTREAM_IGNORED = "F1"
    CONTIGUITY_ASSUMED = "F2"
    CHANGED_IN_PLACE = "F3"
    NO_GRADIENT = "F4"
    LOW_PRECISION = "F5"
    DROPPED_TERM = "F6"
    ROWS_LEFT_OUT = "F7"
    WRONG_DENOMINATOR = "F8"
    WRONG_DIMENSIONS = "F9"
    SWAPPED_OR_TRANSPOSED = "F10"
    OVERWRITTEN = "F11"
    CONSTANT_FACTOR = "F12"
    WRONG_SIGN = "F13"
    OTHER_FORWARD_PASS = "F14"
    WRONG_TENSOR = "F15"
    WRONG_FACTOR = "F16"
    NOT_FINITE = "F17"


@dataclass(frozen=True)
class Entry:
    """What is known of a cause: a title, three short texts, and a program that shows it.

    `example` ends by assigning `report`. It is wrong on purpose in every line that says `# right: ` and then what
    the line should be. Its numbers are small and whole, so that every machine rounds them alike.
    """

    cause: Cause
    title: str
    what: str
    why: str
    mend: str
    example: str

    @property
    def wrong(self) -> str:
        """The wrong example as a whole program, which prints its report."""
        return self._program(self.example)

    @property
    def right(self) -> str:
        """The same program with the fault mended."""
        return self._program(mended(self.example))

    def _program(self, body: str) -> str:
        called = "prove" if "prove(" in body else "check"
        return f"import torch\nfrom backproof import {called}\n\n{body.strip()}\nprint(report)\n"


def mended(example: str) -> str:
    """`example` with what stands after `# right: ` in place of each wrong line."""
    return re.sub(rf"^( *).*{re.escape(RIGHT)}(.*)$", r"\1\2", example, flags=re.MULTILINE)
