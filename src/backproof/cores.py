"""How many cores this process may use, which in a container is less than the machine has."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OURS = Path("/proc/self/cgroup")


def cores() -> int:
    """At least 1: the cores that the system lets this process run on, cut down to its share of their time.

    Linux' control groups limit the time: `docker run --cpus 2` is two cores' worth of it, on however many.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, int(min(count, _share_of_time(_CGROUPS, _OURS))))


def _share_of_time(root: Path, ours: Path) -> float:
    """In cores, from the files of control groups, version 2 and 1; infinite where nothing limits it."""
    share = float("inf")
    with suppress(OSError, ValueError):
        for line in ours.read_text(encoding="ascii").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            group = root / ("cpu" if controllers else "") / path.lstrip("/")
            for folder in (group, *group.parents):  # each group is limited by those that it is in
                share = min(share, _limit(folder))
                if folder == root:
                    break
    return share


def _limit(folder: Path) -> float:
    with suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return int(quota) / int(period)  # "max" is no number
    with suppress(OSError, ValueError):
        quota = int((folder / "cpu.cfs_quota_us").read_text(encoding="ascii"))
        if quota > 0:
            return quota / int((folder / "cpu.cfs_period_us").read_text(encoding="ascii"))
    return float("inf")
