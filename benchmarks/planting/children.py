"""Forked processes that already have every import, one for each task, a few at a time."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from importlib.machinery import PathFinder
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest

from planting.ground import Ground

_MEMORY = 12 << 30  # bytes that a child may ask for
_PATIENCE = 900  # seconds for one child, which may sleep and use no processor at all


class Listener:
    """A plugin of pytest in a child, which sends what happens through a pipe."""

    aloud = False

    def __init__(self, ground: Ground, files: Sequence[str]) -> None:
        self.ground, self.files = ground, files
        self.pipe: Connection | None = None

    def say(self, *message: Any) -> None:
        assert self.pipe is not None
        self.pipe.send(message)

    def prepare(self) -> None:
        """What has to be done before pytest runs."""

    def pytest_collectreport(self, report: Any) -> None:
        self._failed(report)

    def pytest_runtest_logreport(self, report: Any) -> None:
        self._failed(report)

    def _failed(self, report: Any) -> None:
        if report.failed:
            crash = getattr(report.longrepr, "reprcrash", None)
            why = crash.message if crash else str(report.longrepr).strip().rpartition("\n")[2]
            self.say("failed", report.nodeid or "collection", why.partition("\n")[0])


def load(ground: Ground) -> None:
    """Imports what the children then have, with one thread for each library."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    for module in ground.preload:
        import_module(module)


def in_children(workers: int, tasks: Sequence[Listener]) -> Iterator[tuple[int, list[tuple]]]:
    """What each child said, with its position, in the order in which they end."""
    context, waiting = get_context("fork"), list(enumerate(tasks))[::-1]
    running: dict[Connection, tuple[int, Any, float, list[tuple]]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                position, task = waiting.pop()
                ours, theirs = context.Pipe(duplex=False)
                child = context.Process(target=_child, args=(task, theirs))
                child.start()
                theirs.close()
                running[ours] = position, child, time.monotonic(), []
            ready = wait(list(running), timeout=1.0)
            for pipe in [one for one in running if one in ready]:
                position, child, _, messages = running[pipe]
                try:
                    messages.append(pipe.recv())
                except EOFError:
                    child.join()
                    messages.append(("gone", child.exitcode))
                    del running[pipe]
                    yield position, messages
            _lose_patience(running)
    finally:
        for _, child, _, _ in running.values():
            _kill(child)


def _lose_patience(running: Mapping[Any, tuple[int, Any, float, list[tuple]]]) -> None:
    for _, child, started, _ in running.values():
        if time.monotonic() - started > _PATIENCE:
            _kill(child)


def _kill(child: Any) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)  # with whatever the tests had started
    except ProcessLookupError:
        child.kill()


def _child(listener: Listener, pipe: Connection) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    if not listener.aloud:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    ground = listener.ground
    os.chdir(ground.root)
    sys.path.insert(0, str(ground.root / Path(ground.package).parts[0]))
    sys.meta_path.insert(0, PathFinder)  # before an editable installation, which may be of another checkout
    listener.pipe = pipe
    listener.prepare()
    os.environ["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    os.environ.pop("PYTEST_ADDOPTS", None)  # what was asked of other tests
    options = ["-x", f"--rootdir={ground.root}", *(f"-p{name}" for name in ("no:cacheprovider", *ground.plugins))]
    status = pytest.main([*options, *listener.files], plugins=[listener])
    pipe.send(("ended", int(status)))
    pipe.close()
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads that a bug may have left
