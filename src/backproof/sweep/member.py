"""One run of a sweep, from its last state to its folder: the same in a worker process here and on a cluster."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backproof.record import Rung
from backproof.sweep.events import Pace
from backproof.sweep.plan import Member
from backproof.sweep.records import End, Outcome
from backproof.training.errors import ModelFileError
from backproof.training.folder import FolderError

if TYPE_CHECKING:
    from backproof.experiment import Result
    from backproof.text import Corpus
    from backproof.training import loop
    from backproof.training.checkpoint import Checkpoint
    from backproof.word_experiment import WordResult

_SMOOTHED_OVER = 1000


class Task(NamedTuple):
    """A run to train in its folder: to its end, or `until` so many steps, after which it is measured.

    `rungs` are what it was measured by before; `every` is the number of seconds after which its state is saved;
    `threads` are the run's share of the cores.
    """

    member: Member
    folder: Path
    until: int | None = None
    rungs: tuple[Rung, ...] = ()
    every: float = 30.0
    threads: int = 1


def get_ready(corpus: Corpus, engine: str) -> None:
    """Import what training takes, and try the engine once. Raises EngineError, or CorpusError for too few words."""
    import torch

    from backproof import engines, experiment
    from backproof.models import mlp
    from backproof.training.settings import Settings

    tiny = Settings(hidden=1, embedding=1, block_size=1, engine=engine)
    vocabulary, splits = experiment.prepare(corpus, tiny)
    shape = experiment.network_shape(tiny, vocabulary)
    parameters = mlp.initial_parameters(shape, torch.Generator(), tiny.affine_seed)
    engines.create(tiny.engine, shape, parameters, splits.train)


def train_member(corpus: Corpus, task: Task, tell: Callable[[Pace], bool]) -> Outcome | None:
    """Train and save a run; what it came to stands in its folder, and only what broke is returned.

    `tell` hears how far it is, and returns whether it has to end there and be saved.
    """
    import torch

    from backproof.resumable import Resumable
    from backproof.runs import save_run
    from backproof.training.checkpoint import owned

    def report(progress: loop.Progress) -> bool:
        loss = float(progress.losses[-_SMOOTHED_OVER:].mean())
        return tell(Pace(progress.steps_done, loss, progress.steps_done / max(progress.seconds, 1e-9)))

    torch.set_num_threads(task.threads)
    try:
        with owned(task.folder):
            run = Resumable(task.folder, corpus, task.member.settings, _begun(task))
            result = run.train(report, every=task.every, until=task.until, threads=task.threads)
            if not len(result.step_losses):
                return None  # a signal came before the first step
            saved = save_run(result, task.folder, owned=True, rungs=(*task.rungs, *_measured(task, result)))
            if saved != task.folder:
                raise FolderError(f"{task.folder} was taken by another program meanwhile; the run is in {saved}.")
    except Exception as error:
        return Outcome(End.FAILED, reason=reason_of(error), details=traceback.format_exc())
    return None


def reason_of(error: Exception) -> str:
    """The sentence of an error of our own; of any other also its type, in one line."""
    ours = type(error).__module__.partition(".")[0] == "backproof"
    return " ".join((str(error) if ours else f"{type(error).__name__}: {error}").split())


def _begun(task: Task) -> Checkpoint | None:
    """The state to go on from; a run whose states are all damaged begins again."""
    from backproof.training import checkpoint

    try:
        found = checkpoint.last(task.folder)
    except ModelFileError:
        return None
    if found is not None and found.about.settings != task.member.settings:
        raise FolderError(f"{task.folder} holds a run with other settings; choose another folder with --out.")
    return found


def _measured(task: Task, result: Result | WordResult) -> list[Rung]:
    from backproof.experiment import Result
    from backproof.sweep.halving import cooled_loss

    if task.until is None or len(result.step_losses) != task.until:
        return []
    # A model of whole words has kept its best parameters, and needs no cooling.
    return [Rung(task.until, cooled_loss(result) if isinstance(result, Result) else result.losses.validation)]
