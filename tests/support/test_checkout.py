"""What git keeps belongs to the project; where git keeps nothing, everything does."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from checkout import ROOT, tracked


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "deep").mkdir()
    for name in ("kept.py", "deep/kept.py", "deep/kept.txt", "deep/stray.py", "deep/gone.py"):
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def names(folder: Path, pattern: str = "*") -> list[str]:
    return [file.relative_to(folder).as_posix() for file in tracked(folder, pattern)]


def test_a_stray_file_is_not_the_project_s(folder: Path, monkeypatch: pytest.MonkeyPatch):
    if not shutil.which("git"):
        pytest.skip("there is no git")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # whatever git does for this user
    subprocess.run(["git", "init", "--quiet", str(folder)], check=True)
    kept = ["kept.py", "deep/kept.py", "deep/kept.txt", "deep/gone.py"]
    subprocess.run(["git", "-C", str(folder), "add", *kept], check=True)
    (folder / "deep" / "gone.py").unlink()
    assert names(folder) == ["deep/kept.py", "deep/kept.txt", "kept.py"]
    assert names(folder, "*.py") == ["deep/kept.py", "kept.py"]
    assert names(folder / "deep") == ["kept.py", "kept.txt"]


def test_without_git_every_file_is(folder: Path, monkeypatch: pytest.MonkeyPatch):
    everything = ["deep/gone.py", "deep/kept.py", "deep/kept.txt", "deep/stray.py", "kept.py"]
    assert names(folder) == everything
    monkeypatch.setenv("PATH", "")
    assert names(folder) == everything


def test_the_root_is_the_project_s():
    assert {ROOT / "README.md", ROOT / "tests" / "conftest.py"} <= set(tracked(ROOT))
