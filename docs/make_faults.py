"""Writes docs/faults.md from the registry of causes: for each what it is, its wrong example, run as it stands, and
what the prover reports.

    python docs/make_faults.py            writes the page
    python docs/make_faults.py --check    exits 1 where the page is not what the examples report today
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

import torch

from backproof.proof.check import check
from backproof.proof.prove import prove
from backproof.proof.report.cause import Entry, mended
from backproof.proof.report.registry import ENTRIES
from backproof.proof.report.report import Report

PAGE = Path(__file__).with_name("faults.md")

HEAD = """\
# Faults, and what the prover says of them

The faults that hand-written backward passes really have. Each is shown by a small example that is wrong on
purpose, and by the report that Backproof gives for it, word for word. What a wrong line should be stands behind it,
after `# right:`; with that in its place the report ends in the line that is given last. `python docs/make_faults.py`
runs the examples and writes this page; `backproof explain F6` tells the same of one fault. All examples begin with

    import torch
    from backproof import check, prove

`check` judges the gradients of one run, by their names. `prove` is given the two functions, runs them again
with other sizes, upstream gradients and layouts, and so finds what one run cannot show. In a report, `mend:` is
advice that was tried on the numbers of the wrong gradient: doing just what it says gives the right one. Where that
could not be tried, it is called `next:`.
"""


def reported(example: str) -> Report:
    """The report of an example, run as it stands on the page."""
    names: dict[str, Any] = {"torch": torch, "check": check, "prove": prove}
    exec(compile(example, "<example>", "exec"), names)
    return names["report"]


def section(entry: Entry) -> str:
    """What the page has of one cause."""
    said = (f"{entry.what} {entry.why}", f"**How to mend it.** {entry.mend}")
    texts = "\n\n".join(textwrap.fill(text, 110, break_on_hyphens=False) for text in said)
    *_, last = str(reported(mended(entry.example))).splitlines()
    return (
        f"## {entry.cause}: {entry.title}\n\n{texts}\n\n```python\n{entry.example.strip()}\n```\n\n"
        f"```text\n{reported(entry.example)}\n```\n\nWith the right lines: {last}\n"
    )


def page() -> str:
    return "\n".join([HEAD, *map(section, ENTRIES)])


def main() -> int:
    text = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
