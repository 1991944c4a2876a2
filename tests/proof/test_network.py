"""The proof of the network fails when, and where, a rule is wrong."""

import pytest
import torch
from torch import Generator

from backproof.experiment import draw_batch, network_shape, prepare
from backproof.models import mlp
from backproof.proof import network
from backproof.rules import batchnorm, embedding, linear
from backproof.text import Corpus
from backproof.training.settings import Settings


def published_set_up(corpus: Corpus, hidden: int, correction: int) -> tuple:
    settings = Settings(hidden=hidden, correction=correction)
    generator = Generator().manual_seed(settings.seed)
    vocabulary, splits = prepare(corpus, settings)
    parameters = mlp.initial_parameters(network_shape(settings, vocabulary), generator)
    batch = draw_batch(splits, settings.batch_size, generator)
    return parameters, batch.contexts, batch.targets, correction


@pytest.mark.parametrize(("hidden", "correction"), [(64, 1), (200, 0)])
def test_the_published_table(published: Corpus, hidden: int, correction: int):
    given = published_set_up(published, hidden, correction)
    rows = network.prove_steps(*given)
    assert tuple(row.name for row in rows) == mlp.GRADIENT_ORDER
    assert [row.name for row in rows if not row.exact] in ([], ["hpreact"])
    assert all(row.agrees and row.max_difference < 1e-9 for row in rows)


def test_the_published_collapses(published: Corpus):
    rows = {row.name: row for row in network.prove_fused(*published_set_up(published, 64, 1))}
    assert rows["logits"].max_difference < 2e-8
    assert rows["hprebn"].max_difference < 5e-9
    assert all(row.approximate for row in rows.values())


def test_the_note_on_rounding_gives_the_published_figure(published: Corpus):
    note = network.rounding_note(*published_set_up(published, 64, 1))
    assert not note or "4.66e-10" in note  # empty on a processor without fused multiply-add


def _no_second_reader(s: batchnorm.Steps, dy: torch.Tensor, correction: int = 1) -> batchnorm.Steps:
    right = _right_batchnorm(s, dy, correction)
    ddiff = s.rstd * right.xhat
    dmean = (-ddiff).sum(0, keepdim=True)
    return right._replace(diff=ddiff, mean=dmean, x=ddiff + dmean / len(s.x))


_right_batchnorm = batchnorm.backward_steps


def test_a_wrong_step_fails_from_its_line_on(small_corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(batchnorm, "backward_steps", _no_second_reader)
    rows = network.prove_steps(*published_set_up(small_corpus, 17, 1))
    wrong = [row.name for row in rows if not row.agrees]
    assert wrong[0] == "bndiff"
    assert {"hprebn", "W1", "C"} <= set(wrong)


@pytest.mark.parametrize("rule", [embedding, linear])
def test_a_wrong_fused_rule_is_noticed(rule: object, small_corpus: Corpus, monkeypatch: pytest.MonkeyPatch):
    name = rule.__name__.rsplit(".", 1)[1] + "_backward"  # type: ignore[attr-defined]
    right = getattr(mlp, name)

    def doubled(*arguments: torch.Tensor):
        result = right(*arguments)
        return tuple(2 * part for part in result) if isinstance(result, tuple) else 2 * result

    monkeypatch.setattr(mlp, name, doubled)
    rows = network.prove_fused(*published_set_up(small_corpus, 17, 1))
    assert not next(row for row in rows if row.name == "C").agrees
