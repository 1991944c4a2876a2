"""Claim: a training step of the engine `fused` runs at the speed of the processor.

Command: python benchmarks/training_step.py [--threads 2] [--rounds 40] [--only "JAX scan" fused] [--data FILE]
One step at the published size (context 3, embedding 10, hidden 200, batch 32, float32, plain gradient descent) by every
means there is, with one thread or as many as are asked for, all taking turns in one process. The dense floor is
6 · n · H · (T·E + V) operations, what the six matrix products of a dense step cost one core, over the rate of fused
multiply-adds measured between the turns. Who does not arrive at the same parameters is not timed.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Generator

from backproof.engines import EngineError
from backproof.experiment import network_shape, prepare
from backproof.models.mlp import Parameters, Shape, initial_parameters
from backproof.text import Examples, read_corpus
from backproof.training.settings import Settings
from measuring import machine
from measuring.engine import Rival, native, steps_of
from measuring.rounds import CLOCKS, Spread, Timed, interleave, spread
from rivals import ONE_THREAD, RIVALS, UnavailableError, autograd_eager, by_threads

FLOOR = "dense floor"
GOAL_TO_FLOOR = 1.15  # the engine's time, at most so many floors
# At least so many engines: with one thread, and where everybody may use two.
GOALS = {"published loop": 100, "autograd eager": 40, "torch.compile": 25, "JAX scan": 4.5}
GOALS_OF_TWO = {"published loop": 95, "autograd eager": 38, "torch.compile": 16, "JAX scan": 5, ONE_THREAD: 1.75}

_CHECKED_STEPS = 20
_TOLERANCE = 5e-6
"""Largest difference from float64 after the checked steps, in units of the parameter's largest entry.

Measured: right rivals 4e-7; dC without one of a symbol's 32 rows 2e-4, db2 a thousandth too large 5e-4, the variance
with the other correction 2e-3.
"""
_RATE = 0.1
_BURSTS = 5  # of multiply-adds, 0.2 ms each; the best counts


@dataclass(frozen=True)
class Task:
    """What all rivals are given."""

    shape: Shape
    start: Parameters
    examples: Examples
    batch: int


@dataclass(frozen=True)
class Row:
    """A line of the table: microseconds a step, and ratios taken within each round."""

    name: str
    microseconds: Spread
    to_floor: Spread
    to_fused: Spread | None
    steps_a_turn: int
    cores: float


def published_task(data: str) -> Task:
    """The published run's start on a corpus."""
    settings = Settings()
    vocabulary, splits = prepare(read_corpus(data), settings)
    shape = network_shape(settings, vocabulary)
    return Task(shape, initial_parameters(shape), splits.train, settings.batch_size)


def dense_operations(shape: Shape, batch: int) -> int:
    """Additions and multiplications of the matrix products of a step: two layers, once forward and twice backward."""
    return 6 * batch * shape.hidden * (shape.block_size * shape.embedding + shape.symbols)


def enter(names: list[str], task: Task, threads: int = 1) -> tuple[dict[str, Rival], dict[str, str], dict[str, str]]:
    """Those who may be timed; those who cannot run here and why; those who compute something else, and what."""
    truth = Parameters(*(tensor.double() for tensor in task.start))
    wanted = _after_steps(autograd_eager.create(task.shape, truth, task.examples), task)
    entered, absent, refused = {}, {}, {}
    for name in names:
        try:
            rival = by_threads(threads)[name](task.shape, task.start, task.examples)
        except (UnavailableError, EngineError) as reason:
            absent[name] = str(reason)
            continue
        if fault := disagreement(_after_steps(rival, task), wanted):
            refused[name] = fault
        else:
            entered[name] = rival
    return entered, absent, refused


def _after_steps(rival: Rival, task: Task) -> dict[str, torch.Tensor]:
    g = Generator().manual_seed(5)
    indices = torch.randint(0, len(task.examples), (_CHECKED_STEPS, task.batch), generator=g)
    losses = rival.run(indices, torch.full((_CHECKED_STEPS,), _RATE, dtype=torch.float64))
    return {**rival.parameters()._asdict(), "loss": losses}


def disagreement(got: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor]) -> str | None:
    """A sentence on the value that differs most, or None when all agree."""
    differences = {
        name: float((got[name].double() - wanted[name].double()).abs().max() / wanted[name].abs().max())
        for name in wanted
    }
    worst = max(differences, key=lambda name: (differences[name] != differences[name], differences[name]))
    if differences[worst] <= _TOLERANCE:
        return None
    return (
        f"after {_CHECKED_STEPS} steps {worst} differs from float64 by {differences[worst]:.1e} of its largest entry; "
        f"allowed: {_TOLERANCE:g}"
    )


def measure(entered: dict[str, Rival], task: Task, rounds: int, seconds_a_turn: float, clock: str) -> list[Row]:
    """One row a rival, after the row of the floor."""
    operations, peak = dense_operations(task.shape, task.batch), native().fma_peak
    turns = {name: steps_of(rival, len(task.examples), task.batch, _RATE) for name, rival in entered.items()}
    timed = interleave(turns, rounds, seconds_a_turn, clock, yardstick=lambda: peak(attempts=_BURSTS))
    floors = [operations / turn.yardstick for one in timed.values() for turn in one.turns]
    floor = Row(FLOOR, spread([f * 1e6 for f in floors]), Spread(1.0, 1.0, 1.0), None, 0, 1.0)
    return [floor, *(_row(name, timed, operations) for name in timed)]


def _row(name: str, timed: dict[str, Timed], operations: int) -> Row:
    steps, turns = timed[name]
    beside = timed["fused"].turns if "fused" in timed else []
    return Row(
        name,
        spread([turn.seconds * 1e6 for turn in turns]),
        spread([turn.seconds * turn.yardstick / operations for turn in turns]),
        spread([a.seconds / b.seconds for a, b in zip(turns, beside, strict=True)]) if beside else None,
        steps,
        spread([turn.cores for turn in turns]).median,
    )


def goal_of(row: Row, threads: int = 1) -> tuple[str, bool | None]:
    """What the row has to reach, and whether it does; None for a row without a goal."""
    if row.name == "fused" and threads == 1:
        return f"≤ {GOAL_TO_FLOOR} × floor", row.to_floor.median <= GOAL_TO_FLOOR
    goals = GOALS if threads == 1 else GOALS_OF_TWO
    if row.name in goals and row.to_fused:
        return f"≥ {goals[row.name]:g} × fused", row.to_fused.median >= goals[row.name]
    return "", None


def table(rows: list[Row], threads: int = 1) -> Table:
    """The rows as Markdown, so that they can be quoted as they are."""
    result = Table("who", "µs a step", "quartiles", "÷ floor", "÷ fused", "goal", "met", box=box.MARKDOWN)
    for column in result.columns[1:5]:
        column.justify = "right"
    for row in rows:
        goal, met = goal_of(row, threads)
        low, median, high = row.microseconds
        result.add_row(
            row.name,
            f"{median:,.1f}",
            f"{low:,.1f} to {high:,.1f}",
            f"{row.to_floor.median:.2f}",
            f"{row.to_fused.median:.2f}" if row.to_fused else "",
            goal,
            "" if met is None else "yes" if met else "no",
        )
    return result


def warnings(rows: list[Row], clock: str, threads: int = 1) -> list[str]:
    """What a reader has to know before believing the figures."""
    meant = "one was" if threads == 1 else f"{threads} were"
    found = [f"{row.name} kept {row.cores:.1f} cores busy; {meant} meant." for row in rows if row.cores > 1.1 * threads]
    if (share := min(row.cores for row in rows)) < 0.95 and clock == "wall":
        found.append(
            f"The machine was busy: some rival had only {share:.2f} of a core. Take the ratios, not the times, or "
            "measure again with --clock cpu."
        )
    return found


def main() -> int:
    """Print the table; exit with 1 when a rival computes something else, with 2 where `fused` is not built."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded", help="embedded, makemore or a file of words")
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--threads", type=int, default=1, help="how many each may use")
    parser.add_argument("--seconds-a-turn", type=float, default=0.075)
    parser.add_argument(
        "--only", nargs="+", choices=RIVALS, default=list(RIVALS), metavar="WHO", help=", ".join(RIVALS)
    )
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu leaves out what other processes take")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures too")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds has to be at least 1")
    if arguments.threads < 1:
        parser.error("--threads has to be at least 1")
    try:
        native()  # the floor needs it too
    except EngineError as error:
        print(error, file=sys.stderr)
        return 2
    threads = arguments.threads
    torch.set_num_threads(threads)
    task = published_task(arguments.data)
    names = arguments.only if threads == 1 else [*arguments.only, ONE_THREAD]
    entered, absent, refused = enter(names, task, threads)
    rows = measure(entered, task, arguments.rounds, arguments.seconds_a_turn, arguments.clock)

    console = Console(highlight=False, markup=False, soft_wrap=True)
    operations = dense_operations(task.shape, task.batch) / 1e6
    console.print(
        f"{operations:.2f} million operations a dense step; {threads} {'thread' if threads == 1 else 'threads'}, "
        f"{arguments.rounds} rounds of {arguments.seconds_a_turn * 1e3:g} ms a rival, {arguments.clock} clock."
    )
    agreeing = ", ".join(entered)
    console.print(f"Parameters agree to {_TOLERANCE:g} of float64 after {_CHECKED_STEPS} steps: {agreeing}.\n")
    Console(highlight=False, markup=False, width=max(console.width, 110)).print(table(rows, threads))
    for name, reason in absent.items():
        console.print(f"Not timed, {name}: {reason}")
    for name, fault in refused.items():
        console.print(f"Refused, {name}: {fault}")
    for warning in warnings(rows, arguments.clock, threads):
        console.print(warning)
    console.print(f"\n{machine.lines(machine.describe())}")
    if arguments.json:
        figures = {"rows": [asdict(row) for row in rows], "absent": absent, "refused": refused}
        machine.write_json(arguments.json, figures | {"clock": arguments.clock, "rounds": arguments.rounds})
    return 1 if refused else 0


if __name__ == "__main__":
    sys.exit(main())
