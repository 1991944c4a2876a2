"""Runs of the exercise's network, as tests of that network read them."""

from __future__ import annotations

from pathlib import Path

from backproof.models.mlp import Parameters
from backproof.runs import load_run
from backproof.sweep.plan import Member
from backproof.training.model import TrainedModel
from backproof.training.settings import Settings


def model_of(folder: Path) -> TrainedModel:
    model = load_run(folder).model
    assert isinstance(model, TrainedModel)
    return model


def parameters_of(folder: Path) -> Parameters:
    return model_of(folder).parameters


def settings_of(member: Member) -> Settings:
    assert isinstance(member.settings, Settings)
    return member.settings
