"""Running the tests against a copy of a package in which one file has a bug.

A run of pytest spends seconds on importing PyTorch. So one process imports what the tests need, save the package
itself, and forks a child for every bug: there the planted text stands in for the file when it is imported, and
pytest runs in the process. Nothing on the disk is changed.

Only tests that reach the changed function are run, those of its own file and the quick ones first. What a test reaches
is watched once, with nothing planted, and kept in a folder until something changes.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from importlib.util import spec_from_file_location
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

import pytest

from planting.children import Listener, in_children
from planting.draw import Bug
from planting.ground import Ground


class Known(NamedTuple):
    """What a test does when nothing is planted: the seconds it takes, and the functions it reaches, as file:name."""

    seconds: float
    reaches: frozenset[str]

    def reaches_bug(self, bug: Bug, root: Path) -> bool:
        """Whether it runs the function of a bug; outside of functions, whether it uses the file."""
        file = f"{bug.path.relative_to(root)}:"
        return f"{file}{bug.where}" in self.reaches or (not bug.where and any(r.startswith(file) for r in self.reaches))


class Verdict(NamedTuple):
    """The first test that failed, and how it said so; None where none did."""

    caught_by: str | None
    why: str = ""


class TestsFailError(Exception):
    """The tests fail with nothing planted, so they cannot judge."""

    __test__ = False


def know(ground: Ground, workers: int, memory: Path) -> dict[str, Known]:
    """Every test with nothing planted; what is still true is read from the folder `memory`. Raises TestsFailError."""
    memory.mkdir(parents=True, exist_ok=True)
    kept = {file: memory / f"{ground.state(file)}.json" for file in ground.test_files()}
    new = [file for file, record in kept.items() if not record.exists()]
    for position, messages in in_children(workers, [_Watching(ground, [file]) for file in new]):
        for kind, *rest in messages:
            if kind == "failed" or (kind in ("ended", "gone") and rest[0]):
                raise TestsFailError(f"{new[position]} fails with nothing planted: {' '.join(map(str, rest))}")
        found = {rest[0]: rest[1:] for kind, *rest in messages if kind == "known"}
        kept[new[position]].write_text(json.dumps(found), encoding="utf-8")
    tests: dict[str, Known] = {}
    for record in kept.values():
        found = json.loads(record.read_text(encoding="utf-8"))
        tests |= {name: Known(seconds, frozenset(reaches)) for name, (seconds, reaches) in found.items()}
    for record in set(memory.glob("*.json")) - set(kept.values()):
        record.unlink()
    return tests


def judge(
    ground: Ground, known: Mapping[str, Known], bugs: Sequence[Bug], workers: int, *, aloud: bool = False
) -> Iterator[tuple[int, Verdict]]:
    """The position of every bug and the tests' verdict on it, as they become known; `aloud` shows what pytest says."""
    trials, unreached = [], []
    for position, bug in enumerate(bugs):
        reaching = {name: one for name, one in known.items() if one.reaches_bug(bug, ground.root)}
        if reaching:
            trials.append((position, _Judging(ground, reaching, bug, aloud)))
        else:
            unreached.append(position)
    yield from ((position, Verdict(None, "no test comes here")) for position in unreached)
    for trial, messages in in_children(workers, [one for _, one in trials]):
        yield trials[trial][0], _verdict(messages)


def _verdict(messages: Sequence[tuple]) -> Verdict:
    at = [rest[0] for kind, *rest in messages if kind == "at"] or ["pytest"]
    for kind, *rest in messages:
        if kind == "failed":
            return Verdict(*rest)
        if kind == "ended" and rest[0]:
            return Verdict(at[-1], f"pytest ended with status {rest[0]}")
        if kind == "gone" and rest[0]:
            return Verdict(at[-1], "hangs" if -rest[0] in (signal.SIGPROF, signal.SIGKILL) else f"exit code {rest[0]}")
    return Verdict(None)


class _Watching(Listener):
    """Notes how long every test takes, and which functions of the package it reaches."""

    def __init__(self, ground: Ground, files: Sequence[str]) -> None:
        super().__init__(ground, files)
        self.always: set[CodeType] = set()

    def prepare(self) -> None:
        sys.settrace(lambda frame, event, _: self.always.add(frame.f_code))

    def pytest_collection_finish(self) -> None:
        sys.settrace(None)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        reached = set(self.always)
        started = time.process_time()
        sys.settrace(lambda frame, event, _: reached.add(frame.f_code))
        try:
            return (yield)
        finally:
            sys.settrace(None)
            seconds, package = time.process_time() - started, self.ground.root / self.ground.package
            own = {code for code in reached if Path(code.co_filename).is_relative_to(package)}
            where = {f"{Path(code.co_filename).relative_to(self.ground.root)}:{code.co_qualname}" for code in own}
            self.say("known", item.nodeid, seconds, sorted(where))


class _Judging(Listener):
    """Plants a bug and runs the tests that reach it, the quick ones first, up to a failure."""

    def __init__(self, ground: Ground, reaching: Mapping[str, Known], bug: Bug, aloud: bool) -> None:
        super().__init__(ground, list(dict.fromkeys(name.partition("::")[0] for name in reaching)))
        self.reaching, self.bug, self.aloud = reaching, bug, aloud

    def prepare(self) -> None:
        sys.meta_path.insert(0, _Finder(self.ground.module(self.bug.path), self.bug))

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        items[:] = [item for item in items if item.nodeid in self.reaching]
        items.sort(key=lambda item: (self._elsewhere(item.nodeid), self.reaching[item.nodeid].seconds))

    def _elsewhere(self, name: str) -> bool:
        """Whether a test is not in the file that is there for the changed one: test_fit.py for fit.py."""
        return Path(name.partition("::")[0]).name != f"test_{self.bug.path.name}"

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: Any) -> Iterator[None]:
        self.say("at", item.nodeid)
        least = self.ground.seconds
        signal.setitimer(signal.ITIMER_PROF, max(least, least * self.reaching[item.nodeid].seconds))
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
