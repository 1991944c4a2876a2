"""Cores and memory that a process may use, from control groups and tables made up in a folder."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from backproof import limits as module
from backproof.limits import cores, free_memory


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def share(tmp_path: Path, ours: str, files: dict[str, str]) -> float:
    return least("cpu", tmp_path, ours, files)


def room(tmp_path: Path, ours: str, files: dict[str, str]) -> float:
    return least("memory", tmp_path, ours, files)


def least(controller: str, tmp_path: Path, ours: str, files: dict[str, str]) -> float:
    write(tmp_path / "proc/self/cgroup", ours)
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    limit = {"cpu": module._share_of_time, "memory": module._room}[controller]
    return module._least(controller, limit, tmp_path / "groups", tmp_path / "proc")


def test_version_2_takes_the_least_of_the_groups_that_it_is_in(tmp_path: Path):
    files = {"cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n", "a/b/cpu.max": "300000 100000\n"}
    assert share(tmp_path, "0::/a/b\n", files) == 1.5


def test_version_1(tmp_path: Path):
    files = {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "-1"}
    assert share(tmp_path, "5:memory:/x\n4:cpu,cpuacct:/a\n", files) == 4


@pytest.mark.parametrize("ours", ["", "no groups", "0::/nowhere\n"])
def test_nothing_limits_what_says_nothing(tmp_path: Path, ours: str):
    assert share(tmp_path, ours, {}) == math.inf
    assert room(tmp_path, ours, {}) == math.inf
    assert module._least("cpu", module._share_of_time, tmp_path / "groups", tmp_path / "missing") == math.inf


@pytest.mark.parametrize(("limit", "count"), [(0.5, 1), (1.5, 1), (2.0, 2), (64.0, 4), (math.inf, 4)])
def test_the_share_cuts_down_what_the_system_lets_it_run_on(monkeypatch, limit: float, count: int):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(module, "_least", lambda *_: limit)
    assert cores() == count


def test_memory_in_version_2_is_the_limit_less_what_is_taken_and_cannot_be_had_back(tmp_path: Path):
    files = {
        "a/memory.max": "1000\n", "a/memory.current": "700\n", "a/memory.stat": "anon 5\ninactive_file 200\n",
        "memory.max": "max\n", "memory.current": "10\n",
    }  # fmt: skip
    assert room(tmp_path, "0::/a\n", files) == 500
    assert room(tmp_path, "0::/a/b\n", {**files, "a/b/memory.max": "60", "a/b/memory.current": "20"}) == 40


def test_memory_in_version_1(tmp_path: Path):
    files = {"memory/a/memory.limit_in_bytes": "900", "memory/a/memory.usage_in_bytes": "300"}
    assert room(tmp_path, "5:memory:/a\n4:cpu:/x\n", files) == 600


def test_memory_of_the_machine(tmp_path: Path):
    assert module._available(tmp_path) == math.inf
    write(tmp_path / "meminfo", "MemTotal:       2000 kB\nMemAvailable:   1500 kB\n")
    assert module._available(tmp_path) == 1500 * 1024


def test_free_memory_is_the_least_of_all(monkeypatch):
    for names in (("_available", "_address_space", "_least"), ("_least", "_available", "_address_space")):
        for amount, name in zip((1.0, 2.0, 3.0), names, strict=True):
            monkeypatch.setattr(module, name, lambda *_, amount=amount: amount)
        assert free_memory() == 1.0


def test_the_address_space_that_is_left(tmp_path: Path, monkeypatch):
    resource = pytest.importorskip("resource")
    write(tmp_path / "self/statm", "10 5 1\n")
    monkeypatch.setattr(resource, "getrlimit", lambda _: (100 * resource.getpagesize(),) * 2)
    assert module._address_space(tmp_path) == 90 * resource.getpagesize()
    monkeypatch.setattr(resource, "getrlimit", lambda _: (resource.RLIM_INFINITY,) * 2)
    assert module._address_space(tmp_path) == math.inf
