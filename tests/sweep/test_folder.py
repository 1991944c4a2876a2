"""What a folder has to hold for a sweep to go on in it."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from backproof.experiment import train
from backproof.runs import save_run
from backproof.sweep.folder import OWNER, claimed, outcomes_in
from backproof.sweep.plan import Plan, make_plan
from backproof.sweep.records import FILE, End
from backproof.text import Corpus
from backproof.training.folder import FolderError
from backproof.training.settings import Settings

SMALL = Settings(steps=40, batch_size=5, hidden=9, embedding=3, block_size=2)


def plan(runs: int = 2, **lists: str) -> Plan:
    return make_plan({name: str(value) for name, value in asdict(SMALL).items()} | lists, runs)


@pytest.fixture
def folder(small_corpus: Corpus, tmp_path: Path) -> Path:
    """A sweep whose first run is over and whose second was never begun."""
    save_run(train(small_corpus, SMALL), tmp_path / "sweep" / "run-1")
    (tmp_path / "sweep" / FILE).write_text("{}", encoding="utf-8")
    return tmp_path / "sweep"


def test_a_run_tells_of_itself(folder: Path, small_corpus: Corpus):
    found = outcomes_in(folder, plan(), small_corpus.sha256)
    said = json.loads((folder / "run-1" / "run.json").read_text(encoding="utf-8"))["figures"]
    assert list(found) == ["run-1"]
    assert (found["run-1"].end, found["run-1"].steps, found["run-1"].saved) == (End.FINISHED, 40, True)
    losses = found["run-1"].losses
    assert losses is not None and losses._asdict() == said["losses"]


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (plan(lr="0.2"), r"sweep holds another sweep: its run-1 has --lr 0.1, and this one's would have 0.2; choose"),
        (plan(10), r"sweep holds another sweep: this one has no run-1; choose another folder with --out\.$"),
    ],
)
def test_a_folder_of_another_sweep_is_refused(folder: Path, small_corpus: Corpus, asked: Plan, message: str):
    with pytest.raises(FolderError, match=message):
        outcomes_in(folder, asked, small_corpus.sha256)


def test_runs_on_other_words_are_refused(folder: Path):
    with pytest.raises(FolderError, match=r"run-1 was trained on other words; give those with --data, or choose"):
        outcomes_in(folder, plan(), "0" * 64)


def test_a_run_that_is_damaged_is_named_with_both_ways_out(folder: Path, small_corpus: Corpus):
    (folder / "run-1" / "run.json").write_text("{", encoding="utf-8")
    with pytest.raises(
        FolderError, match=r"not JSON; restore the run's own file, or remove \S+run-1 and it is trained"
    ):
        outcomes_in(folder, plan(), small_corpus.sha256)


def test_only_one_works_in_a_folder_and_what_is_empty_goes(tmp_path: Path, folder: Path):
    with claimed(folder):
        assert (folder / OWNER).exists()
        with pytest.raises(FolderError, match="is in use: process"), claimed(folder):
            pass
    assert not (folder / OWNER).exists()
    with claimed(tmp_path / "new" / "sweep"):
        pass
    assert not (tmp_path / "new").exists()


def test_what_a_killed_sweep_left_of_its_lock_does_not_count(tmp_path: Path):
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / OWNER).write_text("{}", encoding="utf-8")
    with claimed(tmp_path / "sweep"):
        pass
    assert list((tmp_path / "sweep").iterdir()) == []


def test_a_folder_of_something_else_is_refused(tmp_path: Path):
    (tmp_path / "photo.jpg").write_bytes(b"1")
    with pytest.raises(FolderError, match="exists already; choose another folder with --out"), claimed(tmp_path):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["photo.jpg"]
