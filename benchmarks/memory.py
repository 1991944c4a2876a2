"""Claim: nothing grows with the number of steps but the kept losses, 4 bytes a step.

Command: python benchmarks/memory.py [--engine fused] [--steps 20000 200000 1000000] [--repeats 3] [--json FILE]
Trains the published network on the embedded names in processes of their own, runs of every length in turn, and
compares the most memory that each had resident, as the operating system counts it. Growth is from the shortest to
the longest run.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from measuring import machine
from measuring.engine import engine

GOAL = 4.0  # bytes a step
SLACK = 2 << 20
"""Bytes that chance may add: the clock decides how many steps a chunk has, at three quarters of a kilobyte each.

The longer the longest run, the less it matters: about 2 bytes a step for a million steps.
"""


def peak_of_a_run(engine_name: str, steps: int) -> int:
    """Train in this process, and return the most bytes that it ever had resident."""
    import torch
    from torch import Generator

    from backproof.experiment import network_shape, prepare
    from backproof.models.mlp import initial_parameters
    from backproof.text import read_corpus
    from backproof.training import loop
    from backproof.training.settings import Settings

    torch.set_num_threads(1)
    settings = Settings(steps=steps)
    vocabulary, splits = prepare(read_corpus("embedded"), settings)
    shape, generator = network_shape(settings, vocabulary), Generator().manual_seed(settings.seed)
    trained = engine(engine_name)(shape, initial_parameters(shape, generator), splits.train)
    outcome = loop.run(trained, len(splits.train), settings, generator)
    assert len(outcome.losses) == steps
    return machine.peak_bytes()


def peaks(engine_name: str, steps: list[int], repeats: int) -> list[list[int]]:
    """Bytes of every run, a list a length; the lengths take turns."""
    measured: list[list[int]] = [[] for _ in steps]
    for _ in range(repeats):
        for peaks_of_one, count in zip(measured, steps, strict=True):
            command = [sys.executable, __file__, "--engine", engine_name, "--child", str(count)]
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                raise SystemExit(f"A run of {count:,} steps failed: {done.stderr.strip().splitlines()[-1]}")
            peaks_of_one.append(int(done.stdout))
    return measured


def growth(measured: list[list[int]], steps: list[int]) -> float:
    """Bytes a step from the shortest to the longest run, by their medians."""
    return (median(measured[-1]) - median(measured[0])) / (steps[-1] - steps[0])


def allowance(steps: list[int]) -> float:
    """Bytes a step that chance may add."""
    return SLACK / (steps[-1] - steps[0])


def main() -> None:
    """Print one row a length."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="fused")
    parser.add_argument("--steps", type=int, nargs="+", default=[20_000, 200_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures too")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        print(peak_of_a_run(arguments.engine, arguments.child))
        return
    steps = sorted(set(arguments.steps))
    if len(steps) < 2 or steps[0] < 1 or arguments.repeats < 1:
        parser.error("--steps has to be two numbers or more, all of them at least 1, and --repeats at least 1")
    measured = peaks(arguments.engine, steps, arguments.repeats)
    table = Table("steps", "peak MiB, median", "lowest", "highest", box=box.MARKDOWN)
    for count, values in zip(steps, measured, strict=True):
        table.add_row(f"{count:,}", *(f"{figure(values) / 2**20:.2f}" for figure in (median, min, max)))
    bytes_a_step, chance = growth(measured, steps), allowance(steps)
    console = Console(highlight=False, markup=False)
    console.print(table)
    console.print(
        f"The engine {arguments.engine} grows by {bytes_a_step:.1f} bytes a step, give or take {chance:.1f} (goal: "
        f"{GOAL:g}, {'met' if bytes_a_step <= GOAL + chance else 'not met'}).",
        soft_wrap=True,
    )
    console.print(f"\n{machine.lines(machine.describe())}", soft_wrap=True)
    if arguments.json:
        figures = {"engine": arguments.engine, "bytes_a_step": bytes_a_step}
        machine.write_json(arguments.json, figures | dict(zip(map(str, steps), measured, strict=True)))


if __name__ == "__main__":
    main()
