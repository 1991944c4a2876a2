"""Claim: `fused` beats PyTorch's best eager way at small sizes, and `auto` never takes the slower engine.

Command: python benchmarks/scaling.py [--quick] [--json FILE] [--picture FILE]
A step over hidden × batch, over vocabularies and over block sizes; the other sizes stay the published ones. The rivals
take turns: `fused` (one thread), `eager` with one thread and with all, and `auto` with all. Text: the embedded
names for 27 symbols, random words with symbol k as often as 1/k for more. A ratio is the median of the rounds' own.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
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

GOAL_AUTO = 1.05  # of the better engine's time, at most

HIDDEN, BATCH = (64, 200, 512, 1024, 4096), (2, 32, 256, 1024)
VOCABULARY, BLOCK = (27, 256, 4096, 65535), (1, 3, 8, 16)

_NAMES_SYMBOLS = 27
_RANDOM_WORDS = 60_000
_RATE = 1e-4  # small, so that no size diverges: time a step does not depend on it
_ROUNDS, _SECONDS_A_TURN = 15, 0.03
_ONE, _ALL = "eager, 1 thread", "eager, all threads"


@dataclass(frozen=True)
class Cell:
    """One size: medians in microseconds a step, and ratios; `auto` is None where there is no such engine."""

    hidden: int
    batch: int
    symbols: int
    block_size: int
    fused: float
    eager_one_thread: float
    eager_all_threads: float
    auto: float | None
    pytorch_to_fused: float
    auto_to_better: float | None
    rounds: int


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


def measure(shape: Shape, batch: int, seconds: float, clock: str = "wall", rounds: int = _ROUNDS) -> Cell:
    """Time all engines at one size, for about `seconds` and at least three rounds."""
    examples, cores = text_of(shape.symbols, shape.block_size), os.cpu_count() or 1
    start = initial_parameters(shape)
    contestants: dict[str, Prepare] = {}
    for name, engine_name, threads in (
        ("fused", "fused", 1), (_ONE, "eager", 1), (_ALL, "eager", cores), ("auto", "auto", cores)
    ):  # fmt: skip
        try:
            made = engine(engine_name)(shape, start, examples)
        except EngineError:
            if engine_name != "auto":
                raise
            continue
        contestants[name] = _with_threads(threads, steps_of(made, len(examples), batch, _RATE))
    before = torch.get_num_threads()
    try:
        timed = interleave(contestants, rounds, _SECONDS_A_TURN, clock, seconds_at_most=seconds)
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
    better_eager = min((_ONE, _ALL), key=median.__getitem__)
    better = min(("fused", _ALL), key=median.__getitem__)  # what `auto` has to choose from, as a user has it

    def ratio(a: str, b: str) -> float:
        return spread([x / y for x, y in zip(seconds[a], seconds[b], strict=True)]).median

    return Cell(
        shape.hidden, batch, shape.symbols, shape.block_size,
        median["fused"] * 1e6, median[_ONE] * 1e6, median[_ALL] * 1e6,
        median["auto"] * 1e6 if "auto" in median else None,
        ratio(better_eager, "fused"),
        ratio("auto", better) if "auto" in median else None,
        len(seconds["fused"]),
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


def table(cells: dict[str, list[Cell]]) -> Table:
    """A row a size, as Markdown."""
    result = Table(
        "hidden", "batch", "symbols", "block", "fused µs", "eager µs, 1 thread", "all threads", "PyTorch ÷ fused",
        "auto ÷ better", box=box.MARKDOWN,
    )  # fmt: skip
    for column in result.columns:
        column.justify = "right"
    for cell in (cell for sweep in cells.values() for cell in sweep):
        result.add_row(
            *(f"{size:,}" for size in (cell.hidden, cell.batch, cell.symbols, cell.block_size)),
            *(f"{time:,.1f}" for time in (cell.fused, cell.eager_one_thread, cell.eager_all_threads)),
            f"{cell.pytorch_to_fused:.2f}",
            "" if cell.auto_to_better is None else f"{cell.auto_to_better:.2f}",
        )
    return result


def summary(cells: dict[str, list[Cell]]) -> str:
    """Where the engine wins, and whether `auto` keeps to its goal."""
    all_cells = [cell for sweep in cells.values() for cell in sweep]
    wins = sum(cell.pytorch_to_fused > 1 for cell in all_cells)
    first = f"fused is the faster one in {wins} of {len(all_cells)} sizes."
    autos = [cell.auto_to_better for cell in all_cells if cell.auto_to_better is not None]
    if not autos:
        return f"{first} There is no engine auto here, so its goal was not measured."
    met = "met" if max(autos) <= GOAL_AUTO else "not met"
    return f"{first} auto takes at most {max(autos):.2f} of the better engine's time (goal: {GOAL_AUTO}, {met})."


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
    parser.add_argument("--seconds", type=float, default=5.0, help="for each size, at most (default 5)")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu counts the time of all threads together")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures too")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the ratios (PNG, SVG or PDF)")
    arguments = parser.parse_args()
    try:
        native()
    except EngineError as error:
        print(error, file=sys.stderr)
        return 2
    seconds = min(arguments.seconds, 1.5) if arguments.quick else arguments.seconds
    errors = Console(stderr=True, highlight=False)
    cells: dict[str, list[Cell]] = {}
    for name, sweep in sizes(arguments.quick).items():
        cells[name] = []
        for shape, batch in sweep:
            if errors.is_terminal:
                errors.print(f"{name}: {shape}, batch {batch}", soft_wrap=True)
            cells[name].append(measure(shape, batch, seconds, arguments.clock))
    console = Console(highlight=False, markup=False)
    Console(highlight=False, markup=False, width=max(console.width, 130)).print(table(cells))
    console.print(summary(cells), soft_wrap=True)
    console.print(f"\n{machine.lines(machine.describe())}", soft_wrap=True)
    if arguments.picture:
        draw(cells, arguments.picture)
    if arguments.json:
        machine.write_json(arguments.json, {name: [asdict(cell) for cell in sweep] for name, sweep in cells.items()})
    return 0


if __name__ == "__main__":
    sys.exit(main())
