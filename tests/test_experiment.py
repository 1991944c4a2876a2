from dataclasses import replace

import numpy as np
import pytest
import torch

from backproof import experiment
from backproof.engines import fused_is_built
from backproof.experiment import Result, train
from backproof.models import mlp
from backproof.proof import network
from backproof.text import Corpus
from backproof.training import evaluation, sampling
from backproof.training.settings import Settings
from backproof.training.status import Status

# Gain and bias are unseeded there, so that a repeat comes close and not equal.
PUBLISHED_LOG = {
    0: 3.7932, 10_000: 2.2055, 20_000: 2.3798, 30_000: 2.4544, 40_000: 1.9862, 50_000: 2.3561,
    60_000: 2.3519, 70_000: 2.0542, 80_000: 2.3711, 90_000: 2.1424, 100_000: 1.9349,
}  # fmt: skip


def test_training_is_repeatable_bit_by_bit(small_corpus: Corpus, small_settings: Settings, small_result: Result):
    again = train(small_corpus, small_settings)
    assert all(map(torch.equal, again.model.parameters, small_result.model.parameters))
    np.testing.assert_array_equal(again.step_losses, small_result.step_losses)
    other = train(small_corpus, replace(small_settings, seed=1))
    assert not torch.equal(other.model.parameters.W1, small_result.model.parameters.W1)


def test_a_result_is_complete(small_result: Result):
    assert small_result.status is Status.FINISHED
    assert small_result.step_losses.dtype == np.float32
    assert len(small_result.step_losses) == 60
    assert [row.name for row in small_result.proof] == list(mlp.Parameters._fields)
    assert all(row.ok for row in small_result.proof)
    assert len(small_result.samples) == 20


@pytest.mark.parametrize(("spare", "skipped"), [(0, ()), (-1, ("float64", "sizes"))])
def test_a_large_network_is_proved_without_copies_in_float64(
    small_corpus: Corpus, small_settings: Settings, small_result: Result, spare: int, skipped, monkeypatch
):
    count = sum(tensor.numel() for tensor in small_result.model.parameters)
    monkeypatch.setattr(experiment, "_REPLAYED", count + spare)
    asked = []
    prove = network.prove_parameters
    monkeypatch.setattr(network, "prove_parameters", lambda *a, skip: asked.append(skip) or prove(*a, skip=skip))
    result = train(small_corpus, small_settings)
    assert asked == [skipped]
    assert [row.name for row in result.proof if row.ok] == list(mlp.Parameters._fields)


def test_training_learns(small_corpus: Corpus):
    result = train(small_corpus, Settings(steps=400, hidden=20, embedding=4, batch_size=16))
    assert result.step_losses[-50:].mean() < 0.7 * result.step_losses[0]


def test_a_diverged_run_has_neither_proof_nor_samples(small_corpus: Corpus, small_settings: Settings):
    result = train(small_corpus, replace(small_settings, lr=1e30, lr_drop_at=1.0))
    assert result.status is Status.DIVERGED
    assert (result.proof, result.samples) == ((), ())
    assert all(torch.isfinite(tensor).all() for tensor in result.model.parameters)


def test_a_calibrated_model_whose_losses_are_not_finite_has_diverged(
    small_corpus: Corpus, small_settings: Settings, monkeypatch
):
    monkeypatch.setattr(evaluation, "mean_loss", lambda *_: float("nan"))
    result = train(small_corpus, small_settings)
    assert (result.status, len(result.step_losses)) == (Status.DIVERGED, 60)
    assert (result.proof, result.samples) == ((), ())
    assert result.divergence == "the loss of the calibrated model is not finite"


def test_words_that_cannot_be_drawn_do_not_cost_the_run(small_corpus: Corpus, small_settings: Settings, monkeypatch):
    def overflow(parameters, statistics, x):
        return torch.full((len(x), parameters.b2.numel()), torch.nan)

    monkeypatch.setattr(sampling.mlp, "predict", overflow)
    monkeypatch.setattr(evaluation, "mean_loss", lambda *_: 2.0)
    result = train(small_corpus, small_settings)
    assert (result.status, result.samples) == (Status.FINISHED, ())


@pytest.mark.skipif(not fused_is_built(), reason="the native engine is not built")
@pytest.mark.parametrize("affine_seed", [1, 2, 3])
def test_the_whole_published_run(published: Corpus, affine_seed: int):
    result = train(published, Settings(engine="fused", affine_seed=affine_seed))
    distances = [abs(result.step_losses[step] - loss) for step, loss in PUBLISHED_LOG.items()]
    assert max(distances) < 0.15
    assert sum(distances) / len(distances) < 0.05
    assert 2.05 < result.losses.train < 2.09
    assert 2.09 < result.losses.validation < 2.13
    assert all(row.ok for row in result.proof)


@pytest.mark.skipif(not fused_is_built(), reason="the native engine is not built")
def test_after_1000_steps_the_engines_differ_by_rounding(published: Corpus):
    settings = Settings(steps=1000, lr_drop_at=1.0)
    eager, fused = (train(published, replace(settings, engine=name)) for name in ("eager", "fused"))
    assert eager.step_losses[0] == pytest.approx(PUBLISHED_LOG[0], abs=0.12)
    for name in mlp.Parameters._fields:
        one, other = (getattr(result.model.parameters, name) for result in (eager, fused))
        assert (one - other).abs().max() < 1e-5, name  # parameters are of the size of 1; measured: at most 7.2e-7
