"""Claim: text is encoded at 20 MB a second or more, and an example takes one byte.

Command: python benchmarks/text_encoding.py
Repeats the embedded names up to the size that is asked for, and times reading, encoding and splitting apart. Beside it
stands the most memory that it took, the text itself included: with --megabytes 200 --repeats 1 the claim is 15 seconds
and 6 bytes a character.
"""

from __future__ import annotations

import argparse
from statistics import median
from time import perf_counter

from rich.console import Console
from rich.table import Table

from backproof.text import make_examples, parse_corpus, read_corpus, split_examples, vocabulary_of
from measuring.machine import peak_bytes


def measure(megabytes: float, repeats: int) -> dict[str, list[float]]:
    """Megabytes a second of each stage, one figure a repeat."""
    names = "\n".join(read_corpus("embedded").words).encode() + b"\n"
    data = names * max(1, round(megabytes * 1e6 / len(names)))
    rates: dict[str, list[float]] = {"read and check": [], "find the symbols": [], "encode": [], "split and encode": []}
    for _ in range(repeats):
        marks = [perf_counter()]
        corpus = parse_corpus(data, "benchmark")
        marks.append(perf_counter())
        vocabulary = vocabulary_of(corpus.words)
        marks.append(perf_counter())
        make_examples(corpus.words, vocabulary, block_size=3)
        marks.append(perf_counter())
        split_examples(corpus.words, vocabulary, block_size=3, seed=42)
        marks.append(perf_counter())
        for stage, start, end in zip(rates, marks, marks[1:], strict=False):
            rates[stage].append(len(data) / 1e6 / (end - start))
    return rates


def main() -> None:
    """Print one row a stage."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--repeats", type=int, default=7)
    arguments = parser.parse_args()
    table = Table("stage", "MB/s, median", "lowest", "highest", title=f"{arguments.megabytes:g} MB of names")
    before = peak_bytes()
    measured = measure(arguments.megabytes, arguments.repeats)
    for stage, rates in measured.items():
        table.add_row(stage, *(f"{figure(rates):.0f}" for figure in (median, min, max)))
    Console().print(table)
    ready = sum(arguments.megabytes / median(rates) for stage, rates in measured.items() if stage != "encode")
    memory = (peak_bytes() - before) / (arguments.megabytes * 1e6)
    print(f"Ready to train after {ready:.1f} s, {memory:.1f} bytes a character.")


if __name__ == "__main__":
    main()
