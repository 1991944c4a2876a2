"""States of a run on the disk: whole, the last two, of one owner, and the run goes on from them bit by bit."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backproof import experiment
from backproof.engines import fused_is_built
from backproof.text import Corpus
from backproof.training import checkpoint
from backproof.training.checkpoint import About, Checkpoints, last, owned
from backproof.training.errors import ModelFileError
from backproof.training.folder import FolderError, unfinished
from backproof.training.loop import Keep, State
from backproof.training.settings import Settings

Where = tuple[Path, About, list[State]]


@pytest.fixture(scope="module")
def states() -> list[State]:
    """Those of a run of 60 steps after 1, 2, ... of them."""
    return []


@pytest.fixture
def where(small_corpus: Corpus, small_settings: Settings, states: list[State], tmp_path: Path) -> Where:
    if not states:
        keep = Keep(lambda state: states.append(replace(state, losses=state.losses.copy())), 0.0)
        experiment.train(small_corpus, small_settings, keep=keep)
    symbols = 1 + len(set("".join(small_corpus.words)))
    about = About(small_settings, "eager", symbols, "small.txt", small_corpus.sha256)
    (tmp_path / "run" / "checkpoint").mkdir(parents=True)
    return tmp_path / "run", about, states


def same(a: State, b: State) -> bool:
    numbers = ((tensor, b.tensors[name]) for name, tensor in a.tensors.items())
    return (
        a.tensors.keys() == b.tensors.keys()
        and all(torch.equal(x, y) for x, y in numbers)
        and torch.equal(a.random, b.random)
        and np.array_equal(a.losses, b.losses)
        and a.seconds == b.seconds
    )


def files(folder: Path) -> list[str]:
    return sorted(each.name for each in (folder / "checkpoint").iterdir())


def test_a_state_read_back_is_the_state(where: Where):
    folder, about, states = where
    saved = Checkpoints(folder, about)
    assert (saved.steps, last(folder), unfinished(folder)) == (0, None, False)
    for state in states[:5]:
        saved.save(state)
        found = last(folder)
        assert found is not None and unfinished(folder)
        assert found.about == about and same(found.state, state)
        assert saved.steps == len(state.losses)


def test_the_last_two_are_kept_and_the_losses_once(where: Where):
    folder, about, states = where
    saved = Checkpoints(folder, about)
    for state in states[:4]:
        saved.save(state)
    names = [f"state-{len(state.losses):012}" for state in states[2:4]]
    assert files(folder) == ["about.json", "losses", *names]
    assert (folder / "checkpoint" / "losses").stat().st_size == 4 * len(states[3].losses)


def test_it_goes_on_where_it_was_saved(where: Where):
    folder, about, states = where
    Checkpoints(folder, about).save(states[2])
    with (folder / "checkpoint" / "losses").open("ab") as losses:
        losses.write(b"half a loss")  # of a state that was never written
    saved = Checkpoints(folder, replace(about, settings=replace(about.settings, steps=90)), states[2])
    assert same(last(folder).state, states[2])  # pyright: ignore[reportOptionalMemberAccess]
    saved.save(states[4])
    found = last(folder)
    assert found is not None and found.about.settings.steps == 90
    assert same(found.state, states[4])


def test_a_run_that_begins_again_leaves_nothing_of_the_one_before(where: Where):
    folder, about, states = where
    Checkpoints(folder, about).save(states[4])
    Checkpoints(folder, about)
    assert last(folder) is None
    assert files(folder) == ["about.json"]


def test_a_state_that_cannot_be_written_leaves_the_one_before(where: Where, monkeypatch):
    folder, about, states = where
    saved = Checkpoints(folder, about)
    saved.save(states[1])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("write_bytes", "os.fsync"):
        with monkeypatch.context() as patched:
            patched.setattr(f"backproof.training.checkpoint.{name}", full)
            with pytest.raises(OSError, match="No space left"):
                saved.save(states[2])
        assert same(last(folder).state, states[1])  # pyright: ignore[reportOptionalMemberAccess]
    saved.save(states[3])
    assert same(last(folder).state, states[3])  # pyright: ignore[reportOptionalMemberAccess]


def spoil(change: Callable[[bytearray], object]) -> Callable[[Path], None]:
    def do(path: Path) -> None:
        content = bytearray(path.read_bytes())
        change(content)
        path.write_bytes(bytes(content))

    return do


def as_if_of_other_steps(path: Path) -> None:
    path.rename(path.with_name("state-000000000059"))


DAMAGES = {
    "cut off": spoil(lambda content: content.__delitem__(slice(-100, None))),
    "empty": spoil(lambda content: content.clear()),
    "a bit of its numbers": spoil(lambda content: content.__setitem__(-9, content[-9] ^ 1)),
    "a bit of its random state": spoil(lambda content: content.__setitem__(-3000, content[-3000] ^ 1)),
    "its header": spoil(lambda content: content.__setitem__(7, 255)),
    "its name": as_if_of_other_steps,
    "a pipe": lambda path: (path.unlink(), os.mkfifo(path)),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "three gigabytes": lambda path: os.truncate(path, 3 * 2**30),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_where_the_last_is_damaged_the_one_before_is_taken(where: Where, damage: str):
    folder, about, states = where
    saved = Checkpoints(folder, about)
    for state in states[:3]:
        saved.save(state)
    first, second = [folder / "checkpoint" / f"state-{len(state.losses):012}" for state in states[1:3]]
    DAMAGES[damage](second)
    assert same(last(folder).state, states[1])  # pyright: ignore[reportOptionalMemberAccess]
    DAMAGES[damage](first)
    with pytest.raises(ModelFileError, match="is damaged: none of its states is whole; begin again with --overwrite"):
        last(folder)


def test_losses_that_were_altered_make_no_state_whole(where: Where):
    folder, about, states = where
    Checkpoints(folder, about).save(states[3])
    spoil(lambda content: content.__setitem__(0, content[0] ^ 1))(folder / "checkpoint" / "losses")
    with pytest.raises(ModelFileError, match="none of its states is whole"):
        last(folder)


def alter(**changes: object) -> Callable[[dict], object]:
    return lambda about: about.update(changes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (alter(format="backproof-checkpoint-9"), "was not written by this version of Backproof"),
        (alter(symbols=65_536), "is missing, damaged or was altered"),
        (alter(symbols=1), "is missing, damaged or was altered"),
        (alter(symbols=True), "is missing, damaged or was altered"),
        (alter(engine=5), "is missing, damaged or was altered"),
        (alter(settings={"steps": 5}), "is missing, damaged or was altered"),
        (alter(more=1), "is missing, damaged or was altered"),
        (lambda about: about["settings"].update(lr=-1.0), "is missing, damaged or was altered"),
        (lambda about: about["settings"].update(lr=0.2), "none of its states is whole"),
        (lambda about: about["settings"].update(hidden=12), "none of its states is whole"),
        (lambda about: about.update(data_sha256="0"), "none of its states is whole"),
        (lambda about: about.clear(), "is missing, damaged or was altered"),
    ],
)
def test_what_is_said_of_the_run_is_checked(where: Where, change: Callable, message: str):
    folder, about, states = where
    Checkpoints(folder, about).save(states[3])
    path = folder / "checkpoint" / "about.json"
    described = json.loads(path.read_text(encoding="utf-8"))
    change(described)
    path.write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(ModelFileError, match=message):
        last(folder)
    path.unlink()
    with pytest.raises(ModelFileError, match="is missing, damaged or was altered"):
        last(folder)


def test_a_folder_has_one_owner(tmp_path: Path):
    pytest.importorskip("fcntl")
    with owned(tmp_path / "run"):
        message = f"run is in use: process {os.getpid()} on .* has been training there since ..:..:..; wait, or choose"
        with pytest.raises(FolderError, match=message), owned(tmp_path / "run"):
            pass
        with owned(tmp_path / "other"):
            pass
    with owned(tmp_path / "run"):
        pass
    assert list(tmp_path.iterdir()) == []  # nothing was trained there


def test_what_a_killed_owner_left_is_had_by_the_next(tmp_path: Path):
    program = (
        "import os, sys; from pathlib import Path; from backproof.training.checkpoint import owned\n"
        "with owned(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", program, str(tmp_path / "run")]).returncode == -9
    assert files(tmp_path / "run") == ["owner"]
    with owned(tmp_path / "run"):
        assert not unfinished(tmp_path / "run")
    assert list((tmp_path / "run").iterdir()) == []


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    message = r"cannot be written \(Not a directory\); choose another"
    with pytest.raises(FolderError, match=message), owned(tmp_path / "file" / "run"):
        pass


@pytest.mark.parametrize("engine", ["eager", pytest.param("fused", marks=pytest.mark.skipif(
    not fused_is_built(), reason="the native engine is not built"))])  # fmt: skip
@pytest.mark.parametrize("longer", [0, 25])
def test_a_run_that_goes_on_ends_with_the_bits_of_one_that_never_stopped(
    small_corpus: Corpus, small_settings: Settings, tmp_path: Path, engine: str, longer: int
):
    settings = replace(small_settings, engine=engine, lr_drop_at=1.0)
    whole = experiment.train(small_corpus, replace(settings, steps=settings.steps + longer))
    states: list[State] = []
    keep = Keep(lambda state: states.append(replace(state, losses=state.losses.copy())), 0.0)
    experiment.train(small_corpus, settings, keep=keep)
    assert len(states) > 4
    for number, state in enumerate(states):
        folder = tmp_path / str(number)
        (folder / "checkpoint").mkdir(parents=True)
        about = About(settings, engine, len(whole.model.symbols), "small.txt", small_corpus.sha256)
        Checkpoints(folder, about).save(state)
        found = last(folder)
        assert found is not None
        result = experiment.train(small_corpus, whole.settings, begun=found.state)
        assert np.array_equal(result.step_losses, whole.step_losses)
        assert all(torch.equal(a, b) for a, b in zip(result.model.parameters, whole.model.parameters, strict=True))
        assert result.samples == whole.samples
        assert torch.equal(result.last_batch.contexts, whole.last_batch.contexts)
        assert result.seconds >= state.seconds


def test_the_states_go_along_without_their_owner(where: Where, tmp_path: Path):
    folder, about, states = where
    Checkpoints(folder, about).save(states[1])
    (folder / "checkpoint" / "owner").touch()
    (tmp_path / "new").mkdir()
    checkpoint.copy(folder, tmp_path / "new")
    assert "owner" not in files(tmp_path / "new")
    assert same(last(tmp_path / "new").state, states[1])  # pyright: ignore[reportOptionalMemberAccess]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="the system has no pipes with a name")
def test_a_pipe_in_place_of_the_losses_is_not_waited_for(where: Where):
    folder, about, states = where
    Checkpoints(folder, about).save(states[2])
    (folder / "checkpoint" / "losses").unlink()
    os.mkfifo(folder / "checkpoint" / "losses")
    with pytest.raises(ModelFileError, match="none of its states is whole"):
        last(folder)
