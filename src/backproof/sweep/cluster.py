"""The runs of a sweep on a Dask cluster, seen from here and from its workers.

What travels: the words once a worker, a run's settings and its last state out, how far it is as events, its folder back
as the task's result. With a shared folder only settings travel: the worker saves where this machine reads. Dask itself
gives a run whose worker has gone to another one, three times; it begins at the state that was sent with it, and in a
shared folder at the last one that was saved.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from queue import Empty, SimpleQueue
from secrets import token_hex
from tempfile import TemporaryDirectory
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from backproof.sweep.events import Advanced, Ended, Event, Pace, Started, Stopping
from backproof.sweep.member import Task, get_ready, reason_of, train_member
from backproof.sweep.plan import SweepError
from backproof.sweep.pool import Crew
from backproof.sweep.records import FILE, End, Outcome
from backproof.training.folder import CHECKPOINT, FolderError, write_folder

if TYPE_CHECKING:
    from distributed import Client, Future

    from backproof.text import Corpus

_SECONDS_TO_CONNECT = 10.0
_SECONDS_FOR_A_WORKER = 60.0  # a cluster that grows when it is asked to takes its time
_SECONDS_UNTIL_CTRL_C_IS_SEEN = 0.1
_SECONDS_BETWEEN_EVENTS = 0.5  # of a run: they all go through one scheduler


class _Order(NamedTuple):
    """A task as it is sent: `files` are the state to go on from, None where the folder is shared."""

    task: Task
    files: dict[str, bytes] | None
    topic: str
    release: str
    engine: str


class _Return(NamedTuple):
    """What comes back: how it broke, or the files of the run's folder, none where it is shared."""

    broken: Outcome | None
    files: dict[str, bytes]


@contextmanager
def cluster_crew(address: str, corpus: Corpus, engine: str, shared: bool) -> Iterator[Crew]:
    """The workers of the cluster whose scheduler is at `address`. Raises SweepError where it cannot be had."""
    try:
        from distributed import Client
    except ImportError:
        raise SweepError("--scheduler needs Dask; install it with: pip install 'backproof[cluster]'.") from None
    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # what goes wrong there is told here, in a sentence
    try:
        client = Client(address, timeout=_SECONDS_TO_CONNECT, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise SweepError(
            f"No scheduler answers at {address} ({reason_of(error)}); start one with 'dask scheduler', and give the "
            "address that it prints."
        ) from None
    with client:
        try:
            client.wait_for_workers(1, timeout=_SECONDS_FOR_A_WORKER)
        except TimeoutError:
            raise SweepError(
                f"The cluster at {address} has no workers; start some with 'dask worker {address} --nthreads 1'."
            ) from None
        yield _ClusterCrew(client, corpus, engine, shared)


_BEGUN, _ENDED = "begun", "ended"  # what is said of a run, beside its pace
_stopped: set[str] = set()  # in a worker: the sweeps that nobody waits for any more


class _ClusterCrew:
    def __init__(self, client: Client, corpus: Corpus, engine: str, shared: bool) -> None:
        self._client, self._engine, self._shared = client, engine, shared
        self._release = version("backproof")
        self._topic = f"backproof-{token_hex(8)}"
        self._inbox: SimpleQueue[tuple[str, Any]] = SimpleQueue()
        client.subscribe_topic(self._topic, lambda event: self._inbox.put(event[1]))
        # Not scattered: what a task gives is made again when the workers that hold it have gone.
        self._corpus = client.submit(_given, corpus, key=f"{self._topic}-words")
        self._check(client.submit(_fit, self._corpus, engine, self._release, key=f"{self._topic}-fit"))

    def train(self, tasks: Sequence[Task], interrupted: Callable[[], int], on_event: Callable[[Event], None]) -> None:
        left = {task.member.name: task for task in tasks}
        futures = {name: self._submit(task) for name, task in left.items()}
        begun: set[str] = set()
        stopping = False
        try:
            while left:
                if interrupted() and not stopping:
                    stopping = True
                    on_event(Stopping())
                    self._stop()
                    for name in [name for name in left if name not in begun]:
                        futures[name].cancel()
                        del left[name]
                try:
                    name, said = self._inbox.get(timeout=_SECONDS_UNTIL_CTRL_C_IS_SEEN)
                except Empty:
                    continue
                if name not in left:
                    continue
                if said == _ENDED:
                    task = left.pop(name)
                    on_event(Ended(task.member, self._come_home(task, futures.pop(name))))
                elif said == _BEGUN:
                    begun.add(name)
                    on_event(Started(left[name].member))
                elif name in begun:
                    on_event(Advanced(left[name].member, Pace(*said)))
        finally:
            if left:  # something broke here, or Ctrl-C was pressed twice: nobody waits for them any more
                self._stop()

    def _submit(self, task: Task) -> Future:
        files = None if self._shared else _packed(task.folder, CHECKPOINT)
        task = task._replace(folder=task.folder.absolute())
        order = _Order(task, files, self._topic, self._release, self._engine)
        future = self._client.submit(_train_there, self._corpus, order, pure=False)
        future.add_done_callback(lambda _: self._inbox.put((task.member.name, _ENDED)))
        return future

    def _stop(self) -> None:
        with suppress(Exception):  # the cluster has gone, and all that ran there with it
            self._client.run(_stop_there, self._topic, on_error="ignore")

    def _check(self, future: Future) -> None:
        try:
            unfit = future.result()
        except Exception as error:  # they lack the package, or Dask cannot read what another version of it wrote
            unfit = f"The workers of the cluster cannot be used ({reason_of(error)}); install there what is here."
        if unfit:
            raise SweepError(unfit)

    def _come_home(self, task: Task, future: Future) -> Outcome:
        from distributed import KilledWorker

        try:
            broken, files = future.result()
            if files:
                write_folder(task.folder, files, overwrite=True, owned=True)
        except KilledWorker:
            reason = "every worker that trained it has died (perhaps the memory was full)"
            return Outcome(End.FAILED, reason=reason)
        except FolderError as error:
            return Outcome(End.FAILED, reason=str(error))
        except Exception as error:
            return Outcome(End.FAILED, reason=f"the cluster lost it ({reason_of(error)})")
        return broken or Outcome(End.NOT_STARTED)


def _given(corpus: Corpus) -> Corpus:
    return corpus


def _stop_there(topic: str) -> None:
    _stopped.add(topic)


def _fit(corpus: Corpus, engine: str, wanted: str) -> str:
    """Why a worker cannot train this sweep; empty where it can."""
    if version("backproof") != wanted:
        return f"A worker of the cluster has backproof {version('backproof')}, and here it is {wanted}; install one."
    try:
        get_ready(corpus, engine)
    except Exception as error:
        return reason_of(error)
    return ""


def _train_there(corpus: Corpus, order: _Order) -> _Return:
    from distributed import get_worker

    worker, name, told = get_worker(), order.task.member.name, 0.0

    def tell(pace: Pace) -> bool:
        nonlocal told
        if monotonic() - told > _SECONDS_BETWEEN_EVENTS:
            told = monotonic()
            worker.log_event(order.topic, (name, pace))
        return order.topic in _stopped

    if (here := version("backproof")) != order.release:  # a worker that came later
        reason = f"a worker of the cluster has backproof {here}, and not {order.release}"
        return _Return(Outcome(End.FAILED, reason=reason), {})
    worker.log_event(order.topic, (name, _BEGUN))
    if order.files is None:
        if not (order.task.folder.parent / FILE).is_file():
            reason = f"the worker at {worker.address} does not see {order.task.folder.parent}; leave --shared away"
            return _Return(Outcome(End.FAILED, reason=reason), {})
        return _Return(train_member(corpus, order.task, tell), {})
    with TemporaryDirectory() as place:
        folder = Path(place) / name
        for path, content in order.files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        broken = train_member(corpus, order.task._replace(folder=folder), tell)
        return _Return(broken, {} if broken else _packed(folder))


def _packed(folder: Path, part: str = "") -> dict[str, bytes]:
    """The files below a folder, or a part of it, by their paths in it."""
    files = [each for each in (folder / part).rglob("*") if each.is_file()]
    return {each.relative_to(folder).as_posix(): each.read_bytes() for each in files}
