"""Claim: `fused` beats PyTorch's best eager way at every size, and is never slower than it is with one thread.

Command: python benchmarks/scaling.py [--quick] [--busy] [--json FILE] [--picture FILE]
A step over hidden × batch, over vocabularies and over block sizes; the other sizes stay the published ones. The rivals
take turns: `fused` with one thread and with as many as it likes, `eager` with one and with all. Text: the embedded
names for 27 symbols, random words with symbol k as often as 1/k for more. A ratio is the median of the rounds' own.
`--busy` takes two of the sizes, with another process at work on every core, and longer turns.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path

import numpy as np
import torch
from rich import box
from rich.console import Console
from rich.table import Table

from backproof.engines import EngineError
from backproof.models.mlp import Shape, initial_parameters
from backproof.text import Examples, make_examples, read_corpus, vocabulary_of
from measuring import machine
from measuring.engine import engine, native, steps_of
from measuring.rounds import CLOCKS, Prepare, Timed, interleave, spread

GOAL, GOAL_BUSY = 1.05, 1.15  # of the time of one thread, at most
GOAL_LARGE = 1.85  # times as fast with two threads as with one, at least, where a step is large

HIDDEN, BATCH = (64, 200, 512, 1024, 4096), (2, 32, 256, 1024)
VOCABULARY, BLOCK = (27, 256, 4096, 65535), (1, 3, 8, 16)

_NAMES_SYMBOLS = 27
_RANDOM_WORDS = 60_000
_RATE = 1e-4  # small, so that no size diverges: time a step does not depend on it
_ROUNDS, _SECONDS_A_TURN = 15, 0.03
_SECONDS_A_BUSY_TURN = 1.0  # hundreds of times as long as the system leaves a process on a core
_LARGE_HIDDEN, _LARGE_BATCH, _LARGE_SYMBOLS = 512, 256, 4096
_ALONE, _ONE, _ALL = "fused, 1 thread", "eager, 1 thread", "eager, all threads"


@dataclass(frozen=True)
class Cell:
    """One size: medians in microseconds a step, and ratios to the engine's with as many threads as it likes."""

    hidden: int
    batch: int
    symbols: int
    block_size: int
    fused: float
    fused_one_thread: float
    eager_one_thread: float
    eager_all_threads: float
    pytorch_to_fused: float
    one_thread_to_fused: float
    rounds: int

    @property
    def large(self) -> bool:
        """Whether two threads are to be nearly twice as fast."""
        return self.symbols >= _LARGE_SYMBOLS or (self.hidden >= _LARGE_HIDDEN and self.batch >= _LARGE_BATCH)


def text_of(symbols: int, block_size: int) -> Examples:
    """Words over an alphabet of this size."""
    if symbols == _NAMES_SYMBOLS:
        words = read_corpus("embedded").words
        return make_examples(words, vocabulary_of(words), block_size)
    rng = np.random.default_rng(0)
    weights = 1 / np.arange(1, symbols)
    drawn = rng.choice(np.arange(1, symbols), size=_RANDOM_WORDS * 6, p=weights / weights.sum())
    drawn[rng.random(len(drawn)) < 1 / 7] = 0  # a word ends
    dtype = np.min_scalar_type(symbols - 1)
    return Examples(np.concatenate([np.zeros(block_size, dtype), drawn.astype(dtype)]), block_size)


def measure(shape: Shape, batch: int, seconds: float, clock: str = "wall", turn: float = _SECONDS_A_TURN) -> Cell:
    """Time everybody at one size, for about `seconds` and at least three rounds."""
    examples, cores = text_of(shape.symbols, shape.block_size), os.cpu_count() or 1
    start = initial_parameters(shape)
    contestants = {
        name: _with_threads(
            threads, steps_of(engine(kind, threads)(shape, start, examples), len(examples), batch, _RATE)
        )
        for name, kind, threads in (
            ("fused", "fused", cores),
            (_ALONE, "fused", 1),
            (_ONE, "eager", 1),
            (_ALL, "eager", cores),
        )
    }
    before = torch.get_num_threads()
    try:
        timed = interleave(contestants, _ROUNDS, turn, clock, seconds_at_most=seconds)
    finally:
        torch.set_num_threads(before)
    return _cell(shape, batch, timed)


def _with_threads(threads: int, prepare: Prepare) -> Prepare:
    def prepared(steps: int) -> Callable[[], object]:
        work = prepare(steps)

        def with_threads() -> object:
            torch.set_num_threads(threads)
            return work()

        return with_threads

    return prepared


def _cell(shape: Shape, batch: int, timed: dict[str, Timed]) -> Cell:
    seconds = {name: [turn.seconds for turn in one.turns] for name, one in timed.items()}
    median = {name: spread(values).median for name, values in seconds.items()}

    def to_fused(name: str) -> float:
        return spread([x / y for x, y in zip(seconds[name], seconds["fused"], strict=True)]).median

    return Cell(
        shape.hidden, batch, shape.symbols, shape.block_size,
        fused=median["fused"] * 1e6,
        fused_one_thread=median[_ALONE] * 1e6,
        eager_one_thread=median[_ONE] * 1e6,
        eager_all_threads=median[_ALL] * 1e6,
        pytorch_to_fused=to_fused(min((_ONE, _ALL), key=median.__getitem__)),
        one_thread_to_fused=to_fused(_ALONE),
        rounds=len(seconds["fused"]),
    )  # fmt: skip


def sizes(quick: bool) -> dict[str, list[tuple[Shape, int]]]:
    """Shape and batch of every cell of the three sweeps; quick takes the corners."""

    def some(values: tuple[int, ...]) -> tuple[int, ...]:
        return (values[0], values[1], values[-1]) if quick else values

    return {
        "hidden × batch": [(Shape(hidden=h), n) for h in some(HIDDEN) for n in some(BATCH)],
        "vocabulary": [(Shape(symbols=v), 32) for v in some(VOCABULARY)],
        "block size": [(Shape(block_size=t), 32) for t in some(BLOCK)],
    }


BUSY = {"busy": [(Shape(), 32), (Shape(hidden=1024), 256)]}


def table(cells: dict[str, list[Cell]]) -> Table:
    """A row a size, as Markdown."""
    result = Table(
        "hidden", "batch", "symbols", "block", "fused µs", "1 thread", "eager µs, 1 thread", "all threads",
        "PyTorch ÷ fused", "1 thread ÷ fused", box=box.MARKDOWN,
    )  # fmt: skip
    for column in result.columns:
        column.justify = "right"
    for cell in (cell for sweep in cells.values() for cell in sweep):
        result.add_row(
            *(f"{size:,}" for size in (cell.hidden, cell.batch, cell.symbols, cell.block_size)),
            *(
                f"{one:,.1f}"
                for one in (cell.fused, cell.fused_one_thread, cell.eager_one_thread, cell.eager_all_threads)
            ),
            f"{cell.pytorch_to_fused:.2f}",
            f"{cell.one_thread_to_fused:.2f}",
        )
    return result


def summary(cells: dict[str, list[Cell]], *, busy: bool = False) -> str:
    """Where the engine wins, and whether its threads keep to their goals."""
    all_cells = [cell for sweep in cells.values() for cell in sweep]
    wins = sum(cell.pytorch_to_fused > 1 for cell in all_cells)
    worst, most = max(1 / cell.one_thread_to_fused for cell in all_cells), GOAL_BUSY if busy else GOAL
    parts = [
        f"fused is the faster one in {wins} of {len(all_cells)} sizes.",
        f"It takes at most {worst:.2f} of the time of one thread (goal: {most}, {_met(worst <= most)}).",
    ]
    large = [cell.one_thread_to_fused for cell in all_cells if cell.large]
    if large and not busy:
        parts.append(
            f"At the {len(large)} large sizes it is {min(large):.2f} to {max(large):.2f} times as fast as one thread "
            f"(goal: {GOAL_LARGE} with two, {_met(min(large) >= GOAL_LARGE)})."
        )
    return " ".join(parts)


def _met(met: bool) -> str:
    return "met" if met else "not met"


@contextmanager
def others_at_work(count: int) -> Iterator[None]:
    """So many processes that want a core each."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def draw(cells: dict[str, list[Cell]], path: Path) -> None:
    """Heat maps of PyTorch's time over the engine's: red where the engine wins, blue where it loses."""
    from matplotlib.colors import TwoSlopeNorm
    from matplotlib.figure import Figure

    columns_of = {"hidden × batch": "batch", "vocabulary": "symbols", "block size": "block_size"}
    figure = Figure(figsize=(8, 8), dpi=110, layout="constrained")
    panels = figure.subplots(3, 1, height_ratios=[len({c.hidden for c in cells["hidden × batch"]}) + 0.5, 1, 1])
    ratios = [np.log10(cell.pytorch_to_fused) for sweep in cells.values() for cell in sweep]
    norm = TwoSlopeNorm(0, min(min(ratios), -0.3), max(max(ratios), 0.3))
    for axes, (name, column) in zip(panels, columns_of.items(), strict=True):
        columns = sorted({getattr(cell, column) for cell in cells[name]})
        rows = sorted({cell.hidden for cell in cells[name]})
        grid = np.full((len(rows), len(columns)), np.nan)
        for cell in cells[name]:
            grid[rows.index(cell.hidden), columns.index(getattr(cell, column))] = cell.pytorch_to_fused
        axes.imshow(np.log10(grid), cmap="RdBu_r", norm=norm, aspect="auto")
        for (i, j), ratio in np.ndenumerate(grid):
            strong = abs(norm(np.log10(ratio)) - 0.5) > 0.3
            axes.text(j, i, f"{ratio:.1f}×", ha="center", va="center", color="white" if strong else "#24292f")
        axes.set_xticks(range(len(columns)), [f"{value:,}" for value in columns])
        axes.set_yticks(range(len(rows)), [f"{value:,}" for value in rows])
        axes.set_xlabel(column.replace("_", " ") + ("" if column == "batch" else f", at batch {cells[name][0].batch}"))
        axes.set_ylabel("hidden")
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
    figure.suptitle("PyTorch's best eager step ÷ fused step (above 1: fused is faster)")
    figure.savefig(path)


def main() -> int:
    """Print a row a size; exit with 2 where `fused` is not built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the corners only, in about half a minute")
    parser.add_argument("--busy", action="store_true", help="with another process at work on every core")
    parser.add_argument("--seconds", type=float, default=5.0, help="for each size, at most (default 5)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu counts the time of all threads together")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures too")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the ratios (PNG, SVG or PDF)")
    arguments = parser.parse_args()
    if arguments.busy and arguments.picture:
        parser.error("there is no picture of --busy; leave one of the two out")
    try:
        native()
    except EngineError as error:
        print(error, file=sys.stderr)
        return 2
    seconds = min(arguments.seconds, 1.5) if arguments.quick else arguments.seconds
    turn = _SECONDS_A_TURN
    if arguments.busy:
        seconds, turn = inf, _SECONDS_A_BUSY_TURN
    errors = Console(stderr=True, highlight=False)
    cells: dict[str, list[Cell]] = {}
    with others_at_work((os.cpu_count() or 1) if arguments.busy else 0):
        for name, sweep in (BUSY if arguments.busy else sizes(arguments.quick)).items():
            cells[name] = []
            for shape, batch in sweep:
                if errors.is_terminal:
                    errors.print(f"{name}: {shape}, batch {batch}", soft_wrap=True)
                cells[name].append(measure(shape, batch, seconds, arguments.clock, turn))
    console = Console(highlight=False, markup=False)
    Console(highlight=False, markup=False, width=max(console.width, 130)).print(table(cells))
    console.print(summary(cells, busy=arguments.busy), soft_wrap=True)
    console.print(f"\n{machine.lines(machine.describe())}", soft_wrap=True)
    if arguments.picture:
        draw(cells, arguments.picture)
    if arguments.json:
        machine.write_json(arguments.json, {name: [asdict(cell) for cell in sweep] for name, sweep in cells.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
