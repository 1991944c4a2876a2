"""Claim: two workers train at least 1.8 times as many models an hour as one, on two free cores.

Command: python benchmarks/sweep_throughput.py
The same sweep with one and with two workers, turn about. "Steady" leaves out the workers' start (importing PyTorch,
once a sweep). The claim can only be seen on free cores: on a busy machine Linux gives all that one terminal started a
fixed share (autogroups), however many processes there are, and only the processor time a model tells something.
"""

from __future__ import annotations

import argparse
import os
import resource
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from backproof.sweep.plan import Plan, make_plan
from backproof.sweep.pool import Ended, Event, Started
from backproof.sweep.run import run_sweep
from backproof.text import read_corpus
from backproof.training.settings import Settings


class Figures(NamedTuple):
    """Of one sweep: models an hour, with and without the workers' start, and processor seconds a model."""

    hourly: float
    steady: float
    processor: float


def measure(plan: Plan, workers: int) -> Figures:
    """Do the sweep in a folder that is thrown away."""
    marks: list[float] = []

    def mark(event: Event) -> None:
        if isinstance(event, Started | Ended):
            marks.append(perf_counter())

    models, before, began = len(plan.members), _processor_seconds(), perf_counter()
    with TemporaryDirectory() as folder:
        sweep = run_sweep(plan, read_corpus(), Path(folder) / "sweep", workers, mark)
    assert not sweep.failures
    used = _processor_seconds() - before
    return Figures(3600 * models / (marks[-1] - began), 3600 * models / (marks[-1] - marks[0]), used / models)


def _processor_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)  # of processes that have ended, as the workers have by then
    return usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print one row for each number of workers, and the ratio of the medians."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()

    options = {name: str(value) for name, value in asdict(Settings(steps=arguments.steps)).items()}
    plan = make_plan(options, arguments.runs)
    figures: dict[int, list[Figures]] = {1: [], 2: []}
    for repeat in range(arguments.repeats):
        for workers in (1, 2) if repeat % 2 == 0 else (2, 1):
            figures[workers].append(measure(plan, workers))

    title = (
        f"{arguments.runs} models of {arguments.steps:,} steps, {arguments.repeats} times (median, lowest to highest)"
    )
    table = Table("workers", "models an hour", "steady", "processor s a model", title=title)
    for workers, each in figures.items():
        table.add_row(str(workers), *(_cell(column) for column in zip(*each, strict=True)))
    table.add_row("ratio", *(f"{_ratio(figures, lambda f, i=i: f[i]):.2f}" for i in range(3)))
    console = Console()
    console.print(table)
    console.print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f} at the end.")


def _cell(values: tuple[float, ...]) -> str:
    return f"{median(values):.3g} ({min(values):.3g} to {max(values):.3g})"


def _ratio(figures: dict[int, list[Figures]], pick: Callable[[Figures], float]) -> float:
    return median(map(pick, figures[2])) / median(map(pick, figures[1]))


if __name__ == "__main__":
    main()
