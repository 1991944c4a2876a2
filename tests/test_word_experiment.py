"""A whole run of a model of whole words: repeated, interrupted and gone on with, diverged, saved."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from backproof import word_experiment
from backproof.models.registry import NAMES, options_of
from backproof.resumable import Resumable
from backproof.runs import load_run, save_run
from backproof.text import Corpus, WholeWords
from backproof.training import checkpoint, sampling
from backproof.training.sampling import SamplingError
from backproof.training.status import Status
from backproof.training.watch import Measured
from backproof.training.word_model import WordModel
from backproof.training.word_settings import WordSettings
from backproof.word_experiment import Novelty, WordResult, train

SAMPLED = 40
SIZES: dict[str, dict[str, Any]] = {
    "rnn": {"block_size": 5, "width": 3, "hidden": 5},
    "transformer": {"block_size": 5, "width": 6, "heads": 2, "layers": 1, "dropout": 0.2},
}


def settings_of(name: str = "rnn", **more: Any) -> WordSettings:
    given: dict[str, Any] = {"steps": 22, "batch_size": 4, "evaluate_every": 5, "lr": 0.02} | more
    return WordSettings(model=name, options=options_of(name)(**SIZES.get(name, {"block_size": 5})), **given)


@pytest.fixture(scope="module", autouse=True)
def _few_words():
    """To draw a thousand takes longer than all else."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(word_experiment, "_SAMPLED", SAMPLED)
        yield


@pytest.fixture(scope="module")
def result(small_corpus: Corpus) -> WordResult:
    return train(small_corpus, settings_of())


def same(one: WordResult, other: WordResult) -> bool:
    return (
        all(torch.equal(tensor, other.model.parameters[name]) for name, tensor in one.model.parameters.items())
        and np.array_equal(one.step_losses, other.step_losses)
        and (one.curve, one.best, one.losses) == (other.curve, other.best, other.losses)
        and (one.samples, one.novelty, one.status) == (other.samples, other.novelty, other.status)
    )


def test_training_is_repeatable_bit_by_bit(small_corpus: Corpus, result: WordResult):
    assert same(train(small_corpus, settings_of()), result)
    assert not np.array_equal(train(small_corpus, settings_of(seed=1)).step_losses, result.step_losses)


def test_a_result_is_complete(small_corpus: Corpus, result: WordResult):
    assert (result.status, result.engine, result.divergence) == (Status.FINISHED, "eager", "")
    assert (result.step_losses.dtype, len(result.step_losses)) == (np.float32, 22)
    assert [row.name for row in result.proof] == list(result.model.parameters)
    assert all(row.ok for row in result.proof)
    assert [one.steps for one in result.curve] == [5, 10, 15, 20, 22]
    assert result.curve[0].train == pytest.approx(result.step_losses[:5].mean())
    assert result.curve[-1].train == pytest.approx(result.step_losses[20:].mean())
    assert list(result.samples) == sampling.sample(result.model, SAMPLED)[:20]
    assert result.novelty and result.novelty.sampled == SAMPLED
    assert repr(result).startswith("WordResult(rnn, finished, 22 steps, validation loss ")


def test_the_best_parameters_are_those_kept(small_corpus: Corpus):
    seen: list[tuple[Measured, WordModel]] = []
    settings = settings_of(lr=0.3, evaluate_every=2)
    result = train(small_corpus, settings, on_measured=lambda measured, model: seen.append((measured, model)))
    assert result.curve == tuple(measured for measured, _ in seen)
    best, model = min(seen, key=lambda each: each[0].validation)
    assert best.steps < settings.steps and result.best == best
    assert all(torch.equal(result.model.parameters[name], tensor) for name, tensor in model.parameters.items())
    assert result.losses.validation == best.validation
    assert word_experiment.evaluate(result.model, result.splits) == result.losses


def test_losses_are_means_over_symbols(result: WordResult):
    model = result.model
    for split, found in zip(result.splits, asdict(result.losses).values(), strict=True):
        x, y = map(torch.from_numpy, split.batch(np.arange(len(split))))
        logprobs = model.page.predict(model.parameters, x, model.options).double().log_softmax(2)
        live = [-logprobs[i, t, y[i, t]].item() for i in range(len(y)) for t in range(y.shape[1]) if y[i, t] >= 0]
        assert len(live) == split.cells
        assert found == pytest.approx(sum(live) / len(live), rel=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_every_model_learns(small_corpus: Corpus, name: str):
    settings = settings_of(name, lr=0.05, steps=25, batch_size=16, evaluate_every=100)
    if name not in SIZES:
        sizes = {"width", "hidden"} & vars(settings.options).keys()
        settings = replace(settings, options=replace(settings.options, **dict.fromkeys(sizes, 6)))
    generator, (vocabulary, splits) = torch.Generator(), word_experiment.prepare(small_corpus, settings)
    model = WordModel(name, settings.options, vocabulary.symbols, {})
    start = model.page.initial(settings.options, len(vocabulary), generator.manual_seed(settings.seed))
    before = word_experiment.evaluate(replace(model, parameters=start), splits)
    run = Learner(small_corpus, settings)
    assert run.losses.train < before.train - 0.1


class Learner:
    """A run of which nothing is proved, which would take the most of its time."""

    def __init__(self, corpus: Corpus, settings: WordSettings) -> None:
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(word_experiment, "_prove", lambda *_: ())
            self.losses = train(corpus, settings).losses


@pytest.mark.parametrize("name", SIZES)
@pytest.mark.parametrize("at", [1, 10, 13])
def test_an_interrupted_run_ends_with_the_bits_of_one_that_never_stopped(
    small_corpus: Corpus, tmp_path: Path, monkeypatch, name: str, at: int
):
    monkeypatch.setattr(word_experiment, "_prove", lambda *_: ())
    settings, folder = settings_of(name), tmp_path / "run"
    whole = train(small_corpus, replace(settings, engine="eager"))
    with checkpoint.owned(folder):
        run = Resumable(folder, small_corpus, settings, None)
        # every 0 seconds: a state before every chunk, the last one of which is not the last step that was taken
        part = run.train(every=0.0, until=at)
        assert (part.status, len(part.step_losses)) == (Status.INTERRUPTED, at)
        found = checkpoint.last(folder)
        if found is None:  # killed before the first state: it begins again
            assert at == 1
        else:
            assert 0 < len(found.state.losses) <= at
        again = Resumable(folder, small_corpus, settings, found).train()
    assert isinstance(again, WordResult) and again.settings == settings
    assert same(again, whole)


@pytest.mark.parametrize("name", SIZES)
def test_stopped_by_its_watcher_between_two_measurements(small_corpus: Corpus, tmp_path: Path, monkeypatch, name: str):
    monkeypatch.setattr(word_experiment, "_prove", lambda *_: ())
    settings, folder = settings_of(name, evaluate_every=7), tmp_path / "run"
    whole = train(small_corpus, settings)
    with checkpoint.owned(folder):
        part = Resumable(folder, small_corpus, settings, None).train(lambda progress: progress.steps_done >= 9)
        assert isinstance(part, WordResult) and part.status is Status.INTERRUPTED
        assert len(part.step_losses) >= 9 and part.curve[-1].steps == len(part.step_losses)
        found = checkpoint.last(folder)
        assert found is not None and len(found.state.losses) == len(part.step_losses)
        again = Resumable(folder, small_corpus, settings, found).train()
    assert isinstance(again, WordResult) and same(again, whole)


@pytest.mark.parametrize("lr", [1e30, 3e38])
@pytest.mark.parametrize("optimiser", ["adamw", "sgd", "momentum"])
def test_a_diverged_run_says_so_and_is_saved(small_corpus: Corpus, tmp_path: Path, lr: float, optimiser: Any):
    told: list[int] = []
    settings = settings_of(lr=lr, optimiser=optimiser, evaluate_every=1)
    result = train(small_corpus, settings, on_measured=lambda measured, _: told.append(measured.steps))
    assert (result.status, result.proof, result.samples, result.novelty) == (Status.DIVERGED, (), (), None)
    assert result.divergence.startswith("the loss is no longer finite at step ")
    assert all(torch.isfinite(tensor).all() for tensor in result.model.parameters.values())
    assert len(told) == len(set(told))  # though steps were repeated to find the one
    folder = save_run(result, tmp_path / "run")
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["status"] == "diverged"
    assert load_run(folder).settings == settings


def test_what_was_best_before_it_diverged_is_kept(small_corpus: Corpus):
    settings = settings_of(lr=0.02, schedule="drop", lr_drop_at=0.5, lr_after=1e30, evaluate_every=5)
    result = train(small_corpus, settings)
    assert result.status is Status.DIVERGED
    assert result.best and result.best.steps <= 11 and isfinite(result.losses.validation)
    assert (result.proof, result.samples) == ((), ())


@pytest.mark.parametrize("error", [SamplingError("no"), RuntimeError("probability tensor contains `nan`")])
def test_words_that_cannot_be_drawn_do_not_cost_the_run(small_corpus: Corpus, monkeypatch, error: Exception):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(sampling, "sample", fail)
    monkeypatch.setattr(word_experiment, "_prove", lambda *_: ())
    result = train(small_corpus, settings_of(steps=3))
    assert (result.status, result.samples, result.novelty) == (Status.FINISHED, (), None)


def test_long_words_are_proved_by_their_beginnings(result: WordResult, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "backproof.proof.network.prove_page", lambda page, options, p, data, skip: seen.append(data) or PROVED
    )
    words = WholeWords(np.array([1] * 99 + [0]), 99)
    word_experiment._prove(result.model, words, torch.Generator())
    assert seen[0]["Xb"].shape == seen[0]["Yb"].shape == (8, 32)


class PROVED:
    rows = ()


def test_novelty_counts_words_of_the_lists(small_corpus: Corpus, result: WordResult):
    train_words, _, test_words = word_experiment.split_words(small_corpus.words, result.settings.split_seed)
    drawn = [train_words[0], train_words[0], test_words[0], "zzz"]
    assert word_experiment._novelty(drawn, small_corpus, result.settings) == Novelty(4, 2, 1)
