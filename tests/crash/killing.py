"""Kill a child at its n-th file operation, for every n: before it, half way through a write, and after it.

Or let it find the disk full from there on, or kill it at a random moment.

The operations are interposed in Python, as SQLite's tests interpose theirs in C: everything that changes a file system
and that the package calls, under one folder. The child is a fork, so that a point costs milliseconds.
"""

from __future__ import annotations

import builtins
import io
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from errno import ENOSPC
from pathlib import Path
from typing import Any

CHANGES = ("rename", "replace", "mkdir", "rmdir", "unlink", "remove", "fsync", "truncate", "open")
SOME = 64  # one kill point in so many: a training run takes a fifth of a second, and all of them minutes
END = 99  # the exit code of a child that came to its end
_FAILED = 98
_FEW = 3  # moments in an ordinary run


def points(work: Callable[[], object], check: Callable[[int], None], some: int = SOME) -> int:
    """Run `work` in children that are killed at their first, second, ... operation, and `check` after each.

    Unless all are asked for, by the variable BACKPROOF_CRASH, only one in `some` is tried, others in every run.
    Returns about how many kill points there are. Raises AssertionError when a child fails by itself.
    """
    every = 1 if os.environ.get("BACKPROOF_CRASH") == "all" else some
    for point in range(random.randint(1, every), 10_000, every):
        code = in_a_child(work, kill_at=point)
        if code == END:
            return point - 1
        assert code == -signal.SIGKILL, f"at point {point} the child ended with {code}"
        check(point)
    raise AssertionError("there is no end to the operations")


def moments(work: Callable[[], object], check: Callable[[], None], most: int) -> None:
    """Kill children of `work` at random moments of it, and `check` after each: all, or a few in an ordinary run.

    Raises AssertionError, with the number that the moments were drawn by, when a child fails by itself.
    """
    begun = time.perf_counter()
    assert in_a_child(work) == END
    whole = time.perf_counter() - begun
    check()
    seed = random.randrange(2**32)
    draw = random.Random(seed)
    for _ in range(most if os.environ.get("BACKPROOF_CRASH") == "all" else _FEW):
        code = in_a_child(work, kill_after=draw.uniform(0, whole))
        assert code in (END, -signal.SIGKILL), f"with seed {seed} a child ended with {code}"
        check()


def in_a_child(work: Callable[[], object], kill_at: int = 0, full_at: int = 0, kill_after: float | None = None) -> int:
    """The exit code of `work` in a fork: END when it returned, minus the signal that killed it.

    It may be killed at one of its operations, or after so many seconds, or find the disk full from an operation on.
    """
    child = os.fork()
    if child == 0:
        code = _FAILED
        try:
            sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - until the child ends
            if kill_at:
                _interpose(_Killing(kill_at))
            if full_at:
                _interpose(_Full(full_at))
            work()
            code = END
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
        finally:
            os._exit(code)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)  # it is there until it is waited for
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


class _Killing:
    """Ends the process at the n-th of what it hears of."""

    def __init__(self, at: int) -> None:
        self.left = at

    def before(self, name: str) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    after = before


class _Full:
    """From the n-th of what it hears of on nothing can be written any more; what is there can be renamed or removed."""

    def __init__(self, at: int) -> None:
        self.left = at

    def before(self, name: str) -> None:
        self.left -= 1
        if self.left <= 0 and name in ("mkdir", "open", "write", "fsync"):
            raise OSError(ENOSPC, os.strerror(ENOSPC))

    def after(self, name: str) -> None:
        pass


def _interpose(counter: _Killing | _Full) -> None:
    for name in CHANGES:
        setattr(os, name, _counted(getattr(os, name), counter, name))
    opened = _opening(io.open, counter)
    io.open = builtins.open = opened  # type: ignore[assignment]


def _counted(call: Callable, counter: _Killing | _Full, name: str) -> Callable:
    def counted(*given: Any, **options: Any) -> Any:
        if name == "open" and not given[1] & os.O_CREAT:
            return call(*given, **options)
        counter.before(name)
        result = call(*given, **options)
        counter.after(name)
        return result

    return counted


def _opening(call: Callable, counter: _Killing | _Full) -> Callable:
    def opening(file: Any, mode: str = "r", *given: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+"):
            return call(file, mode, *given, **options)
        counter.before("open")
        opened = call(file, mode, *given, **options)
        counter.after("open")
        opened_write = opened.write

        def write(content: Any) -> int:
            half = len(content) // 2
            opened_write(content[:half])
            opened.flush()
            counter.before("write")
            opened_write(content[half:])
            opened.flush()
            counter.after("write")
            return len(content)

        return _Writing(opened, write)

    return opening


class _Writing:
    """An open file whose `write` is another's."""

    def __init__(self, opened: Any, write: Callable[[Any], int]) -> None:
        self._opened, self.write = opened, write

    def __getattr__(self, name: str) -> Any:
        return getattr(self._opened, name)

    def __enter__(self) -> _Writing:
        self._opened.__enter__()
        return self

    def __exit__(self, *raised: Any) -> Any:
        return self._opened.__exit__(*raised)


def visible(folder: Path) -> list[str]:
    """All names in a folder, the hidden ones too."""
    return sorted(each.name for each in folder.iterdir())
