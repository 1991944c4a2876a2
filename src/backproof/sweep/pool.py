"""The worker processes of a sweep on this machine, seen from the parent.

Not concurrent.futures, for two reasons: there, one process that the system kills takes all the others' runs with it,
and workers whose parent was killed wait for ever. Not a cluster's local one (`sweep.cluster`) either, which takes
seconds to start, opens ports, and is an extra.
"""

from __future__ import annotations

import multiprocessing
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Protocol

from backproof.limits import cores
from backproof.sweep.events import Advanced, Ended, Event, Pace, Started, Stopping
from backproof.sweep.member import Task
from backproof.sweep.plan import SweepError
from backproof.sweep.records import End, Outcome
from backproof.sweep.worker import Done, Job, Ready, Unfit, serve

_SECONDS_UNTIL_CTRL_C_IS_SEEN = 0.1


class Crew(Protocol):
    """Whoever trains the runs of a sweep."""

    def train(self, tasks: Sequence[Task], interrupted: Callable[[], int], on_event: Callable[[Event], None]) -> None:
        """Train and save every run; `on_event` hears of each that begins, moves and ends.

        The outcome of one that ends says what broke; else it is NOT_STARTED, and what it came to stands in its folder.
        When `interrupted` turns true, the runs at hand are saved and no more begin. Raises SweepError when nothing of
        this sweep can be trained.
        """
        ...


@contextmanager
def local_crew(job: Job, size: int) -> Iterator[Crew]:
    """As many processes of this machine; none is left behind, however the block ends."""
    crew = _LocalCrew(job, size)
    try:
        yield crew
    finally:
        crew.dismiss()


def team_size(workers: int | None, runs: int) -> int:
    """How many processes work on so many runs: None means one a core. Raises SweepError for less than one."""
    if workers is None:
        return max(1, min(cores(), runs))
    if workers < 1:
        raise SweepError(f"--workers is {workers}; it has to be at least 1.")
    return max(1, min(workers, runs))


@dataclass
class _Worker:
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    task: Task | None = None

    def tell(self, task: Task | None) -> None:
        with suppress(OSError):  # it has just died: the end of its pipe will say so
            self.pipe.send(task)

    def hear(self) -> Ready | Unfit | Pace | Done | None:
        """Its next message; None when it has gone."""
        try:
            return self.pipe.recv()
        except (EOFError, OSError):
            return None


class _LocalCrew:
    def __init__(self, job: Job, size: int) -> None:
        self._job, self._size = job, size
        self._team: list[_Worker] = []

    def train(self, tasks: Sequence[Task], interrupted: Callable[[], int], on_event: Callable[[Event], None]) -> None:
        waiting = deque(tasks)
        stopping = False
        while len(self._team) < min(self._size, len(tasks)):
            self._team.append(_hire(self._job))
        while self._team and (waiting or any(worker.task for worker in self._team)):
            if interrupted() and not stopping:
                stopping = True
                waiting.clear()
                on_event(Stopping())
                for worker in self._team:
                    if worker.task is not None:
                        worker.tell(None)
            for worker in self._team:
                if worker.ready and worker.task is None and waiting:
                    worker.task = waiting.popleft()
                    on_event(Started(worker.task.member))
                    worker.tell(worker.task)
            heard = wait([worker.pipe for worker in self._team], _SECONDS_UNTIL_CTRL_C_IS_SEEN)
            for worker in [worker for worker in self._team if worker.pipe in heard]:
                self._listen(worker, bool(waiting), on_event)
        for task in waiting:
            reason = "no worker process could be kept alive to train it"
            on_event(Ended(task.member, Outcome(End.FAILED, reason=reason)))

    def _listen(self, worker: _Worker, needed: bool, on_event: Callable[[Event], None]) -> None:
        match worker.hear():
            case Ready():
                worker.ready = True
            case Unfit(reason):
                raise SweepError(reason)
            case Pace() as pace if worker.task:
                on_event(Advanced(worker.task.member, pace))
            case Done(broken) if worker.task:
                task, worker.task = worker.task, None
                on_event(Ended(task.member, broken or Outcome(End.NOT_STARTED)))
            case None:
                self._team.remove(worker)
                if worker.task:
                    on_event(Ended(worker.task.member, _death(worker)))
                    if needed:
                        self._team.append(_hire(self._job))
                _dismiss(worker)

    def dismiss(self) -> None:
        for worker in self._team:
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
    """A process that is born in here ignores Ctrl-C: importing is no time to be torn apart."""
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
    worker.process.kill()  # it ignores what may be ignored, and has saved what it had to
    worker.process.join()
    worker.process.close()
