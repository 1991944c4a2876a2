"""Claim: nothing grows with the number of steps but the kept losses, 4 bytes a step; what is large keeps within bounds.

Command: python benchmarks/memory.py [--engine fused] [--steps 20000 200000 1000000] [--large] [--json FILE]
Trains the published network on the embedded names in processes of their own, runs of every length in turn, and
compares the most memory that each had resident, as the operating system counts it. Growth is from the shortest to
the longest run. `--large` takes instead: a text of 200 MB made ready to train on, whole runs of 20 steps with 60,000
symbols and with batches of 65,536, and each one's bound.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from rich import box
from rich.console import Console
from rich.table import Table

from measuring import machine

GOAL = 4.0  # bytes a step
SLACK = 2 << 20
"""Bytes that chance may add: the clock decides how many steps a chunk has, at three quarters of a kilobyte each.

The longer the longest run, the less it matters: about 2 bytes a step for a million steps.
"""
_MOST = 3 * 2**29  # 1.5 GiB, beside twice the parameters


def peak_of_a_run(engine_name: str, steps: int) -> int:
    """Train in this process, and return the most bytes that it ever had resident."""
    import torch
    from torch import Generator

    from backproof import engines
    from backproof.experiment import network_shape, prepare
    from backproof.models.mlp import initial_parameters
    from backproof.text import read_corpus
    from backproof.training import loop
    from backproof.training.settings import Settings

    torch.set_num_threads(1)
    settings = Settings(steps=steps)
    vocabulary, splits = prepare(read_corpus("embedded"), settings)
    shape, generator = network_shape(settings, vocabulary), Generator().manual_seed(settings.seed)
    trained = engines.create(engine_name, shape, initial_parameters(shape, generator), splits.train)
    outcome = loop.run(trained, len(splits.train), settings, generator)
    assert len(outcome.losses) == steps
    return machine.peak_bytes()


def peaks(engine_name: str, steps: list[int], repeats: int) -> list[list[int]]:
    """Bytes of every run, a list a length; the lengths take turns."""
    measured: list[list[int]] = [[] for _ in steps]
    for _ in range(repeats):
        for peaks_of_one, count in zip(measured, steps, strict=True):
            peaks_of_one.append(
                _in_a_process(f"A run of {count:,} steps", "--engine", engine_name, "--child", str(count))
            )
    return measured


def _in_a_process(what: str, *arguments: str) -> int:
    done = subprocess.run([sys.executable, __file__, *arguments], capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{what} failed: {done.stderr.strip().splitlines()[-1]}")
    return int(done.stdout)


def ready_to_train(size: int) -> int:
    """Bytes that a text of `size` bytes takes at the most until it can be trained on, itself included."""
    from backproof.experiment import prepare
    from backproof.text import parse_corpus, read_corpus
    from backproof.training.settings import Settings

    names = "\n".join(read_corpus("embedded").words).encode() + b"\n"
    before = machine.peak_bytes()
    prepare(parse_corpus(names * (size // len(names)), "benchmark"), Settings())
    return machine.peak_bytes() - before


def whole_run(symbols: int, batch_size: int) -> int:
    """The most bytes that this process had resident after 20 steps and all that comes after them."""
    from backproof.experiment import train
    from backproof.text import parse_corpus
    from backproof.training.settings import Settings

    letters = [letter for letter in map(chr, range(0x61, 0x20000)) if letter.isalpha()][: symbols - 1]
    words = ["".join(letters[at : at + 5]) for at in range(0, len(letters), 5)]
    train(parse_corpus("\n".join(words * (1 + 1000 // len(words))).encode(), "benchmark"), Settings(20, batch_size))
    return machine.peak_bytes()


LARGE: dict[str, tuple[Callable[[], int], int]] = {
    "a text of 200 MB": (partial(ready_to_train, 200_000_000), 6 * 200_000_000),
    "60,000 symbols": (partial(whole_run, 60_000, 32), _MOST + 2 * 4 * 60_000 * (10 + 200 + 1)),
    "batches of 65,536": (partial(whole_run, 27, 65_536), _MOST),
}
"""How to measure each large case, and the most bytes that it may have."""


def show_large(console: Console) -> dict[str, int]:
    """Measure every large case in a process of its own, and print one row each."""
    measured = {name: _in_a_process(name, "--child", name) for name in LARGE}
    table = Table("", "peak MiB", "at most", "", box=box.MARKDOWN)
    for name, peak in measured.items():
        most = LARGE[name][1]
        table.add_row(name, *(f"{size / 2**20:,.0f}" for size in (peak, most)), "met" if peak <= most else "not met")
    console.print(table)
    return measured


def growth(measured: list[list[int]], steps: list[int]) -> float:
    """Bytes a step from the shortest to the longest run, by their medians."""
    return (median(measured[-1]) - median(measured[0])) / (steps[-1] - steps[0])


def allowance(steps: list[int]) -> float:
    """Bytes a step that chance may add."""
    return SLACK / (steps[-1] - steps[0])


def main() -> None:
    """Print one row a length, or one a large case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="fused")
    parser.add_argument("--steps", type=int, nargs="+", default=[20_000, 200_000, 1_000_000])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="a large text, many symbols, large batches; two minutes")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures too")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child is not None:
        print(
            LARGE[arguments.child][0]()
            if arguments.child in LARGE
            else peak_of_a_run(arguments.engine, int(arguments.child))
        )
        return
    steps = sorted(set(arguments.steps))
    if len(steps) < 2 or steps[0] < 1 or arguments.repeats < 1:
        parser.error("--steps has to be two numbers or more, all of them at least 1, and --repeats at least 1")
    console = Console(highlight=False, markup=False)
    figures = (
        show_large(console) if arguments.large else show_growth(console, arguments.engine, steps, arguments.repeats)
    )
    console.print(f"\n{machine.lines(machine.describe())}", soft_wrap=True)
    if arguments.json:
        machine.write_json(arguments.json, figures)


def show_growth(console: Console, engine_name: str, steps: list[int], repeats: int) -> dict[str, object]:
    """Measure runs of every length, and print one row each."""
    measured = peaks(engine_name, steps, repeats)
    table = Table("steps", "peak MiB, median", "lowest", "highest", box=box.MARKDOWN)
    for count, values in zip(steps, measured, strict=True):
        table.add_row(f"{count:,}", *(f"{figure(values) / 2**20:.2f}" for figure in (median, min, max)))
    bytes_a_step, chance = growth(measured, steps), allowance(steps)
    console.print(table)
    console.print(
        f"The engine {engine_name} grows by {bytes_a_step:.1f} bytes a step, give or take {chance:.1f} (goal: "
        f"{GOAL:g}, {'met' if bytes_a_step <= GOAL + chance else 'not met'}).",
        soft_wrap=True,
    )
    figures: dict[str, object] = {"engine": engine_name, "bytes_a_step": bytes_a_step}
    return figures | dict(zip(map(str, steps), measured, strict=True))


if __name__ == "__main__":
    main()
