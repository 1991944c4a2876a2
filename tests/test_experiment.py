from dataclasses import replace

import numpy as np
import pytest
import torch

from backproof.experiment import Result, train
from backproof.models import mlp
from backproof.text import Corpus
from backproof.training.loop import Status
from backproof.training.settings import Settings

# The published log at the two steps that a test has the time for; gain and bias are unseeded there.
PUBLISHED_LOG = {0: 3.7932, 10_000: 2.2055}


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


def test_training_learns(small_corpus: Corpus):
    result = train(small_corpus, Settings(steps=400, hidden=20, embedding=4, batch_size=16))
    assert result.step_losses[-50:].mean() < 0.7 * result.step_losses[0]


def test_a_diverged_run_has_neither_proof_nor_samples(small_corpus: Corpus, small_settings: Settings):
    result = train(small_corpus, replace(small_settings, lr=1e30, lr_drop_at=1.0))
    assert result.status is Status.DIVERGED
    assert (result.proof, result.samples) == ((), ())
    assert all(torch.isfinite(tensor).all() for tensor in result.model.parameters)


def test_the_published_log(published: Corpus):
    result = train(published, Settings(steps=10_001, lr_drop_at=1.0))
    for step, loss in PUBLISHED_LOG.items():
        assert result.step_losses[step] == pytest.approx(loss, abs=0.12)
    assert all(row.ok for row in result.proof)
    assert result.losses.validation < 2.4
