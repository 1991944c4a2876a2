"""`backproof train` that is stopped, killed and gone on with, as a user meets it."""

import errno
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exercise import parameters_of

from backproof.cli import main, train
from backproof.runs import load_run
from backproof.training.folder import FolderError, unfinished
from backproof.training.loop import Progress

WORDS = "anna bela otto mia noa ella uma ida leo max eva kim tom zoe"
SIZE = ["--batch-size", "4", "--hidden", "9", "--embedding", "2"]
STEPS = 3000


@pytest.fixture(autouse=True)
def _signals_that_arrive() -> Iterator[None]:
    """A command in the background, or one that outlives its terminal, ignores some, and its tests would with it."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS.split()), encoding="utf-8")
    return str(path)


def run(*arguments: str) -> int:
    return main(["train", *arguments])


def begin(words: str, folder: Path, *more: str) -> int:
    return run("--data", words, "--out", str(folder), "--steps", str(STEPS), *SIZE, *more)


@pytest.fixture
def whole(words: str, tmp_path: Path, capsys) -> Path:
    """The run that never stopped."""
    assert begin(words, tmp_path / "whole") == 0
    capsys.readouterr()
    return tmp_path / "whole"


def is_same(folder: Path, whole: Path) -> bool:
    numbers = zip(parameters_of(folder), parameters_of(whole), strict=True)
    return (
        all(bool((a == b).all()) for a, b in numbers)
        and np.array_equal(np.load(folder / "losses.npy"), np.load(whole / "losses.npy"))
        and (folder / "samples.txt").read_bytes() == (whole / "samples.txt").read_bytes()
        and load_run(folder).settings == load_run(whole).settings
    )


def signals(monkeypatch, *numbers: int, after: int = 1000) -> None:
    """Let them come, one after the other, when so many steps are done."""
    come = list(numbers)

    @contextmanager
    def display(settings: object) -> Iterator[Callable[[Progress], None]]:
        def show(progress: Progress) -> None:
            while come and progress.steps_done >= after:
                signal.raise_signal(come.pop(0))

        yield show

    monkeypatch.setattr(train, "training_display", display)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_what_is_there_and_resume_goes_on_with_it(
    words: str, tmp_path: Path, whole: Path, monkeypatch, capsys, number: int
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        signals(patched, number)
        assert begin(words, folder) == 128 + number
    out, err = capsys.readouterr()
    assert "Saving; press Ctrl-C again only to lose what came since the last save." in out
    assert "what was there is saved. Go on with --resume" in err
    assert load_run(folder) and unfinished(folder)  # it can be sampled, and gone on with
    assert run("--resume", str(folder)) == 0
    assert "Going on from step " in capsys.readouterr().out
    assert is_same(folder, whole)
    assert not (folder / "checkpoint").exists()


def test_a_second_signal_loses_only_what_came_since_the_last_save(
    words: str, tmp_path: Path, whole: Path, monkeypatch, capsys
):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        signals(patched, signal.SIGINT, signal.SIGINT)
        assert begin(words, folder, "--save-every", "0") == 130
    err = capsys.readouterr().err
    assert "Interrupted; the state after step " in err and f"is kept; go on with --resume {folder}." in err
    assert not (folder / "run.json").exists()
    assert begin(words, folder, "--resume", "auto") == 0
    assert is_same(folder, whole)


def test_before_the_first_save_a_second_signal_leaves_nothing(words: str, tmp_path: Path, monkeypatch, capsys):
    signals(monkeypatch, signal.SIGTERM, signal.SIGTERM, after=0)
    assert begin(words, tmp_path / "run") == 143
    assert capsys.readouterr().err == "backproof: Interrupted; nothing was saved.\n"
    assert not (tmp_path / "run").exists()


def test_what_is_killed_goes_on_where_it_was_last_saved(words: str, tmp_path: Path, capsys):
    steps = ["--steps", "200000", *SIZE]
    assert run("--data", words, "--out", str(tmp_path / "whole"), *steps) == 0
    command = [sys.executable, "-m", "backproof", "train", "--data", words, "--out", str(tmp_path / "run"), *steps]
    command += ["--save-every", "0", "--resume", "auto"]
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as training:
            assert training.stdout
            any("Training: " in line for line in training.stdout)
            time.sleep(random.uniform(0.1, 0.6))
            training.kill()
    assert subprocess.run(command, capture_output=True).returncode == 0
    assert is_same(tmp_path / "run", tmp_path / "whole")


def test_auto_begins_goes_on_and_knows_the_end(words: str, tmp_path: Path, monkeypatch, capsys):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        signals(patched, signal.SIGINT)
        assert begin(words, folder, "--resume", "auto") == 130
    assert begin(words, folder, "--resume", "auto") == 0
    capsys.readouterr()
    assert begin(words, folder, "--resume", "auto") == 0
    assert capsys.readouterr().out == f"The run in {folder} is finished; there is nothing left to do.\n"
    assert run("--data", words, "--out", str(folder), "--resume", "auto", "--steps", "9", *SIZE) == 2
    assert "exists already; choose another folder" in capsys.readouterr().err


def test_a_run_that_is_not_over_is_not_begun_again_unasked(words: str, tmp_path: Path, monkeypatch, capsys):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        signals(patched, signal.SIGINT)
        assert begin(words, folder) == 130
    capsys.readouterr()
    assert begin(words, folder) == 2
    assert f"holds a run that is not over; go on with --resume {folder}, or choose" in capsys.readouterr().err
    assert begin(words, folder, "--overwrite") == 0
    assert not unfinished(folder)


def refused(capsys, *arguments: str) -> str:
    capsys.readouterr()
    assert run(*arguments) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    return err


def test_what_cannot_be_gone_on_with_is_said_in_a_sentence(words: str, tmp_path: Path, monkeypatch, capsys):
    folder = str(tmp_path / "run")
    assert "holds no run that is not over; begin one with --out" in refused(capsys, "--resume", folder)
    assert "name it with --out" in refused(capsys, "--resume", "auto")
    assert "leave --out away" in refused(capsys, "--resume", folder, "--out", folder)
    assert "give one of them" in refused(capsys, "--resume", folder, "--overwrite")
    assert "has to be at least 0 seconds" in refused(capsys, "--out", folder, "--save-every", "-1")
    assert "has to be at least 0 seconds" in refused(capsys, "--out", folder, "--save-every", "nan")
    with monkeypatch.context() as patched:
        signals(patched, signal.SIGINT)
        assert begin(words, Path(folder)) == 130
    assert "has --hidden 9, and 10 would be another run" in refused(capsys, "--resume", folder, "--hidden", "10")
    with Path(words).open("a", encoding="utf-8") as more:
        more.write("\nlast")
    assert "was begun on other words than" in refused(capsys, "--resume", folder)


def test_who_comes_second_hears_whose_it_is(words: str, tmp_path: Path, capsys):
    pytest.importorskip("fcntl")
    command = [sys.executable, "-m", "backproof", "train", "--data", words, "--out", str(tmp_path / "run"), *SIZE]
    with subprocess.Popen([*command, "--steps", "100000000"], stdout=subprocess.PIPE, text=True) as training:
        assert training.stdout
        any("Training: " in line for line in training.stdout)
        assert f"is in use: process {training.pid} on " in refused(capsys, *command[4:])
        training.kill()
    assert begin(words, tmp_path / "run") == 0  # it had saved nothing yet


def test_a_run_that_another_has_ended_meanwhile_is_not_gone_on_with(words: str, tmp_path: Path, monkeypatch, capsys):
    folder = tmp_path / "run"
    with monkeypatch.context() as patched:
        signals(patched, signal.SIGINT)
        assert begin(words, folder) == 130
    monkeypatch.setattr("backproof.training.checkpoint.last", lambda _: None)
    assert "has just been ended by another process" in refused(capsys, "--resume", str(folder))
    assert load_run(folder)


def test_a_full_disk_ends_no_training(words: str, tmp_path: Path, whole: Path, monkeypatch, capsys):
    folder = tmp_path / "run"

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("backproof.training.checkpoint.Checkpoints.save", full)
        assert begin(words, folder, "--save-every", "0") == 0
    err = capsys.readouterr().err
    assert err.count("could not be saved (No space left on device), which will be tried again") == 1
    assert is_same(folder, whole)


def test_where_the_run_cannot_be_written_its_last_state_is_kept(
    words: str, tmp_path: Path, whole: Path, monkeypatch, capsys
):
    folder = tmp_path / "run"

    def full(*_: object, **__: object) -> Path:
        raise FolderError(f"{folder} could not be written (No space left on device); choose another folder with --out.")

    with monkeypatch.context() as patched:
        patched.setattr("backproof.runs.save_run", full)
        assert begin(words, folder) == 2
    assert f"; the state after step {STEPS:,} is kept; go on with --resume {folder}." in capsys.readouterr().err
    assert run("--resume", str(folder)) == 0
    assert is_same(folder, whole)


def test_what_is_replaced_stays_until_the_new_run_is_over(words: str, tmp_path: Path, monkeypatch, capsys):
    folder = tmp_path / "run"
    assert run("--data", words, "--out", str(folder), "--steps", "50", *SIZE) == 0
    with monkeypatch.context() as patched:
        signals(patched, signal.SIGINT, signal.SIGINT)
        assert begin(words, folder, "--overwrite", "--save-every", "0") == 130
    assert load_run(folder).settings.steps == 50 and unfinished(folder)
    assert run("--resume", str(folder)) == 0
    assert load_run(folder).settings.steps == STEPS


@pytest.mark.skipif(os.name == "nt", reason="there are no hang-ups")
def test_what_nohup_ignores_is_ignored(words: str, tmp_path: Path, monkeypatch):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        signals(monkeypatch, signal.SIGHUP)
        assert begin(words, tmp_path / "run") == 0
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    "error",
    [
        lambda: MemoryError(),
        lambda: RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: not enough memory: you tried to ..."
        ),
        lambda: OSError(errno.EROFS, os.strerror(errno.EROFS), "run.json"),
        lambda: OSError(errno.EIO, os.strerror(errno.EIO), "run.json"),
    ],
    ids=["memory", "PyTorch's memory", "read-only", "a failing disk"],
)
@pytest.mark.parametrize("where", ["backproof.training.evaluation.calibrate", "backproof.plots.loss_png"])
def test_what_fails_at_the_end_costs_nothing(
    words: str, tmp_path: Path, whole: Path, monkeypatch, capsys, error: Callable[[], Exception], where: str
):
    def fail(*_: object) -> None:
        raise error()

    with monkeypatch.context() as patched:
        patched.setattr(where, fail)
        assert begin(words, tmp_path / "run") == 2
    _, err = capsys.readouterr()
    assert err.startswith("backproof: ") and err.count("\n") == 1
    assert unfinished(tmp_path / "run")
    assert begin(words, tmp_path / "run", "--resume", "auto") == 0
    assert is_same(tmp_path / "run", whole)


def test_a_state_that_finds_no_memory_ends_the_run_and_the_one_before_is_kept(
    words: str, tmp_path: Path, whole: Path, monkeypatch, capsys
):
    saved = []

    def scarce(*given: Any) -> bytes:
        saved.append(given)
        if len(saved) > 2:
            raise MemoryError
        return write(*given)

    from safetensors import torch as safe

    write = safe.save
    with monkeypatch.context() as patched:
        patched.setattr(safe, "save", scarce)
        assert begin(words, tmp_path / "run", "--save-every", "0") == 2
    assert "There is not enough memory for this" in capsys.readouterr().err
    assert unfinished(tmp_path / "run")
    assert begin(words, tmp_path / "run", "--resume", "auto") == 0
    assert is_same(tmp_path / "run", whole)
