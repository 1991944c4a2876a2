"""A worker process of this machine: reads the words once, then trains and saves one run after the other.

What goes through the pipe: tasks down, small records up, never a model. A None from above means: end the run at hand
as Ctrl-C would, save it, and go. The process ends with its parent, on every system: what its run has come to since it
was last saved is lost then, and nothing writes into the sweep's folder any more.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from typing import NamedTuple

from backproof.sweep.events import Pace
from backproof.sweep.member import get_ready, reason_of, train_member
from backproof.sweep.records import Outcome
from backproof.training.interrupt import ENDING


class Job(NamedTuple):
    """What all runs of a sweep share; a worker refuses words whose SHA-256 is another."""

    data: str
    sha256: str
    engine: str


class Ready(NamedTuple):
    """The worker has read the words, its engine exists, and it waits for a task."""


class Unfit(NamedTuple):
    """The worker cannot train anything of this job."""

    reason: str


class Done(NamedTuple):
    """A task is over: `broken` says how where its folder does not."""

    broken: Outcome | None


def serve(pipe: Connection, job: Job) -> None:
    """Answer tasks until None or the end of the pipe; the whole life of a worker process."""
    _end_with_the_parent()
    for number in (signal.SIGINT, *ENDING):  # they reach every process of a terminal, and the parent decides
        signal.signal(number, signal.SIG_IGN)
    with suppress(EOFError, OSError):  # the parent has gone; there is nobody left to tell
        from backproof import text

        try:
            corpus = text.read_corpus(job.data)
            if corpus.sha256 != job.sha256:
                raise text.CorpusError(f"{job.data} has changed since the sweep began; start it again.")
            get_ready(corpus, job.engine)
        except Exception as error:
            pipe.send(Unfit(reason_of(error)))
            return
        pipe.send(Ready())

        def tell(pace: Pace) -> bool:
            with suppress(OSError):
                pipe.send(pace)
            return pipe.poll()

        while (task := pipe.recv()) is not None:
            pipe.send(Done(train_member(corpus, task, tell)))


def _end_with_the_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
