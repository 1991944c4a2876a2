"""`backproof sweep`: many models at once, over seeds or over a grid of settings."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from backproof.cli.console import complain, console, heading, print_corpus, this_command
from backproof.cli.sweep_display import sweep_display
from backproof.cli.sweep_table import plus_minus, summary_table, table_of_runs
from backproof.sweep.plan import Plan, make_plan
from backproof.sweep.records import FILE
from backproof.training.settings import Settings

if TYPE_CHECKING:
    from backproof.sweep.records import Sweep

_FAILED, _INTERRUPTED = 1, 130
_Integers = Annotated[str, tyro.conf.arg(metavar="INT,...")]
_Numbers = Annotated[str, tyro.conf.arg(metavar="FLOAT,...")]


@dataclass(frozen=True)
class Grid:
    """The options of `train`. Where several numbers are given, with commas between, every combination is trained."""

    steps: _Integers = str(Settings.steps)
    """Steps of plain gradient descent."""
    batch_size: _Integers = str(Settings.batch_size)
    """Examples a step, at least 2."""
    hidden: _Integers = str(Settings.hidden)
    """Neurons of the hidden layer."""
    embedding: _Integers = str(Settings.embedding)
    """Numbers that stand for a symbol."""
    block_size: _Integers = str(Settings.block_size)
    """Symbols of context."""
    correction: _Integers = str(Settings.correction)
    """Variance of batch normalisation: 1 divides by n - 1 (published), 0 by n."""
    lr: _Numbers = str(Settings.lr)
    """Learning rate at first."""
    lr_drop_at: _Numbers = str(Settings.lr_drop_at)
    """When the learning rate drops, as a part of all steps."""
    lr_after: _Numbers = str(Settings.lr_after)
    """Learning rate after the drop."""
    seed: _Integers = str(Settings.seed)
    """Seed of the initial parameters and of the minibatches; --runs counts it up."""
    affine_seed: _Integers = str(Settings.affine_seed)
    """Seed of gain and bias; --runs counts it up."""
    split_seed: _Integers = str(Settings.split_seed)
    """Seed of the split into training, validation and test words; --runs leaves it as it is."""
    engine: str = Settings.engine
    """What does the work; one for all runs."""


@dataclass(frozen=True)
class SweepCommand:
    """Train many models at once, and compare their losses: mean and spread over seeds, for every point of a grid.

    Each run is an ordinary run in the sweep's folder, beside sweep.json. A run that fails does not stop the others.
    Ctrl-C saves what is there. Exits with 0 when all runs finished, 1 when one failed, 2 when it cannot be done so.

    Example: backproof sweep --runs 4 --lr 0.05,0.1 --hidden 100,200 --steps 20000
    """

    runs: int = 1
    """Models of each configuration. The k-th, from 0, adds k to --seed and to --affine-seed."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Models trained at the same time, each on one core; without it, as many as there are cores."""
    data: str = "embedded"
    """Words: embedded, makemore, or a UTF-8 file with one word a line."""
    grid: Grid = field(default_factory=Grid)
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the sweep; without it, runs/ and the time."""

    def run(self) -> int:
        from backproof import text
        from backproof.sweep.pool import team_size
        from backproof.sweep.run import run_sweep
        from backproof.training.folder import check_free, default_folder

        plan = make_plan(asdict(self.grid), self.runs)
        workers = team_size(self.workers, len(plan.members))
        folder = self.out or default_folder("-sweep")
        check_free(folder)
        corpus = text.read_corpus(self.data)
        print_corpus(corpus)
        heading(_announcement(plan, workers))
        try:
            with sweep_display(plan) as display:
                sweep = run_sweep(plan, corpus, folder, workers, display)
        except KeyboardInterrupt:
            if not (folder / FILE).exists():
                raise  # before the first run began
            return complain(f"Interrupted twice; the runs that were over are kept in {folder}.", _INTERRUPTED)
        if not sweep.outcomes:
            raise KeyboardInterrupt  # the same, with one Ctrl-C
        _print_sweep(sweep)
        return _verdict(sweep)


def _announcement(plan: Plan, workers: int) -> str:
    runs, points = len(plan.members), len(plan.configurations())
    over = f", {points} configurations" if points > 1 else ""
    return f"Training {_count(runs, 'model')}{over}, {workers} at a time"


def _print_sweep(sweep: Sweep) -> None:
    ended = sum(outcome.saved for outcome in sweep.outcomes.values())
    console.print(f"{_count(ended, 'model')} in {sweep.seconds:.1f} s.")
    heading("Loss after calibration on the training split (nats per symbol)")
    for line in table_of_runs(sweep):
        console.print(line)
    best = sweep.best()
    if best:
        heading(f"Mean {plus_minus()} standard deviation over the finished runs of a configuration")
        for line in summary_table(sweep):
            console.print(line)
    heading(f"The sweep is in {sweep.folder}")
    if best:
        console.print(f"Lowest validation loss: {sweep.plan.title(best)}.")
        console.print(f"Go on with: {this_command()} sample {sweep.folder / best.name} --start ma")


def _verdict(sweep: Sweep) -> int:
    code = 0
    for member, outcome in sweep.failures:
        code = complain(f"{sweep.plan.title(member)}: {outcome.reason.rstrip('.')}.", _FAILED)
    if sweep.status == "interrupted":
        saved = sum(outcome.saved for outcome in sweep.outcomes.values())
        left = len(sweep.plan.members) - len(sweep.outcomes)
        code = complain(f"Interrupted; {_count(saved, 'run')} saved, {left} not begun.", _INTERRUPTED)
    return code


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
