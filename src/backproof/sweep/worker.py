"""A worker process: reads the words once, then trains and saves one run after the other, with one thread.

What goes through the pipe: settings and folders down, small records up, never a model. A None from above, or the end
of the pipe because the parent is gone, means: end the run at hand as Ctrl-C would, save it, and go.
"""

from __future__ import annotations

import signal
import traceback
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from backproof.sweep.records import End, Outcome, SplitLosses
from backproof.training.settings import Settings

if TYPE_CHECKING:
    from backproof.experiment import Result
    from backproof.text import Corpus
    from backproof.training import loop

_SMOOTHED_OVER = 1000


class Job(NamedTuple):
    """What all runs of a sweep share; a worker refuses words whose SHA-256 is another."""

    data: str
    sha256: str
    engine: str


class Task(NamedTuple):
    """One run to train, and where to save it."""

    settings: Settings
    folder: Path


class Ready(NamedTuple):
    """The worker has read the words, its engine exists, and it waits for a task."""


class Unfit(NamedTuple):
    """The worker cannot train anything of this job."""

    reason: str


class Pace(NamedTuple):
    """How far a run is: `loss` is the mean of its last 1,000 steps."""

    steps_done: int
    loss: float
    steps_a_second: float


def serve(pipe: Connection, job: Job) -> None:
    """Answer tasks until None or the end of the pipe; the whole life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # only the training loop listens to it, see _end_this_run
    # Suppressed: the parent has gone, or Ctrl-C was pressed twice; there is nobody left to tell.
    with suppress(EOFError, OSError, KeyboardInterrupt):
        try:
            corpus = _get_ready(job)
        except Exception as error:
            pipe.send(Unfit(_reason(error)))
            return
        pipe.send(Ready())
        while (task := pipe.recv()) is not None:
            pipe.send(_train(corpus, task, pipe))


def _get_ready(job: Job) -> Corpus:
    import torch

    from backproof import engines, experiment, text
    from backproof.models import mlp

    torch.set_num_threads(1)  # the workers share the cores
    corpus = text.read_corpus(job.data)
    if corpus.sha256 != job.sha256:
        raise text.CorpusError(f"{job.data} has changed since the sweep began; start it again.")
    tiny = Settings(hidden=1, embedding=1, block_size=1, engine=job.engine)  # is there such an engine? once, and now
    vocabulary, splits = experiment.prepare(corpus, tiny)
    shape = experiment.network_shape(tiny, vocabulary)
    parameters = mlp.initial_parameters(shape, torch.Generator(), tiny.affine_seed)
    engines.create(tiny.engine, shape, parameters, splits.train)
    return corpus


def _train(corpus: Corpus, task: Task, pipe: Connection) -> Outcome:
    from backproof import experiment
    from backproof.runs import save_run

    def report(progress: loop.Progress) -> None:
        if pipe.poll():
            _end_this_run()
            return
        loss = float(progress.losses[-_SMOOTHED_OVER:].mean())
        with suppress(OSError):  # the parent has just gone: the next poll will say so
            pipe.send(Pace(progress.steps_done, loss, progress.steps_done / max(progress.seconds, 1e-9)))

    try:
        result = experiment.train(corpus, task.settings, report)
        save_run(result, task.folder)
    except Exception as error:
        return Outcome(End.FAILED, reason=_reason(error), details=traceback.format_exc())
    return _outcome(result)


def _end_this_run() -> None:
    """Let the training loop see what it would see on Ctrl-C.

    On a terminal Ctrl-C has reached it directly as well, and it takes a second one for impatience: suppressed.
    """
    with suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def _outcome(result: Result) -> Outcome:
    end, steps = End(result.status.value), len(result.step_losses)
    losses = SplitLosses(result.losses.train, result.losses.validation, result.losses.test)
    reason = f"interrupted after step {steps:,}" if end is End.INTERRUPTED else result.divergence
    return Outcome(end, steps, result.seconds, losses if end is End.FINISHED else None, True, reason)


def _reason(error: Exception) -> str:
    """The sentence of an error of our own; of any other also its type, in one line."""
    ours = type(error).__module__.partition(".")[0] == "backproof"
    return " ".join((str(error) if ours else f"{type(error).__name__}: {error}").split())
