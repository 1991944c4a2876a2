"""The worker processes of a sweep, seen from the parent.

Not concurrent.futures: there, one process that the system kills takes all the others' runs with it, and workers
whose parent was killed wait for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple

from backproof.sweep.plan import Member, SweepError
from backproof.sweep.records import End, Outcome
from backproof.sweep.worker import Job, Pace, Ready, Task, Unfit, serve

_SECONDS_UNTIL_CTRL_C_IS_SEEN = 0.1


class Started(NamedTuple):
    """A worker has begun with a run."""

    member: Member


class Advanced(NamedTuple):
    """A run has come so far."""

    member: Member
    pace: Pace


class Ended(NamedTuple):
    """A run is over, one way or another."""

    member: Member
    outcome: Outcome


class Stopping(NamedTuple):
    """Ctrl-C: the runs at hand are being saved, no other begins."""


Event = Started | Advanced | Ended | Stopping


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    member: Member | None = None

    def tell(self, task: Task | None) -> None:
        with suppress(OSError):  # it has just died: the end of its pipe will say so
            self.pipe.send(task)

    def hear(self) -> Ready | Unfit | Pace | Outcome | None:
        """Its next message; None when it has gone."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None


def team_size(workers: int | None, runs: int) -> int:
    """How many processes work on so many runs: None means one a core. Raises SweepError for less than one."""
    if workers is None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(cores, runs)
    if workers < 1:
        raise SweepError(f"--workers is {workers}; it has to be at least 1.")
    return min(workers, runs)


def train_all(
    members: Sequence[Member],
    folder: Path,
    job: Job,
    workers: int,
    interrupted: Callable[[], int],
    on_event: Callable[[Event], None],
) -> None:
    """Train every member into its folder below `folder`; `on_event` hears of each run that begins, moves and ends.

    When `interrupted` turns true, the runs at hand are saved and no more begin. Raises SweepError when a worker finds
    that nothing of this job can be trained. No process is left behind, however this ends.
    """
    waiting = deque(members)
    team = [_hire(job) for _ in range(workers)]
    stopping = False
    try:
        while team:
            if interrupted() and not stopping:
                stopping = True
                waiting.clear()
                on_event(Stopping())
                for worker in team:
                    if worker.ready:
                        worker.tell(None)
                    else:
                        worker.process.terminate()
            heard = wait([worker.pipe for worker in team], _SECONDS_UNTIL_CTRL_C_IS_SEEN)
            for worker in [worker for worker in team if worker.pipe in heard]:
                match worker.hear():
                    case Pace() as pace if worker.member:
                        on_event(Advanced(worker.member, pace))
                    case Unfit(reason):
                        raise SweepError(reason)
                    case None:
                        team.remove(worker)
                        if worker.member:
                            on_event(Ended(worker.member, _death(worker)))
                            if waiting:
                                team.append(_hire(job))
                        _dismiss(worker)
                    case Ready() | Outcome() as message:
                        if isinstance(message, Outcome) and worker.member:
                            on_event(Ended(worker.member, message))
                        worker.ready, worker.member = True, waiting.popleft() if waiting else None
                        if worker.member is None:
                            worker.tell(None)
                        else:
                            worker.tell(Task(worker.member.settings, folder / worker.member.name))
                            on_event(Started(worker.member))
        for member in waiting:
            on_event(Ended(member, Outcome(End.FAILED, reason="no worker process could be kept alive to train it")))
    finally:
        for worker in team:
            _dismiss(worker)


def _hire(job: Job) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=serve, args=(theirs, job), daemon=True)
    with _ignored_interrupts():
        process.start()
    theirs.close()  # so that the pipe ends when the worker does
    return _Worker(process, ours)


@contextmanager
def _ignored_interrupts() -> Iterator[None]:
    """A process that is born in here ignores Ctrl-C until it chooses not to: importing is no time to be torn apart."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _death(worker: _Worker) -> Outcome:
    worker.process.join()
    code = worker.process.exitcode or 0
    if code >= 0:
        return Outcome(End.FAILED, reason=f"its process ended with exit code {code}")
    name = next((each.name for each in signal.Signals if each == -code), f"signal {-code}")  # some have no name
    hint = " (perhaps the memory was full)" if name == "SIGKILL" else ""
    return Outcome(End.FAILED, reason=f"its process was ended by {name}{hint}")


def _dismiss(worker: _Worker) -> None:
    worker.pipe.close()
    worker.process.terminate()
    worker.process.join()
    worker.process.close()
