"""The configuration of a run of whole words, and the two kinds of settings that files may hold."""

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
import torch

from backproof.models.protocol import OptionsError
from backproof.models.registry import NAMES, options_of, page
from backproof.optimisers.adamw import AdamW
from backproof.optimisers.momentum import Momentum
from backproof.optimisers.options import OptimiserError
from backproof.optimisers.sgd import SGD
from backproof.training.kinds import flat, is_state, may_change, settings_from, template, usual
from backproof.training.settings import Settings, SettingsError
from backproof.training.word_settings import WordSettings

each_model = pytest.mark.parametrize("name", NAMES)


def test_the_defaults_are_those_of_makemore():
    settings = WordSettings()
    assert (settings.model, settings.block_size, settings.batch_size) == ("transformer", 16, 32)
    steps = settings.make_steps()
    assert steps.optimiser == AdamW(weight_decay=0.01, decays="all", beta1=0.9, beta2=0.99, epsilon=1e-8)
    assert steps.clip == float("inf")
    assert settings.rates(0, 3).tolist() == [5e-4] * 3 and len(settings.rates()) == settings.steps


def test_optimisers_and_schedules_get_what_was_said():
    momentum = WordSettings(optimiser="momentum", beta1=0.8, weight_decay=0.0, clip=2.0).make_steps()
    assert (momentum.optimiser, momentum.clip) == (Momentum(momentum=0.8, decays="all"), 2.0)
    assert WordSettings(optimiser="sgd", decays="matrices").make_optimiser() == SGD(weight_decay=0.01)
    drop = WordSettings(steps=10, schedule="drop", lr=1.0, lr_drop_at=0.5, lr_after=0.25)
    assert (drop.rates().tolist(), drop.drop_step) == ([1.0] * 5 + [0.25] * 5, 5)
    cosine = WordSettings(steps=4, schedule="cosine", lr=1.0, warmup=2, lr_final=0.5)
    assert cosine.rates().tolist() == pytest.approx([0.5, 1.0, 0.75, 0.5])
    assert (cosine.drop_step, WordSettings(steps=4).drop_step) == (4, 4)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"steps": 0}, "--steps is 0; it has to be at least 1"),
        ({"batch_size": 2**20 + 1}, "--batch-size is 1048577; it has to be at most"),
        ({"evaluate_every": True}, "--evaluate-every is True; it has to be a whole number"),
        ({"seed": 2**63}, "--seed is"),
        ({"split_seed": -1}, "--split-seed is -1"),
        ({"lr": -1.0}, "--lr is -1.0; it has to be at least 0"),
        ({"lr": float("inf")}, "--lr is inf"),
        ({"weight_decay": -0.1}, "--weight-decay is -0.1"),
        ({"clip": -1.0}, "--clip is -1.0; it has to be at least 0"),
        ({"clip": 1e-9}, "--clip is 1e-09; it has to be at least 1e-06"),
        ({"beta1": 1.0, "optimiser": "momentum"}, "--beta1 is 1.0; it has to be less than 1"),
        ({"model": "mlp"}, "--model is 'mlp'; it has to be one of bigram, "),
        # what this run does not use has to be a number as well: run.json knows no other
        ({"beta2": float("nan"), "optimiser": "sgd"}, "--beta2 is nan; it has to be a number"),
        ({"lr_after": float("nan")}, "--lr-after is nan; it has to be a number"),
        ({"lr_drop_at": 2.0}, "--lr-drop-at is 2.0; it has to be at most 1"),
        ({"lr_final": float("nan")}, "--lr-final is nan"),
        ({"warmup": -1}, "--warmup is -1; it has to be at least 0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_its_name(wrong: dict[str, Any], message: str):
    with pytest.raises((SettingsError, OptimiserError)) as refused:
        WordSettings(**wrong)
    assert str(refused.value).startswith(message)


def test_sizes_that_make_no_network():
    with pytest.raises(OptionsError, match="--width is 64; it has to be a multiple of --heads, which is 3"):
        options_of("transformer")(heads=3)


@each_model
def test_settings_go_through_a_file(name: str):
    settings = WordSettings(model=name, steps=7, options=options_of(name)(block_size=5), clip=1.0)
    said = json.loads(json.dumps(asdict(settings), allow_nan=False))
    assert settings_from(said) == settings
    assert settings_from(json.loads(json.dumps(asdict(Settings())))) == Settings()
    assert usual(settings) == WordSettings(model=name)
    assert (flat(settings)["block_size"], flat(settings)["steps"], flat(settings)["model"]) == (5, 7, name)
    assert "options" not in flat(settings)


@each_model
@pytest.mark.parametrize(
    "change",
    [
        lambda said: said.update(steps=0),
        lambda said: said.update(steps=2.5),
        lambda said: said.update(optimiser="adam"),
        lambda said: said.update(schedule="step"),
        lambda said: said.update(decays="biases"),
        lambda said: said.update(lr="0.1"),
        lambda said: said.pop("lr"),
        lambda said: said.update(more=1),
        lambda said: said.update(engine=None),
        lambda said: said.update(model="mlp"),
        lambda said: said.update(model=["rnn"]),
        lambda said: said.update(options=None),
        lambda said: said.update(options=[]),
        lambda said: said["options"].update(block_size=0),
        lambda said: said["options"].update(block_size=16.0),
        lambda said: said["options"].update(more=1),
        lambda said: said["options"].pop("block_size"),
        lambda said: said.pop("model"),
    ],
)
def test_settings_that_were_altered_are_refused(name: str, change: Any):
    said = asdict(WordSettings(model=name))
    change(said)
    with pytest.raises((ValueError, TypeError, SettingsError)):
        settings_from(said)


def test_what_may_change_is_what_the_steps_taken_do_not_depend_on():
    assert may_change(WordSettings()) == ("steps",)
    assert may_change(WordSettings(schedule="drop")) == may_change(Settings()) == ("steps", "lr_drop_at")
    assert may_change(WordSettings(schedule="cosine")) == ()


@each_model
def test_a_state_is_known_by_its_names_shapes_and_numbers(name: str):
    settings = WordSettings(model=name)
    beforehand = template(settings, 11)
    assert set(page(name).initial(settings.options, 11, torch.Generator())) <= beforehand.keys()
    assert {tensor.device.type for tensor in beforehand.values()} <= {"meta", "cpu"}
    state = {key: torch.zeros(tensor.shape, dtype=tensor.dtype) for key, tensor in beforehand.items()}
    state |= {
        "watch.curve": torch.zeros(0, 3, dtype=torch.float64),
        "watch.steps": torch.tensor(0),
        "watch.since": torch.zeros(0),
    }
    assert is_state(state, settings, 11)
    first = next(iter(beforehand))
    for changes in (
        {first: torch.full_like(state[first], torch.nan)},
        {first: state[first].double()},
        {first: state[first][1:]},
        {"adamw.t": torch.tensor(0.0)},
        {"more": torch.zeros(1)},
        {"watch.steps": torch.zeros(1)},
    ):
        assert not is_state(state | changes, settings, 11)
    for missing in (first, "adamw.t", "masks", "watch.curve"):
        assert not is_state({key: tensor for key, tensor in state.items() if key != missing}, settings, 11)
    assert not is_state(state, settings, 12)
    assert not is_state(state, replace(settings, optimiser="sgd"), 11)
