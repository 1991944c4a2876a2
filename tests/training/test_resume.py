"""What a run that goes on may be asked to be."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from backproof.models import mlp
from backproof.training.checkpoint import About, Checkpoint
from backproof.training.folder import FolderError
from backproof.training.loop import State
from backproof.training.resume import continued
from backproof.training.settings import Settings

WAS = Settings(steps=1000, hidden=50, lr_drop_at=0.8)


def found(done: int = 600) -> Checkpoint:
    parameters = mlp.initial_parameters(mlp.Shape(27, 3, 2, 3, 1), torch.Generator(), 1)
    state = State(parameters._asdict(), torch.Generator().get_state(), np.ones(done, np.float32), 1.0)
    return Checkpoint(About(WAS, "eager", 27, "embedded", ""), state)


def went_on(wanted: Settings, anew: bool = False, done: int = 600) -> Settings:
    settings = continued(found(done), wanted, Path("run"), anew).about.settings
    assert isinstance(settings, Settings)
    return settings


def test_nothing_said_is_the_same_run():
    assert went_on(Settings()) == WAS
    assert went_on(WAS) == went_on(WAS, anew=True) == WAS


def test_it_may_be_longer_as_long_as_the_drop_has_not_come():
    assert went_on(Settings(steps=2000)) == replace(WAS, steps=2000)
    assert went_on(Settings(steps=2000, lr_drop_at=0.4), done=900) == replace(WAS, steps=2000, lr_drop_at=0.4)


@pytest.mark.parametrize(("done", "refused"), [(800, False), (801, True)])
def test_what_was_taken_for_another_drop_is_not_taken_back(done: int, refused: bool):
    if not refused:
        assert went_on(Settings(steps=2000), done=done).drop_step == 1600
        return
    message = "would drop at step 1,600, and the 801 steps .* for a drop at 800; leave it there with --lr-drop-at 0.4"
    with pytest.raises(FolderError, match=message):
        went_on(Settings(steps=2000), done=done)


@pytest.mark.parametrize(("steps", "refused"), [(600, False), (599, True)])
def test_nor_what_was_taken_already(steps: int, refused: bool):
    if not refused:
        assert went_on(Settings(steps=steps, lr_drop_at=1.0)).steps == steps
        return
    with pytest.raises(FolderError, match="has taken 600 steps already; give --steps of at least that"):
        went_on(Settings(steps=steps, lr_drop_at=1.0))


def test_another_run_is_refused():
    with pytest.raises(FolderError, match="has --hidden 50, and 60 would be another run; leave --hidden away, or"):
        went_on(replace(WAS, hidden=60))
    with pytest.raises(FolderError, match="has --hidden 50, and 200 would be another run"):
        went_on(Settings(steps=1000), anew=True)
    with pytest.raises(FolderError, match="has --batch-size 32, and 33 would be another run"):
        went_on(replace(WAS, batch_size=33))
