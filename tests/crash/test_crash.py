"""Killed at every file operation: the old or the new is whole, nothing else is visible, and the next command works."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stderr
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from exercise import parameters_of
from killing import END, SOME, in_a_child, moments, points, visible

from backproof import experiment, plots
from backproof.cli import main, train
from backproof.engines import fused_is_built
from backproof.experiment import Result
from backproof.record import read_record
from backproof.runs import load_run, save_run
from backproof.sweep import run as sweep_run
from backproof.sweep.events import Ended, Started
from backproof.sweep.member import train_member
from backproof.sweep.records import End, Outcome
from backproof.text import Corpus, read_corpus
from backproof.training.checkpoint import last
from backproof.training.folder import MARKER, check_folder, unfinished
from backproof.training.loop import Progress
from backproof.training.settings import Settings

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="the children are forks")

needs_fused = pytest.mark.skipif(not fused_is_built(), reason="the native engine was not built")
SIZE = ["--steps", "40", "--batch-size", "4", "--hidden", "9", "--embedding", "2", "--engine", "eager"]


@pytest.fixture(autouse=True)
def _quick(small_result: Result, monkeypatch):
    """Proving the gradients and drawing pictures touch no file, and take most of the time."""
    monkeypatch.setattr(experiment, "_prove", lambda *_: small_result.proof)
    monkeypatch.setattr(train, "import_meanwhile", lambda: None)  # it opens files whenever it comes to it
    monkeypatch.setattr(plots, "loss_png", lambda *_: b"a picture")
    monkeypatch.setattr(plots, "dlogits_png", lambda *_: b"a picture")


@pytest.fixture
def words(small_corpus: Corpus, tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(small_corpus.words), encoding="utf-8")
    return str(path)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of which a test says all that is in it."""
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


def emptied(place: Path, before: Path | None = None) -> None:
    shutil.rmtree(place)
    if before is None:
        place.mkdir()
    else:
        shutil.copytree(before, place)


@pytest.fixture
def other_result(small_result: Result) -> Result:
    return replace(small_result, settings=replace(small_result.settings, seed=7))


def seed_of(folder: Path) -> int:
    return load_run(folder).settings.seed


def test_a_run_is_there_whole_or_not_at_all(small_result: Result, place: Path):
    def check(point: int) -> None:
        if (place / "run").exists():
            assert seed_of(place / "run") == small_result.settings.seed
        assert in_a_child(lambda: save_run(small_result, place / "next")) == END
        assert set(visible(place)) <= {"run", "next"}
        emptied(place)

    assert points(lambda: save_run(small_result, place / "run"), check) > 40


def test_what_is_overwritten_is_the_old_run_or_the_new(small_result: Result, other_result: Result, place: Path):
    old, new = small_result.settings.seed, other_result.settings.seed
    save_run(small_result, place / "run")
    shutil.copytree(place, place.with_name("before"))
    seen = set()

    def check(point: int) -> None:
        seen.add(seed_of(place / "run"))
        check_folder(place / "run", overwrite=True)  # as the next command does that writes
        assert visible(place) == ["run"]
        emptied(place, place.with_name("before"))

    assert points(lambda: save_run(other_result, place / "run", overwrite=True), check) > 60
    assert seen <= {old, new}
    if os.environ.get("BACKPROOF_CRASH") == "all":
        assert seen == {old, new}


def trained(words: str, folder: Path, *more: str) -> None:
    code = main(["train", "--data", words, "--out", str(folder), *SIZE, "--save-every", "0", *more])
    assert code in (0, 130), code


def is_whole(folder: Path, whole: Path) -> None:
    numbers = zip(parameters_of(folder), parameters_of(whole), strict=True)
    assert all(bool((a == b).all()) for a, b in numbers)
    assert np.array_equal(np.load(folder / "losses.npy"), np.load(whole / "losses.npy"))
    assert (folder / "samples.txt").read_bytes() == (whole / "samples.txt").read_bytes()


def goes_on(words: str, place: Path, whole: Path, seed: int | None = None) -> Callable[[int], None]:
    """What is there is whole or can be gone on with, and the same command again ends as if it had never stopped."""

    def check(point: int) -> None:
        last(place / "run")  # raises where no state is whole
        if (place / "run" / MARKER).exists():
            load_run(place / "run")
        assert in_a_child(lambda: trained(words, place / "run", "--resume", "auto")) == END
        is_whole(place / "run", whole)
        assert visible(place) == ["run"]
        emptied(place)

    return check


@pytest.fixture
def whole(words: str, tmp_path: Path) -> Path:
    trained(words, tmp_path / "whole")
    return tmp_path / "whole"


def test_a_training_run_goes_on_whenever_it_is_killed(words: str, place: Path, whole: Path):
    assert points(lambda: trained(words, place / "run"), goes_on(words, place, whole)) > 150


def interrupted_after(steps: int) -> Callable[[Settings], object]:
    @contextmanager
    def display(settings: Settings) -> Iterator[Callable[[Progress], None]]:
        come = [signal.SIGINT]

        def show(progress: Progress) -> None:
            if come and progress.steps_done >= steps:
                signal.raise_signal(come.pop())

        yield show

    return display


def test_a_run_that_is_interrupted_goes_on_whenever_it_is_killed(words: str, place: Path, whole: Path, monkeypatch):
    def interrupted() -> None:
        monkeypatch.setattr(train, "training_display", interrupted_after(20))
        trained(words, place / "run")

    assert points(interrupted, goes_on(words, place, whole)) > 150


def test_a_run_that_goes_on_may_be_killed_again(words: str, place: Path, whole: Path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(train, "training_display", interrupted_after(20))
        trained(words, place / "run")
    shutil.copytree(place, place.with_name("before"))
    check = goes_on(words, place, whole)

    def once_more(point: int) -> None:
        check(point)
        emptied(place, place.with_name("before"))

    assert points(lambda: trained(words, place / "run", "--resume", "auto"), once_more) > 100


class _HereCrew:
    """Trains in this process, so that all operations of a sweep are counted."""

    def __init__(self, corpus: Corpus) -> None:
        self.corpus = corpus

    def train(self, tasks, interrupted, on_event) -> None:
        for task in tasks:
            on_event(Started(task.member))
            broken = train_member(self.corpus, task, lambda pace: False)
            on_event(Ended(task.member, broken or Outcome(End.NOT_STARTED)))


def swept(words: str, folder: Path, *more: str) -> None:
    code = main(["sweep", "--data", words, "--out", str(folder), *SIZE, "--save-every", "0", *more])
    assert code == 0, code


def tells_of(folder: Path) -> dict[str, object]:
    """What the record of a sweep says of its runs; each has to say the same of itself."""
    record = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    for run in record["runs"]:
        if run["folder"] is not None:
            own = read_record(folder / run["folder"])  # which puts back what was moved aside when the child was killed
            assert {**record["settings"], **run["settings"]} == asdict(own.settings)
            if run["status"] == "finished":
                assert own.losses is not None
                assert run["losses"] == own.losses._asdict()
    return {run["name"]: (run["status"], run["steps"], run["rungs"]) for run in record["runs"]}


@pytest.mark.parametrize("more", [["--runs", "2"], ["--runs", "2", "--early-stop", "halving"]])
def test_a_sweep_is_finished_by_the_same_command_whenever_it_is_killed(
    words: str, place: Path, tmp_path: Path, monkeypatch, more: list[str]
):
    monkeypatch.setattr(sweep_run, "local_crew", lambda job, size: nullcontext(_HereCrew(read_corpus(job.data))))
    monkeypatch.setattr(sweep_run, "cores", lambda: 1)  # OpenMP's threads do not come along into a fork
    monkeypatch.setattr(sweep_run, "PARTS", (1 / 2,))  # one rung is like the other, and all of them take minutes
    swept(words, tmp_path / "whole", *more)
    told = tells_of(tmp_path / "whole")

    def check(point: int) -> None:
        folder = place / "sweep"
        if (folder / "sweep.json").exists():
            tells_of(folder)
        assert in_a_child(lambda: swept(words, folder, *more)) == END
        assert tells_of(folder) == told
        for name in told:
            is_whole(folder / name, tmp_path / "whole" / name)
        assert visible(folder) == visible(tmp_path / "whole")
        emptied(place)

    assert points(lambda: swept(words, place / "sweep", *more), check, some=256) > 300


@pytest.mark.parametrize("engine", ["eager", pytest.param("fused", marks=needs_fused)])
def test_a_run_killed_at_any_moment_ends_with_the_same_bits(words: str, place: Path, tmp_path: Path, engine: str):
    more = ("--engine", engine, "--steps", "600" if engine == "eager" else "60000")
    trained(words, tmp_path / "whole", *more)

    def check() -> None:
        assert in_a_child(lambda: trained(words, place / "run", "--resume", "auto", *more)) == END
        is_whole(place / "run", tmp_path / "whole")
        assert visible(place) == ["run"]
        emptied(place)

    moments(lambda: trained(words, place / "run", *more), check, 50)


def ends_in_a_sentence(words: str, folder: Path, said: int, *more: str) -> None:
    """The command does what it was asked for, or says in a sentence why not, also to the open file `said`."""
    errors = io.StringIO()
    with redirect_stderr(errors):
        code = main(["train", "--data", words, "--out", str(folder), *SIZE, "--save-every", "0", *more])
    os.write(said, errors.getvalue().encode())
    lines = errors.getvalue().splitlines()
    assert code in (0, 2), code
    assert code == 0 or lines
    assert all(line.startswith("backproof: ") for line in lines), lines


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_disk_that_fills_up_at_any_write_costs_nothing(
    words: str, place: Path, whole: Path, tmp_path: Path, overwrite: bool
):
    run, old, said = place / "run", tmp_path / "old", tmp_path / "said.txt"
    old.mkdir()
    if overwrite:
        trained(words, old / "run", "--seed", "7")
    first = ["--overwrite"] if overwrite else []

    def next_command() -> list[str]:
        if unfinished(run):
            return ["--resume", "auto"]
        assert not overwrite or (run / MARKER).exists()
        return ["--overwrite"] if (run / MARKER).exists() else []

    def tried(point: int) -> str:
        """What is said when the disk is full from this operation on."""
        emptied(place, old)
        descriptor = os.open(said, os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        assert in_a_child(lambda: ends_in_a_sentence(words, run, descriptor, *first), full_at=point) == END
        os.close(descriptor)
        if (run / MARKER).exists():
            assert seed_of(run) in (7, seed_of(whole))
        more = next_command()
        assert in_a_child(lambda: trained(words, run, *more)) == END
        is_whole(run, whole)
        assert visible(place) == ["run"]
        return said.read_text(encoding="utf-8")

    every = 1 if os.environ.get("BACKPROOF_CRASH") == "all" else SOME
    point = random.randint(1, every)
    while told := tried(point):
        assert "No space left on device" in told or "no room left" in told
        point += every
    assert point > 40
