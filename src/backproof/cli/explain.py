"""`backproof explain`: what the causes are that reports name, why they hurt, and how to mend them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from backproof.cli.console import console, heading

if TYPE_CHECKING:
    from backproof.proof.report.cause import Entry


@dataclass(frozen=True)
class Explain:
    """Explain a cause that a report names, such as F6, with an example; without one, list them all.

    Example: backproof explain F6
    """

    cause: Annotated[tyro.conf.Positional[str | None], tyro.conf.arg(metavar="[CAUSE]")] = None
    """Code of the cause, as reports write it."""
    json: bool = False
    """Print it as JSON; the wrong example and the right one are whole programs there."""

    def run(self) -> int:
        from backproof.proof.report.registry import ENTRIES, entry_of

        entries = ENTRIES if self.cause is None else (entry_of(self.cause),)
        if self.json:
            records = [_record(entry) for entry in entries]
            console.print(json.dumps(records if self.cause is None else records[0], indent=1, ensure_ascii=False))
        elif self.cause is None:
            _print_list(entries)
        else:
            _print_entry(entries[0])
        return 0


def _print_list(entries: tuple[Entry, ...]) -> None:
    for entry in entries:
        console.print(f"{entry.cause:<5}{entry.title}")
    console.print("\nbackproof explain F6 tells what one of them is, why it hurts and how to mend it.")


def _print_entry(entry: Entry) -> None:
    from backproof.proof.report.words import WIDTH

    console.print(f"{entry.cause}: {entry.title}", style="bold")
    for title, text in (("What it is", entry.what), ("Why it hurts", entry.why), ("How to mend it", entry.mend)):
        heading(title)
        console.print(fill(text, WIDTH, break_on_hyphens=False))
    heading("An example")
    console.print("It is wrong on purpose; what the line should be stands after `# right:`.\n")
    for line in entry.wrong.splitlines():
        console.print(f"    {line}".rstrip(), soft_wrap=True)  # a line that is broken in two would not run


def _record(entry: Entry) -> dict[str, Any]:
    fields = asdict(entry)
    del fields["example"]
    return fields | {"wrong": entry.wrong, "right": entry.right}
