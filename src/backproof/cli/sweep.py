"""`backproof sweep`: many models at once, over seeds or over a grid of settings."""

from __future__ import annotations

import signal
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from backproof.cli.console import complain, console, heading, print_corpus, this_command, working
from backproof.cli.sweep_display import sweep_display
from backproof.cli.sweep_table import plus_minus, summary_table, table_of_runs
from backproof.cli.train import EXERCISE, Models
from backproof.sweep.plan import Plan, SweepError, make_plan
from backproof.sweep.records import FILE
from backproof.training.settings import Settings

if TYPE_CHECKING:
    from backproof.sweep.records import Sweep

_FAILED = 1
_SIGNAL = 128  # what a shell adds to a signal's number for the exit code of whom it ended
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
    Ctrl-C saves what is there, and the same command with the same --out finishes what is missing, whatever stopped it.
    Exits with 0 when all runs finished, 1 when one failed, 2 when it cannot be done so.

    Example: backproof sweep --runs 4 --lr 0.05,0.1 --hidden 100,200 --steps 20000
    """

    runs: int = 1
    """Models of each configuration. The k-th, from 0, adds k to --seed and to --affine-seed."""
    workers: Annotated[int | None, tyro.conf.arg(metavar="INT")] = None
    """Models trained at the same time, each on one core; without it, as many as there are cores."""
    data: str = "embedded"
    """Words: embedded, makemore, or a UTF-8 file with one word a line."""
    model: Models = EXERCISE
    """Which network; --help behind it shows its own options."""
    grid: Grid = field(default_factory=Grid)
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the sweep; without it, runs/ and the time."""
    early_stop: Literal["none", "halving"] = "none"
    """halving: after a sixteenth, an eighth, a quarter and a half of the steps only the better half goes on."""
    scheduler: Annotated[str | None, tyro.conf.arg(metavar="ADDRESS")] = None
    """Train on the Dask cluster of this scheduler, as tcp://host:8786, in place of this machine."""
    shared: bool = False
    """The cluster sees --out under the same path: runs are saved there as they go, and not sent back at their end."""
    save_every: float = 30.0
    """Seconds after which the state of every run is saved again."""

    @property
    def plan(self) -> Plan:
        """The runs that the command asks for."""
        return make_plan(asdict(self.grid), self.runs)

    def run(self) -> int:
        from backproof import text
        from backproof.sweep.events import Event, Found
        from backproof.sweep.pool import team_size
        from backproof.sweep.run import Cluster, run_sweep
        from backproof.training.folder import default_folder
        from backproof.training.interrupt import ENDING, deferred_interrupt

        self._check()
        plan = self.plan
        workers = team_size(self.workers, len(plan.members))
        folder = self.out or default_folder("-sweep")
        with working("reading the words"):
            corpus = text.read_corpus(self.data)
        where = f"on {self.scheduler}" if self.scheduler else f"{workers} at a time"
        cluster = Cluster(self.scheduler, self.shared) if self.scheduler else None
        number = signal.SIGINT
        try:
            with deferred_interrupt(*ENDING) as interrupted, sweep_display(plan) as display:

                def show(event: Event) -> None:
                    if isinstance(event, Found):  # not before: until then it may be refused
                        print_corpus(corpus)
                        heading(_announcement(plan, where))
                    display(event)

                try:
                    sweep = run_sweep(
                        plan,
                        corpus,
                        folder,
                        workers,
                        show,
                        halving=self.early_stop == "halving",
                        cluster=cluster,
                        save_every=self.save_every,
                    )
                finally:
                    number = interrupted() or number
        except KeyboardInterrupt:
            if not (folder / FILE).exists():
                return complain("Interrupted; nothing was saved.", _SIGNAL + number)
            return complain(f"Interrupted twice; what was saved until then is kept. {_go_on(folder)}", _SIGNAL + number)
        if not sweep.outcomes:
            return complain("Interrupted; nothing was saved.", _SIGNAL + number)
        _print_sweep(sweep)
        return _verdict(sweep, _SIGNAL + number)

    def _check(self) -> None:
        if not self.save_every >= 0:
            raise SweepError(f"--save-every is {self.save_every}; it has to be at least 0 seconds.")
        if self.scheduler and self.workers is not None:
            raise SweepError("--workers are those of this machine, and --scheduler has its own; give one of them.")
        if self.shared and not self.scheduler:
            raise SweepError("--shared tells of a cluster; name its scheduler with --scheduler.")


def _go_on(folder: Path) -> str:
    return f"The same command with --out {folder} goes on."


def _announcement(plan: Plan, where: str) -> str:
    runs, points = len(plan.members), len(plan.configurations())
    over = f", {points} configurations" if points > 1 else ""
    return f"Training {_count(runs, 'model')}{over}, {where}"


def _print_sweep(sweep: Sweep) -> None:
    ended = sum(outcome.saved for outcome in sweep.outcomes.values())
    taken, all_steps = sweep.steps
    steps = f"; {taken:,} of {all_steps:,} steps" if sweep.halving else ""
    console.print(f"{_count(ended, 'model')} in {sweep.seconds:.1f} s{steps}.")
    calibrated = isinstance(sweep.plan.members[0].settings, Settings)
    heading(f"Loss{' after calibration on the training split' if calibrated else ''} (nats per symbol)")
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


def _verdict(sweep: Sweep, interrupted: int) -> int:
    code = 0
    for member, outcome in sweep.failures:
        code = complain(f"{sweep.plan.title(member)}: {outcome.reason.rstrip('.')}.", _FAILED)
    if sweep.status == "interrupted":
        saved = sum(outcome.saved for outcome in sweep.outcomes.values())
        left = len(sweep.plan.members) - len(sweep.outcomes)
        told = f"Interrupted; {_count(saved, 'run')} saved, {left} not begun."
        code = complain(f"{told} {_go_on(sweep.folder)}", interrupted)
    return code


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
