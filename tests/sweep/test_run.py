"""Sweeps with real worker processes."""

import json
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from exercise import parameters_of, settings_of

from backproof.experiment import train
from backproof.runs import load_run
from backproof.sweep.events import Advanced, Ended, Event, Found, Started, Stopping
from backproof.sweep.plan import Plan, SweepError, make_plan
from backproof.sweep.pool import _death, _Worker, team_size
from backproof.sweep.records import End, Sweep
from backproof.sweep.run import run_sweep
from backproof.text import Corpus, CorpusError, parse_corpus, read_corpus
from backproof.training.folder import FolderError
from backproof.training.settings import Settings

SMALL = Settings(steps=40, batch_size=5, hidden=9, embedding=3, block_size=2)


@pytest.fixture
def words(tmp_path: Path, small_corpus: Corpus) -> Corpus:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(small_corpus.words), encoding="utf-8")
    return read_corpus(str(path))


def plan(runs: int = 1, **lists: str) -> Plan:
    return make_plan({name: str(value) for name, value in asdict(SMALL).items()} | lists, runs)


@pytest.fixture(autouse=True)
def _no_process_is_left():
    yield
    assert multiprocessing.active_children() == []
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def ends(sweep: Sweep) -> list[End]:
    return [sweep.outcome(member).end for member in sweep.plan.members]


def status_on_disk(folder: Path) -> str:
    return json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["status"]


@pytest.fixture
def _little_memory() -> Iterator[None]:
    """At most 24 gigabytes a process, also where there is more, or where the system promises more than there is."""
    resource = pytest.importorskip("resource")
    before, most = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(
        resource.RLIMIT_AS, (24 * 2**30 if most == resource.RLIM_INFINITY else min(24 * 2**30, most), most)
    )
    yield
    resource.setrlimit(resource.RLIMIT_AS, (before, most))


@pytest.mark.usefixtures("_little_memory")
def test_every_run_is_the_run_that_train_gives_and_failures_stop_no_other(words: Corpus, tmp_path: Path):
    events: list[Event] = []
    # with so many inputs a million neurons want 34 gigabytes: an exception in the worker
    asked = plan(hidden=f"{2**20},1", lr="0.1,1e30", block_size="256", embedding="32")
    sweep = run_sweep(asked, words, tmp_path / "sweep", 2, events.append)
    assert sweep.status == status_on_disk(sweep.folder) == "finished"
    assert ends(sweep) == [End.FAILED, End.FAILED, End.FINISHED, End.DIVERGED]
    assert [member.name for member, _ in sweep.failures] == ["run-1", "run-2", "run-4"]

    failed, _, finished, diverged = (sweep.outcome(member) for member in asked.members)
    assert "not enough memory" in failed.reason
    assert "\n" not in failed.reason
    assert "Traceback" in failed.details
    assert "no longer finite at step" in diverged.reason
    assert {path.name for path in sweep.folder.iterdir()} == {"run-3", "run-4", "sweep.json"}

    alone = train(words, settings_of(asked.members[2]))
    saved = load_run(sweep.folder / "run-3")
    assert saved.settings == asked.members[2].settings
    assert all(map(torch.equal, parameters_of(sweep.folder / "run-3"), alone.model.parameters))
    assert finished.losses == pytest.approx(list(asdict(alone.losses).values()), rel=1e-6)
    assert finished.steps == 40

    begun = [event.member.name for event in events if isinstance(event, Started)]
    over = [event.member.name for event in events if isinstance(event, Ended)]
    assert begun == [member.name for member in asked.members]
    assert sorted(over) == begun
    paces = [event.pace for event in events if isinstance(event, Advanced) and event.member.name == "run-3"]
    assert paces[-1].steps_done == 40
    assert paces[-1].loss == pytest.approx(alone.step_losses.mean(), rel=1e-4)


def test_a_worker_that_is_killed_costs_its_own_run_and_is_replaced(words: Corpus, tmp_path: Path):
    killed: list[int] = []

    def kill_the_first(event: Event) -> None:
        if isinstance(event, Started) and not killed:
            (child,) = multiprocessing.active_children()
            assert child.pid
            killed.append(child.pid)
            os.kill(child.pid, signal.SIGKILL)

    sweep = run_sweep(plan(runs=2, steps="500"), words, tmp_path / "sweep", 1, kill_the_first)
    assert ends(sweep) == [End.FAILED, End.FINISHED]
    assert sweep.failures[0][1].reason == "its process was ended by SIGKILL (perhaps the memory was full)"


def test_a_display_that_fails_costs_no_run_and_its_error_comes_last(words: Corpus, tmp_path: Path):
    seen: list[Event] = []

    def closed(event: Event) -> None:
        seen.append(event)
        raise BrokenPipeError(32, "Broken pipe")

    with pytest.raises(BrokenPipeError):
        run_sweep(plan(runs=2), words, tmp_path / "sweep", 1, closed)
    assert [type(event) for event in seen] == [Found]
    assert status_on_disk(tmp_path / "sweep") == "finished"
    for name in ("run-1", "run-2"):
        load_run(tmp_path / "sweep" / name)


def test_whatever_ends_a_sweep_its_record_does_not_say_that_it_goes_on(
    words: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(crew, tasks, interrupted, note):
        note(Started(tasks[0].member))
        tasks[0].folder.mkdir()
        raise ValueError("a bug")

    monkeypatch.setattr("backproof.sweep.pool._LocalCrew.train", fail)
    with pytest.raises(ValueError, match="a bug"):
        run_sweep(plan(), words, tmp_path / "sweep", 1)
    assert status_on_disk(tmp_path / "sweep") == "interrupted"


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (3, "its process ended with exit code 3"),
        (-9, "its process was ended by SIGKILL (perhaps the memory was full)"),
        (-40, "its process was ended by signal 40"),  # a real-time signal has no name
    ],
)
def test_how_a_worker_died(code: int, reason: str):
    process = SimpleNamespace(join=lambda: None, exitcode=code)
    assert _death(_Worker(process, None)).reason == reason  # type: ignore[arg-type]


def test_ctrl_c_saves_the_runs_at_hand(words: Corpus, tmp_path: Path):
    pressed: list[Event] = []

    def press_once(event: Event) -> None:
        if isinstance(event, Advanced) and not pressed:
            pressed.append(event)
            signal.raise_signal(signal.SIGINT)

    asked = plan(runs=3, steps="10000000")
    sweep = run_sweep(asked, words, tmp_path / "sweep", 1, press_once)
    assert sweep.status == status_on_disk(sweep.folder) == "interrupted"
    assert ends(sweep) == [End.INTERRUPTED, End.NOT_STARTED, End.NOT_STARTED]
    assert sweep.failures == []
    assert load_run(sweep.folder / "run-1").settings == asked.members[0].settings
    assert sorted(path.name for path in sweep.folder.iterdir()) == ["run-1", "sweep.json"]


def test_a_second_ctrl_c_gives_up(words: Corpus, tmp_path: Path):
    def show(event: Event) -> None:
        if isinstance(event, Advanced | Stopping):
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run_sweep(plan(steps="10000000"), words, tmp_path / "sweep", 1, show)
    assert status_on_disk(tmp_path / "sweep") == "interrupted"


def test_ctrl_c_before_the_first_run_leaves_nothing(words: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from backproof.sweep import pool

    hire = pool._hire

    def hire_and_interrupt(job):
        worker = hire(job)
        signal.raise_signal(signal.SIGINT)
        return worker

    monkeypatch.setattr(pool, "_hire", hire_and_interrupt)
    sweep = run_sweep(plan(), words, tmp_path / "sweep", 1)
    assert (sweep.status, sweep.outcomes) == ("interrupted", {})
    assert not sweep.folder.exists()


def test_a_sweep_that_never_began_leaves_no_folder_above_it(words: Corpus, tmp_path: Path):
    with pytest.raises(SweepError, match="There is no engine"):
        run_sweep(plan(engine="warp"), words, tmp_path / "deep" / "er" / "sweep", 1)
    assert not (tmp_path / "deep").exists()


def fail_but_for_the_beginning(event: Event) -> None:
    assert event == Found({})


def test_an_engine_that_is_not_there_is_named_before_anything_begins(words: Corpus, tmp_path: Path):
    with pytest.raises(SweepError, match="There is no engine 'warp'; choose one of"):
        run_sweep(plan(engine="warp"), words, tmp_path / "sweep", 1, fail_but_for_the_beginning)
    assert not (tmp_path / "sweep").exists()


def test_words_that_change_meanwhile_are_noticed(words: Corpus, tmp_path: Path):
    with pytest.raises(SweepError, match=r"words.txt has changed since the sweep began; start it again"):
        run_sweep(plan(), replace(words, sha256="0" * 64), tmp_path / "sweep", 1)


def test_what_cannot_be_done_is_said_before_a_process_is_started(words: Corpus, tmp_path: Path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "photo.jpg").write_bytes(b"1")
    with pytest.raises(FolderError, match=r"full exists already; choose another folder with --out\.$"):
        run_sweep(plan(), words, tmp_path / "full", 1)
    with pytest.raises(FolderError, match=r"photo.jpg is a file; choose another"):
        run_sweep(plan(), words, tmp_path / "full" / "photo.jpg", 1)
    with pytest.raises(FolderError, match=r"cannot be written \(Not a directory\); choose another"):
        run_sweep(plan(), words, tmp_path / "full" / "photo.jpg" / "sweep", 1)
    with pytest.raises(FolderError, match=r"cannot be written \(File name too long\); choose another"):
        run_sweep(plan(), words, tmp_path / "deep" / ("n" * 300), 1)
    with pytest.raises(SweepError, match="--workers is 0; it has to be at least 1"):
        run_sweep(plan(), words, tmp_path / "sweep", 0)
    with pytest.raises(CorpusError, match="too few to split"):
        run_sweep(plan(), parse_corpus(b"anna\notto", "few.txt"), tmp_path / "sweep", 1)
    assert not (tmp_path / "sweep").exists()
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["photo.jpg"]


def test_no_more_workers_than_runs():
    assert team_size(8, 3) == 3
    assert team_size(2, 3) == 2
    assert 1 <= team_size(None, 1000) <= (os.cpu_count() or 1)
