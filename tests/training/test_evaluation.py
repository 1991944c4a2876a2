import pytest
import torch

from backproof.experiment import Result
from backproof.models import mlp
from backproof.rules import cross_entropy
from backproof.training import evaluation


def test_calibration_is_the_mean_and_unbiased_variance_of_the_whole_split(small_result: Result, monkeypatch):
    monkeypatch.setattr(evaluation, "_EXAMPLES_AT_ONCE", 7)
    examples, parameters = small_result.splits.train, small_result.model.parameters
    contexts, _ = examples.batch(slice(None))
    hprebn = mlp.hidden_preactivations(parameters, torch.from_numpy(contexts))
    statistics = evaluation.calibrate(parameters, examples)
    torch.testing.assert_close(statistics.bnmean, hprebn.mean(0, keepdim=True))
    torch.testing.assert_close(statistics.bnvar, hprebn.var(0, keepdim=True))
    for got, saved in zip(statistics, small_result.model.statistics, strict=True):
        torch.testing.assert_close(got, saved)


def test_the_mean_loss_does_not_depend_on_how_examples_are_grouped(small_result: Result, monkeypatch):
    model, examples = small_result.model, small_result.splits.test
    contexts, targets = map(torch.from_numpy, examples.batch(slice(None)))
    logits = mlp.predict(model.parameters, model.statistics, contexts)
    whole, _ = cross_entropy.forward(logits, targets)
    for size in (1, 4, 8192):
        monkeypatch.setattr(evaluation, "_EXAMPLES_AT_ONCE", size)
        assert evaluation.mean_loss(model.parameters, model.statistics, examples) == pytest.approx(whole.item(), 1e-6)


@pytest.mark.parametrize("numbers", [2**24, 700, 70, 1])
def test_what_is_measured_at_once_depends_on_the_widest_layer(small_result: Result, monkeypatch, numbers: int):
    monkeypatch.setattr(evaluation, "_NUMBERS_AT_ONCE", numbers)
    parameters, examples = small_result.model.parameters, small_result.splits.test
    widest = max(parameters.W1.shape[0], *parameters.W2.shape)
    sizes = [len(y) for _, y in evaluation._batches(examples, parameters)]
    assert sum(sizes) == len(examples)
    assert max(sizes) == min(len(examples), 8192, max(1, numbers // widest))
