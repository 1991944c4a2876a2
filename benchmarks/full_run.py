"""Claim: the whole published run costs at most 1.3 times its kernel time, and 4 seconds.

Command: python benchmarks/full_run.py [--data FILE] [--engine fused] [--steps 200000] [--repeats 3] [--json FILE]
Runs `backproof train` as a person does, on a terminal with its live bar: data, training, calibration, evaluation, the
last proof, samples, pictures. Kernel time is what the same steps take in the engine alone, on minibatches drawn
beforehand, in a process that does nothing else; it is measured before and after every whole run.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Generator

from backproof.experiment import network_shape, prepare
from backproof.models.mlp import initial_parameters
from backproof.text import read_corpus
from backproof.training.settings import Settings
from measuring import machine
from measuring.engine import engine
from measuring.rounds import spread
from measuring.terminal import on_a_terminal

GOAL_FACTOR, GOAL_SECONDS = 1.3, 4.0
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_CHUNK = 4000  # steps handed to the engine at a time


@dataclass(frozen=True)
class Run:
    """Seconds: in the engine alone (mean of before and after), in the training loop, and of the whole process."""

    kernel: float
    loop: float
    whole: float

    @property
    def allowed(self) -> float:
        return GOAL_FACTOR * self.kernel + GOAL_SECONDS


def kernel_seconds(data: str, settings: Settings) -> float:
    """The steps of a run in the engine alone."""
    vocabulary, splits = prepare(read_corpus(data), settings)
    shape, generator = network_shape(settings, vocabulary), Generator().manual_seed(settings.seed)
    made = engine(settings.engine)(shape, initial_parameters(shape, generator), splits.train)
    rates, seconds = settings.rates(), 0.0
    for start in range(0, settings.steps, _CHUNK):
        chunk = rates[start : start + _CHUNK]
        indices = torch.randint(0, len(splits.train), (len(chunk), settings.batch_size), generator=generator)
        begun = perf_counter()
        made.run(indices, chunk)
        seconds += perf_counter() - begun
    return seconds


def whole_run(data: str, settings: Settings, folder: Path) -> tuple[float, float]:
    """Seconds of `backproof train` from start to exit, and of its training loop as run.json has it."""
    command = [
        sys.executable, "-m", "backproof", "train", "--data", data, "--engine", settings.engine,
        "--steps", str(settings.steps), "--out", str(folder),
    ]  # fmt: skip
    started = perf_counter()
    code, output = on_a_terminal(command)
    seconds = perf_counter() - started
    if code:
        message = " ".join(_COLOURS.sub("", output).split("backproof: ")[-1].split())  # the terminal broke its lines
        raise SystemExit(f"backproof train ended with {code}: {message}")
    return seconds, json.loads((folder / "run.json").read_text(encoding="utf-8"))["figures"]["seconds"]


def measure(data: str, settings: Settings, repeats: int) -> list[Run]:
    """Kernel and whole run in turn."""
    runs, before = [], kernel_seconds(data, settings)
    for _ in range(repeats):
        with TemporaryDirectory() as folder:
            whole, loop = whole_run(data, settings, Path(folder) / "run")
        after = kernel_seconds(data, settings)
        runs.append(Run((before + after) / 2, loop, whole))
        before = after
    return runs


def table(runs: list[Run]) -> Table:
    """A row a run, as Markdown."""
    result = Table("run", "kernel s", "training loop s", "whole process s", "allowed s", "met", box=box.MARKDOWN)
    for number, run in enumerate(runs, 1):
        times = (run.kernel, run.loop, run.whole, run.allowed)
        result.add_row(str(number), *(f"{time:.2f}" for time in times), "yes" if run.whole <= run.allowed else "no")
    return result


def main() -> None:
    """Print a row a run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded", help="embedded, makemore or a file of words")
    parser.add_argument("--engine", default="fused")
    parser.add_argument("--steps", type=int, default=Settings().steps)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures too")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats has to be at least 1")
    settings = Settings(steps=arguments.steps, engine=arguments.engine)
    torch.set_num_threads(1)
    runs = measure(arguments.data, settings, arguments.repeats)
    console = Console(highlight=False, markup=False)
    console.print(table(runs))
    over = spread([run.whole - run.allowed for run in runs]).median
    console.print(
        f"{settings.steps:,} steps with the engine {settings.engine}: the median run is {abs(over):.1f} s "
        f"{'over' if over > 0 else 'within'} the goal, {GOAL_FACTOR} × kernel + {GOAL_SECONDS:g} s.",
        soft_wrap=True,
    )
    console.print(f"\n{machine.lines(machine.describe())}", soft_wrap=True)
    if arguments.json:
        machine.write_json(arguments.json, [asdict(run) | {"allowed": run.allowed} for run in runs])


if __name__ == "__main__":
    main()
