"""Cores that a process may use, from control groups made up in a folder."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest

from backproof import cores as module
from backproof.cores import _share_of_time, cores


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="ascii")


def share(tmp_path: Path, ours: str, files: dict[str, str]) -> float:
    write(tmp_path / "ours", ours)
    for name, text in files.items():
        write(tmp_path / "groups" / name, text)
    return _share_of_time(tmp_path / "groups", tmp_path / "ours")


def test_version_2_takes_the_least_of_the_groups_that_it_is_in(tmp_path: Path):
    files = {"cpu.max": "max 100000\n", "a/cpu.max": "150000 100000\n", "a/b/cpu.max": "300000 100000\n"}
    assert share(tmp_path, "0::/a/b\n", files) == 1.5


def test_version_1(tmp_path: Path):
    files = {"cpu/a/cpu.cfs_quota_us": "400000", "cpu/a/cpu.cfs_period_us": "100000", "cpu/cpu.cfs_quota_us": "-1"}
    assert share(tmp_path, "5:memory:/x\n4:cpu,cpuacct:/a\n", files) == 4


@pytest.mark.parametrize("ours", ["", "no groups", "0::/nowhere\n"])
def test_nothing_limits_what_says_nothing(tmp_path: Path, ours: str):
    assert share(tmp_path, ours, {}) == math.inf
    assert _share_of_time(tmp_path / "groups", tmp_path / "missing") == math.inf


@pytest.mark.parametrize(("limit", "count"), [(0.5, 1), (1.5, 1), (2.0, 2), (64.0, 4), (math.inf, 4)])
def test_the_share_cuts_down_what_the_system_lets_it_run_on(monkeypatch, limit: float, count: int):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    monkeypatch.setattr(module, "_share_of_time", lambda root, ours: limit)
    assert cores() == count
