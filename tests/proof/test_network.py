"""The proof of the network fails when, and where, a rule is wrong."""

import pytest
import torch
from torch import Generator

from backproof.experiment import draw_batch, network_shape, prepare
from backproof.models import mlp
from backproof.proof import network
from backproof.proof.report.rows import Verdict
from backproof.rules import batchnorm
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
    report = network.prove_steps(*given)
    rows = report.rows
    assert report.ok
    assert tuple(row.name for row in rows) == mlp.GRADIENT_ORDER
    assert [row.name for row in rows if not row.exact] in ([], ["hpreact"])
    assert all(row.max_difference is not None and row.max_difference < 1e-9 for row in rows)


def test_the_published_collapses(published: Corpus):
    rows = {row.name: row for row in network.prove_fused(*published_set_up(published, 64, 1)).rows}
    for name, most in (("logits", 2e-8), ("hprebn", 5e-9)):
        difference = rows[name].max_difference
        assert difference is not None and 0 < difference < most
        assert rows[name].approximate
    assert all(row.ok for row in rows.values())  # allclose alone is too strict where nothing is vectorised: W2


def test_the_note_on_rounding_gives_the_published_figure(published: Corpus):
    note = network.rounding_note(*published_set_up(published, 64, 1))
    assert not note or "4.66e-10" in note  # empty on a processor without fused multiply-add


def _no_second_reader(s: batchnorm.Steps, dy: torch.Tensor, correction: int = 1) -> batchnorm.Steps:
    right = _right_batchnorm(s, dy, correction)
    ddiff = s.rstd * right.xhat
    dmean = (-ddiff).sum(0, keepdim=True)
    return right._replace(diff=ddiff, mean=dmean, x=ddiff + dmean / len(s.x))


_right_batchnorm = batchnorm.backward_steps


def test_a_wrong_step_is_named_and_the_lines_behind_it_are_not_blamed(small_corpus: Corpus, monkeypatch):
    monkeypatch.setattr(batchnorm, "backward_steps", _no_second_reader)
    report = network.prove_steps(*published_set_up(small_corpus, 17, 1))
    assert [(row.name, row.cause) for row in report.culprits] == [("bndiff", "F6")]
    inherited = {row.name for row in report.rows if row.verdict is Verdict.INHERITED}
    assert {"hprebn", "W1", "C"} <= inherited


@pytest.mark.parametrize(("rule", "culprit"), [("embedding", {"C"}), ("tanh", {"hpreact"})])
def test_a_wrong_fused_rule_is_named(rule: str, culprit: set[str], small_corpus: Corpus, monkeypatch):
    page = getattr(mlp, rule)
    right = page.backward
    monkeypatch.setattr(page, "backward", lambda *arguments: 2 * right(*arguments))
    report = network.prove_fused(*published_set_up(small_corpus, 17, 1))
    assert {row.name for row in report.culprits} == culprit
    assert {row.cause for row in report.culprits} == {"F12"}
