"""Sweeps on a real Dask cluster of two worker processes, one of which may be killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from exercise import parameters_of, settings_of

from backproof.experiment import train
from backproof.sweep.events import Advanced, Ended, Event, Started
from backproof.sweep.plan import Plan, SweepError, make_plan
from backproof.sweep.records import End
from backproof.sweep.run import Cluster, run_sweep
from backproof.text import Corpus, read_corpus
from backproof.training.folder import unfinished
from backproof.training.settings import Settings

pytest.importorskip("distributed")
SMALL = Settings(steps=40, batch_size=5, hidden=9, embedding=3, block_size=2)
_SCRIPT = """
import sys
from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
"""


class Running(NamedTuple):
    """A cluster's scheduler, and the process that keeps it."""

    address: str
    process: subprocess.Popen


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    place = tmp_path_factory.mktemp("cluster")
    (place / "cluster.py").write_text(_SCRIPT, encoding="utf-8")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "cluster.py"], cwd=place, **pipes) as process:
        assert process.stdin is not None and process.stdout is not None
        yield Running(process.stdout.readline().strip(), process)
        process.stdin.close()


@pytest.fixture
def words(tmp_path: Path, small_corpus: Corpus) -> Corpus:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(small_corpus.words), encoding="utf-8")
    return read_corpus(str(path))


def plan(runs: int = 1, **lists: str) -> Plan:
    return make_plan({name: str(value) for name, value in asdict(SMALL).items()} | lists, runs)


@pytest.mark.parametrize("shared", [False, True])
def test_a_cluster_trains_the_runs_that_this_machine_would(
    running: Running, words: Corpus, tmp_path: Path, shared: bool
):
    events: list[Event] = []
    asked = plan(runs=2, lr="0.1,1e30")
    cluster = Cluster(running.address, shared)
    sweep = run_sweep(asked, words, tmp_path / "sweep", on_event=events.append, cluster=cluster)
    assert [sweep.outcome(member).end for member in asked.members] == 2 * [End.FINISHED] + 2 * [End.DIVERGED]
    assert sorted(each.name for each in sweep.folder.iterdir()) == ["run-1", "run-2", "run-3", "run-4", "sweep.json"]
    assert json.loads((sweep.folder / "sweep.json").read_text(encoding="utf-8"))["scheduler"] == running.address
    assert sorted(e.member.name for e in events if isinstance(e, Started)) == [m.name for m in asked.members]
    assert sorted(e.member.name for e in events if isinstance(e, Ended)) == [m.name for m in asked.members]
    alone = train(words, settings_of(asked.members[1]))
    assert all(map(torch.equal, parameters_of(sweep.folder / "run-2"), alone.model.parameters))


def pids(address: str) -> set[int]:
    """The processes of the workers."""
    from distributed import Client

    with Client(address, set_as_default=False) as client:
        return set(client.run(os.getpid).values())  # pyright: ignore[reportAttributeAccessIssue] - it is no coroutine


@pytest.mark.parametrize("shared", [False, True])
def test_a_run_whose_worker_is_killed_is_trained_by_another(
    running: Running, words: Corpus, tmp_path: Path, shared: bool
):
    before = pids(running.address)
    killed: list[int] = []

    def kill_one(event: Event) -> None:
        if isinstance(event, Advanced) and not killed:
            killed.append(min(before))
            os.kill(killed[0], signal.SIGKILL)

    asked = plan(runs=2, steps="200000")
    cluster = Cluster(running.address, shared)
    sweep = run_sweep(asked, words, tmp_path / "sweep", on_event=kill_one, cluster=cluster, save_every=0)
    assert killed
    assert [sweep.outcome(member).end for member in asked.members] == [End.FINISHED, End.FINISHED]
    assert killed[0] not in pids(running.address)
    alone = train(words, settings_of(asked.members[0]))
    assert all(map(torch.equal, parameters_of(sweep.folder / "run-1"), alone.model.parameters))


@pytest.mark.parametrize("shared", [False, True])
def test_ctrl_c_brings_home_what_is_there_and_the_same_sweep_goes_on(
    running: Running, words: Corpus, tmp_path: Path, shared: bool
):
    pressed: list[Event] = []

    def press_once(event: Event) -> None:
        if isinstance(event, Advanced) and not pressed:
            pressed.append(event)
            signal.raise_signal(signal.SIGINT)

    asked = plan(runs=3, steps="300000")
    cluster = Cluster(running.address, shared)
    sweep = run_sweep(asked, words, tmp_path / "sweep", on_event=press_once, cluster=cluster)
    begun = [member for member in asked.members if sweep.outcome(member).end is End.INTERRUPTED]
    assert sweep.status == "interrupted" and begun
    assert unfinished(sweep.folder / begun[0].name)

    sweep = run_sweep(asked, words, tmp_path / "sweep", cluster=cluster)
    assert {sweep.outcome(member).end for member in asked.members} == {End.FINISHED}
    alone = train(words, settings_of(begun[0]))
    assert all(map(torch.equal, parameters_of(sweep.folder / begun[0].name), alone.model.parameters))


def test_what_a_cluster_cannot_do_is_said_before_a_run_begins(running: Running, words: Corpus, tmp_path: Path):
    with pytest.raises(SweepError, match="There is no engine 'warp'; choose one of"):
        run_sweep(plan(engine="warp"), words, tmp_path / "sweep", cluster=Cluster(running.address))
    with pytest.raises(
        SweepError, match=r"^No scheduler answers at nonsense://x \(.*; start one with 'dask scheduler'"
    ):
        run_sweep(plan(), words, tmp_path / "sweep", cluster=Cluster("nonsense://x"))
    assert not (tmp_path / "sweep").exists()


def test_without_dask_it_is_said_how_to_install_it(words: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SweepError, match=r"install it with: pip install 'backproof\[cluster\]'\.$"):
        run_sweep(plan(), words, tmp_path / "sweep", cluster=Cluster("tcp://localhost:1"))
    assert not (tmp_path / "sweep").exists()


def test_a_cluster_that_goes_costs_its_runs_and_no_traceback(words: Corpus, tmp_path: Path):
    place = tmp_path / "cluster"
    place.mkdir()
    (place / "cluster.py").write_text(_SCRIPT, encoding="utf-8")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL, "text": True}
    with subprocess.Popen([sys.executable, "cluster.py"], cwd=place, start_new_session=True, **pipes) as process:
        assert process.stdout is not None
        address = process.stdout.readline().strip()

        def kill(event: Event) -> None:
            if isinstance(event, Advanced) and process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()

        asked = plan(steps="100000000")
        sweep = run_sweep(asked, words, tmp_path / "sweep", on_event=kill, cluster=Cluster(address))
    (member, outcome) = sweep.failures[0]
    assert member == asked.members[0]
    assert outcome.reason.startswith("the cluster lost it (")
