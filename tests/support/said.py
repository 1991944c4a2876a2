"""What the prover says of many programs, word for word: the wild ones of the benchmarks, and wrong networks.

    python tests/support/said.py        writes tests/proof/said/*.txt anew; read the difference before keeping it

A change in the prover that no other test looks for shows here as a report that reads otherwise than before.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import torch

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
if str(BENCHMARKS) not in sys.path:  # where this file is the program
    sys.path.append(str(BENCHMARKS))

import power  # noqa: E402
import wild  # noqa: E402
from in_the_wild import Entry, entries  # noqa: E402
from mutants import mutants, networks  # noqa: E402

PAGES = Path(__file__).resolve().parents[1] / "proof" / "said"
EVERY = 3  # of the mutants of a network one in so many: all of them take minutes
_HEAD = "=== "
# an older PyTorch records other operations for these
_OTHERWISE = {"linear recurrence", "lstm over time", "max pool in loops"}
# What is another processor's, or another PyTorch's: which of equal differences is called the largest, how large the
# rounding is, whether float64 shows what float32 hides, and how an operation refuses a dtype.
_SETTLED = (
    (re.compile(r"at \[[\d, ]*\]:\s+got\s+\S+,\s+expected\s+\S+|such\s+as\s+\[[\d, ]*\]"), "at some place"),
    (re.compile(r"\d\.\d\de-(0[6-9]|[1-9]\d)"), "1.00e-06"),
    (re.compile(r"(?<= rounding {13})\d\.\d\de-\d\d"), "1.00e-06"),
    (re.compile(r"(?m)^(! .*) 0$"), r"\1 1.00e-06"),
    (re.compile(r"note: in float64, \S+ is only as precise as float32: no fault in float32\.\n\n?"), ""),
    (re.compile(r"raised\s+\w+:\s+\"\w+\"\s+not\s+implemented\s+for\s+'\w+'"), "refused"),
)


class Program(NamedTuple):
    """A program, and how the prover is asked about it."""

    page: str
    title: str
    ask: Callable[[], str]

    def said(self) -> str:
        """The report, or the sentence of the error."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a wrong program may overflow
            torch.manual_seed(0)  # some draw random numbers
            with torch.backends.opt_einsum.flags(enabled=False):  # with it einsum records others
                words = self.ask()
        for pattern, instead in _SETTLED:
            words = pattern.sub(instead, words)
        return words.strip()


def programs() -> Iterator[Program]:
    for found in [one for one in entries() if one.entry.name not in _OTHERWISE]:
        title, right = f"wild_{found.family}", found.entry
        yield Program(title, f"{right.name}, right", lambda right=right: _of_entry(right))
        yield Program(title, f"{right.name}, wrong", lambda found=found: _of_entry(found.wrong()))
    for network in networks():
        large = "ninja" in network
        for mutant in [one for one in mutants(network) if not (large and one.needs_reruns)][::EVERY]:
            yield Program(f"wrong_{network}", mutant.title, lambda mutant=mutant: _of_mutant(mutant))


def _of_entry(entry: Entry) -> str:
    return wild.by_backproof(entry).words


def _of_mutant(mutant: power.Mutant) -> str:
    return power.judged(mutant, ["Backproof"]).scores["Backproof"].opinion.words


def page(name: str) -> dict[str, str]:
    """The reports of a page by their titles."""
    sections = (PAGES / f"{name}.txt").read_text(encoding="utf-8").split(f"\n{_HEAD}")
    return {title: text.strip() for title, _, text in (section.partition("\n") for section in sections[1:])}


def main() -> None:
    pages: dict[str, list[str]] = {}
    for program in programs():
        pages.setdefault(program.page, [""]).append(f"{_HEAD}{program.title}\n\n{program.said()}\n\n")
    for old in PAGES.glob("*.txt"):
        old.unlink()
    PAGES.mkdir(exist_ok=True)
    for name, sections in pages.items():
        (PAGES / f"{name}.txt").write_text("\n".join(sections).rstrip() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
