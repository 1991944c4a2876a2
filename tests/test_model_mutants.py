"""The mutants of the models of whole words: each is a fault where it says, and a part of them is found there."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from torch import Tensor

import models
from backproof.models import chain
from backproof.models.registry import NAMES
from mutants.of_models import REPLAYS, ModelMutant, all_mutants, mutants, network

ALL = list(all_mutants())
ONCE = list({(m.file, m.fault): m for m in reversed(ALL)}.values())[::-1]  # in the first model that has it
each_model = pytest.mark.parametrize("model", NAMES)


def test_every_model_has_enough_mutants() -> None:
    of_model = Counter(mutant.model for mutant in ALL if not mutant.missed)
    assert set(of_model) == set(NAMES) and min(of_model.values()) >= models.FEWEST
    assert len({mutant.title for mutant in ALL}) == len(ALL)


@each_model
def test_every_rule_that_a_model_uses_has_mutants(model: str) -> None:
    links = network(model).links
    for each in links:
        assert any(each in mutant.places(links) for mutant in mutants(model, links)), each.rule.__name__


@each_model
def test_no_mutant_is_right_in_disguise(model: str) -> None:
    """Each changes the gradients that it says, at every place, where everything that arrives is right."""
    small = network(model)
    p = {name: tensor.double() for name, tensor in small.p.items()}
    values = chain.forward_steps(small.links, p, small.data)
    one = torch.ones((), dtype=torch.float64)
    right = chain.backward_steps(small.links, {**p, **values}, small.data, one)
    for mutant in ALL:
        if mutant.model == model and mutant.file.startswith("rules/") and not mutant.needs_reruns:
            changed = _changed(mutant, small, {**p, **values}, right)
            assert changed in mutant.guilty(small.links), f"{mutant.title}: {sorted(changed)}"


def _changed(mutant: ModelMutant, small: Any, values: dict[str, Any], right: dict[str, Any]) -> frozenset[str]:
    """What the wrong rule gives otherwise than the right one, link by link; what follows from it is not counted."""
    found: set[str] = set()
    wrong = mutant.wrong()
    for each in mutant.places(small.links):
        steps = each.rule.Steps(*(values[name] for name in each.names))
        arrived = {f"d{each.rule.Steps._fields[-1]}": right[each.result]}
        theirs = each.rule.backward_steps(steps, **arrived, **each.given(small.data))
        try:
            ours = wrong.backward_steps(steps, **arrived, **each.given(small.data))
        except RuntimeError as error:
            return frozenset({str(error)})
        own = {name for names in mutant.fault.guilty for name in names}
        fields = dict(zip(each.rule.Steps._fields, each.names, strict=True))
        pairs = zip(fields, theirs, ours, strict=True)
        found |= {fields[field] for field, old, new in pairs if field in own and not _same(new, old)}
    return frozenset(found)


def _same(got: Any, wanted: Any) -> bool:
    if isinstance(wanted, list):
        return all(map(_same, got, wanted))
    if not isinstance(got, Tensor) or got.shape != wanted.shape:
        return False
    return bool((got - wanted).abs().max() <= 1e-9 * wanted.abs().max())


def sample() -> list[ModelMutant]:
    """Of each rule's mutants that one run shows one in five, and one that only replays show."""
    quick = [mutant for mutant in ONCE if not mutant.needs_reruns and not mutant.missed]
    return [*quick[::5], next(mutant for mutant in ONCE if mutant.needs_reruns)]


@pytest.mark.parametrize("mutant", sample(), ids=lambda mutant: mutant.title)
@pytest.mark.filterwarnings("ignore")
def test_the_fault_is_found_where_the_rule_is_used(mutant: ModelMutant) -> None:
    verdict = models.judged(mutant)
    assert verdict.detected and verdict.line, verdict.words


def test_a_miss_is_said() -> None:
    """The judge and the table can fail: of a mutant that says another value than the one that it makes wrong."""
    mutant = next(m for m in ALL if m.model == "bigram" and m.fault.wrong == "dprobs = dlogprobs.clone()")
    astray = mutant._replace(fault=mutant.fault._replace(guilty=(frozenset({"counts"}),)))
    verdict = models.judged(astray)
    assert verdict.detected and not verdict.line
    row = models.Totals("bigram", 20, 20, 20, 20, 0, 0, accused=False)
    assert row.good
    assert not row._replace(line=19).good and not row._replace(mutants=14, line=14).good
    assert not row._replace(accused=True).good


def test_the_replays_that_one_run_leaves_out_are_all_there_are() -> None:
    mutant = next(m for m in ALL if m.model == "bigram" and not m.needs_reruns)
    assert set(REPLAYS) == {"state", "upstream", "float64", "layouts", "sizes"}
    report = mutant.proved(network("bigram"))
    assert report.skipped and all(words.endswith("left out as asked.") for words in report.skipped)
