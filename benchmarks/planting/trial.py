"""Running the tests against a copy of a package in which one file has a bug.

A run of pytest spends seconds on importing PyTorch. So one process imports what the tests need, save the package
itself, and forks a child for every bug: there the planted text stands in for the file when it is imported, and
pytest runs in the process, the tests that reach the changed function first. Nothing on the disk is changed.
"""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest

from planting.draw import Bug

LEAST_SECONDS = 20  # of processor time that a test may take before it counts as hanging, or 20 times what it takes
_MEMORY = 12 << 30  # bytes that a child may ask for
_PATIENCE = 900  # seconds of waiting for one child, which may sleep and use no processor at all


@dataclass(frozen=True)
class Ground:
    """A package to plant in, and the tests that should notice."""

    root: Path
    package: str  # its folder, from the root, such as src/backproof/proof
    tests: tuple[str, ...]  # files and folders, from the root
    preload: tuple[str, ...] = ()  # modules that the tests need and that are not the package

    @property
    def files(self) -> list[Path]:
        return sorted((self.root / self.package).rglob("*.py"))

    def module(self, path: Path) -> str:
        """The name under which a file is imported; the package's first folder, src, is no part of it."""
        parts = path.relative_to(self.root).with_suffix("").parts[1:]
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def test_files(self) -> list[str]:
        """The tests' files, from the root."""
        found = [self.root / one for one in self.tests]
        files = [file for one in found for file in ([one] if one.is_file() else sorted(one.rglob("test_*.py")))]
        return [str(file.relative_to(self.root)) for file in files]


class Known(NamedTuple):
    """What a test does when nothing is planted: the seconds it takes, and the functions it reaches by file."""

    seconds: float
    reaches: frozenset[tuple[str, str]]


class Verdict(NamedTuple):
    """What the tests made of a bug: the first to fail, in how many seconds of processor time; None if none did."""

    caught_by: str | None
    why: str
    seconds: float


class TestsFailError(Exception):
    """The tests fail with nothing planted, so they cannot judge."""


def know(ground: Ground, workers: int) -> dict[str, Known]:
    """Every test with nothing planted. Raises TestsFailError."""
    files = ground.test_files()
    groups = [group for i in range(workers) if (group := files[i::workers])]
    found: dict[str, Known] = {}
    for _, messages in _in_children(workers, [(ground, group, _Watching(ground)) for group in groups]):
        for kind, *rest in messages:
            if kind == "known":
                found[rest[0]] = Known(*rest[1:])
            elif kind == "failed" or (kind == "ended" and rest[0]) or (kind == "killed" and rest[0]):
                raise TestsFailError(f"The tests fail with nothing planted: {' '.join(map(str, rest))}")
    return found


def judge(
    ground: Ground, known: Mapping[str, Known], bugs: Sequence[Bug], workers: int, *, aloud: bool = False
) -> Iterator[tuple[int, Verdict]]:
    """The position of every bug and the tests' verdict on it, as they become known; `aloud` shows what pytest says."""
    files = ground.test_files()
    tasks = [(ground, files, _Judging(ground, known, bug, aloud)) for bug in bugs]
    for position, messages in _in_children(workers, tasks):
        yield position, _verdict(messages)


def _verdict(messages: Sequence[tuple]) -> Verdict:
    seconds = next((rest[1] for kind, *rest in messages if kind == "ended"), 0.0)
    at, *_ = [rest[0] for kind, *rest in reversed(messages) if kind == "at"] or [""]
    for kind, *rest in messages:
        if kind == "failed":
            return Verdict(rest[0], rest[1], seconds)
        if kind == "ended" and rest[0]:
            return Verdict(at or "pytest", f"ended with status {rest[0]}", seconds)
        if kind == "killed" and rest[0]:
            return Verdict(at or "pytest", "hangs" if -rest[0] in _HANGING else f"killed by signal {-rest[0]}", seconds)
    return Verdict(None, "", seconds)


_HANGING = (signal.SIGPROF, signal.SIGKILL)


class _Listener:
    """A plugin of pytest that sends what happens through a pipe."""

    aloud = False

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
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


class _Watching(_Listener):
    """Notes how long every test takes, and which functions of the package it reaches."""

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        reached: set[CodeType] = set()
        started = time.process_time()
        sys.setprofile(lambda frame, event, _: reached.add(frame.f_code) if event == "call" else None)
        try:
            return (yield)
        finally:
            sys.setprofile(None)
            folder = str(self.ground.root / self.ground.package)
            functions = {(code.co_filename, code.co_qualname) for code in reached}
            inside = frozenset(one for one in functions if one[0].startswith(folder))
            self.say("known", item.nodeid, time.process_time() - started, inside)


class _Judging(_Listener):
    """Plants a bug, has the tests run that reach it, the quick ones first, then the others, up to a failure."""

    def __init__(self, ground: Ground, known: Mapping[str, Known], bug: Bug, aloud: bool) -> None:
        super().__init__(ground)
        self.known, self.bug, self.aloud = known, bug, aloud

    def prepare(self) -> None:
        sys.meta_path.insert(0, _Finder(self.ground.module(self.bug.path), self.bug))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items.sort(key=self._rank)

    def _rank(self, item: Any) -> tuple[bool, float]:
        known = self.known.get(item.nodeid)
        if known is None:
            return True, 0.0
        path, where = str(self.bug.path), self.bug.where
        reaches = (path, where) in known.reaches or (not where and any(path == one for one, _ in known.reaches))
        return not reaches, known.seconds

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        known = self.known.get(item.nodeid)
        self.say("at", item.nodeid)
        signal.setitimer(signal.ITIMER_PROF, max(LEAST_SECONDS, 20 * known.seconds if known else 0))
        try:
            return (yield)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)


class _Finder(MetaPathFinder):
    """Finds one module, and hands out the planted text for it."""

    def __init__(self, module: str, bug: Bug) -> None:
        self.module, self.bug = module, bug

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> ModuleSpec | None:
        if fullname != self.module:
            return None
        file = self.bug.path
        inside = [str(file.parent)] if file.name == "__init__.py" else None
        loader = _Loader(fullname, str(file), self.bug.planted)
        return spec_from_file_location(fullname, file, loader=loader, submodule_search_locations=inside)


class _Loader(SourceFileLoader):
    def __init__(self, fullname: str, path: str, text: str) -> None:
        super().__init__(fullname, path)
        self.text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self.text, self.path, "exec", dont_inherit=True)


Task = tuple[Ground, list[str], _Listener]


def _in_children(workers: int, tasks: Iterable[Task]) -> Iterator[tuple[int, list[tuple]]]:
    """What each child sent, with its position, in the order in which they end."""
    context, waiting = get_context("fork"), list(enumerate(tasks))[::-1]
    running: dict[Any, tuple[int, Any, float, list[tuple]]] = {}
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                position, task = waiting.pop()
                ours, theirs = context.Pipe(duplex=False)
                child = context.Process(target=_child, args=(*task, theirs))
                child.start()
                theirs.close()
                running[ours] = position, child, time.monotonic(), []
            for pipe in wait(list(running), timeout=1.0):
                position, child, _, messages = running[pipe]
                try:
                    messages.append(pipe.recv())
                except EOFError:
                    child.join()
                    messages.append(("killed", child.exitcode))
                    del running[pipe]
                    yield position, messages
            for _, child, started, _ in running.values():
                if time.monotonic() - started > _PATIENCE:
                    _kill(child)
    finally:
        for _, child, _, _ in running.values():
            _kill(child)


def _kill(child: Any) -> None:
    try:
        os.killpg(child.pid, signal.SIGKILL)  # with whatever the tests had started
    except ProcessLookupError:
        child.kill()


def _child(ground: Ground, files: list[str], listener: _Listener, pipe: Connection) -> None:
    os.setsid()
    resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
    if not listener.aloud:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    os.chdir(ground.root)
    sys.path.insert(0, str(ground.root / Path(ground.package).parts[0]))
    listener.pipe = pipe
    listener.prepare()
    options = ["-x", "-p", "no:cacheprovider", f"--rootdir={ground.root}", *(["-q"] if listener.aloud else [])]
    status = pytest.main([*options, *files], plugins=[listener])
    pipe.send(("ended", int(status), time.process_time()))
    pipe.close()
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads that a bug may have left


def load(ground: Ground) -> None:
    """Imports, with one thread for each library, what the children then have: call it before `know`."""
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    for module in ground.preload:
        import_module(module)
