"""How many cores and how much memory this process may use, which in a container is less than the machine has."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_PROC = Path("/proc")


def cores() -> int:
    """At least 1: the cores that the system lets this process run on, cut down to its share of their time.

    Linux' control groups limit the time: `docker run --cpus 2` is two cores' worth of it, on however many.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(count, _least("cpu", _share_of_time))))


def free_memory() -> float:
    """Bytes that this process may still take, as far as the system says; infinite where it says nothing (no Linux)."""
    return min(_available(), _least("memory", _room), _address_space())


def _least(controller: str, limit: Callable[[Path], float], root: Path = _CGROUPS, proc: Path = _PROC) -> float:
    """The least limit of the control groups, version 2 and 1, that this process is in; infinite where there is none."""
    least = float("inf")
    with suppress(OSError, ValueError):
        for line in (proc / "self/cgroup").read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and controller not in controllers.split(","):
                continue
            group = root / (controller if controllers else "") / path.lstrip("/")
            for folder in (group, *group.parents):  # each group is limited by those that it is in
                least = min(least, limit(folder))
                if folder == root:
                    break
    return least


def _share_of_time(folder: Path) -> float:
    """In cores."""
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)  # "max" is no number
    with suppress(OSError, ValueError):
        quota = _number(folder / "cpu.cfs_quota_us")
        if quota > 0:
            return quota / _number(folder / "cpu.cfs_period_us")
    return float("inf")


def _room(folder: Path) -> float:
    """In bytes: the limit less what is taken, of which pages of files that nobody needs now can be had back."""
    for limit, usage, idle in (
        ("memory.max", "memory.current", "inactive_file"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ):
        with suppress(OSError, ValueError):
            free = _number(folder / limit) - _number(folder / usage)
            with suppress(OSError, ValueError):
                free += _field(folder / "memory.stat", idle)
            return free
    return float("inf")


def _available(proc: Path = _PROC) -> float:
    with suppress(OSError, ValueError):
        return _field(proc / "meminfo", "MemAvailable:") * 1024
    return float("inf")


def _address_space(proc: Path = _PROC) -> float:
    """What `ulimit -v` leaves."""
    with suppress(ImportError, OSError, ValueError):
        import resource  # not on every system

        most = resource.getrlimit(resource.RLIMIT_AS)[0]
        if most != resource.RLIM_INFINITY:
            pages = int((proc / "self/statm").read_text(encoding="ascii").split()[0])
            return most - pages * resource.getpagesize()
    return float("inf")


def _number(file: Path) -> int:
    return int(file.read_text(encoding="ascii"))


def _field(file: Path, name: str) -> int:
    """The number behind a name, in a file of one a line; ValueError where there is no such line."""
    for line in file.read_text(encoding="ascii").splitlines():
        parts = line.split()
        if parts[:1] == [name]:
            return int(parts[1])
    raise ValueError(name)
