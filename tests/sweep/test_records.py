import json
from dataclasses import asdict
from pathlib import Path

import pytest

from backproof.record import SplitLosses
from backproof.sweep.plan import make_plan
from backproof.sweep.records import End, Outcome, Sweep, write_record
from backproof.training.folder import FolderError
from backproof.training.settings import Settings


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    """Two configurations with three runs each: one failed, and one that is alone in having finished."""
    options = {name: str(value) for name, value in asdict(Settings()).items()} | {"hidden": "10,20"}
    sweep = Sweep(make_plan(options, 3), tmp_path, "words.txt", "0" * 64, 2)
    for name, losses in {"run-1": (1.0, 2.0, 3.0), "run-2": (3.0, 2.0, 5.0), "run-6": (1.5, 1.9, 4.0)}.items():
        sweep.outcomes[name] = Outcome(End.FINISHED, 100, 1.23456, SplitLosses(*losses), saved=True)
    sweep.outcomes["run-3"] = Outcome(End.FAILED, reason="the disk was full", details="Traceback")
    sweep.outcomes["run-4"] = Outcome(End.INTERRUPTED, 7, saved=True, reason="interrupted after step 7")
    return sweep


def test_mean_and_standard_deviation_of_what_finished(sweep: Sweep):
    first, second = sweep.summaries()
    assert (first.differences, first.runs, first.finished) == ({"hidden": 10}, 3, 2)
    assert first.losses["train"] == pytest.approx((2.0, 2**0.5))
    assert first.losses["validation"] == (2.0, 0.0)
    assert first.losses["test"] == pytest.approx((4.0, 2**0.5))
    assert (second.finished, second.losses["test"]) == (1, (4.0, None))


def test_the_best_is_chosen_by_validation(sweep: Sweep):
    best = sweep.best()
    assert best is not None
    assert best.name == "run-6"
    sweep.outcomes.clear()
    assert sweep.best() is None
    assert sweep.summaries()[0].losses == {}


def test_an_interrupted_run_is_a_failure_only_when_nobody_interrupted_the_sweep(sweep: Sweep):
    assert [member.name for member, _ in sweep.failures] == ["run-3", "run-4"]
    sweep.status = "interrupted"
    assert [member.name for member, _ in sweep.failures] == ["run-3"]


def test_the_record_on_disk(sweep: Sweep):
    path = write_record(sweep)
    assert list(sweep.folder.iterdir()) == [path]
    record = json.loads(path.read_text(encoding="utf-8"))
    assert record["varied"] == ["hidden", "seed", "affine_seed"]
    assert record["settings"]["lr"] == 0.1
    assert not set(record["settings"]) & set(record["varied"])
    assert [run["status"] for run in record["runs"]] == [
        "finished", "finished", "failed", "interrupted", "not started", "finished",
    ]  # fmt: skip
    assert record["runs"][5]["settings"] == {"hidden": 20, "seed": 2147483649, "affine_seed": 3}
    assert record["runs"][2]["folder"] is None
    assert record["configurations"][1]["losses"]["train"] == {"mean": 1.5, "deviation": None}
    (failure, _) = record["failures"]
    assert (failure["run"], failure["reason"], failure["details"]) == ("run-3", "the disk was full", "Traceback")


def test_a_disk_that_fills_up_leaves_the_old_record(sweep: Sweep, monkeypatch: pytest.MonkeyPatch):
    before = write_record(sweep).read_bytes()

    def full(self: Path, target: Path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(FolderError, match=r"sweep.json could not be written \(No space left on device\)"):
        write_record(sweep)
    assert [file.read_bytes() for file in sweep.folder.iterdir()] == [before]
