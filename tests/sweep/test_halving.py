"""Who goes on from a rung, and by what it is measured."""

from dataclasses import asdict, replace

import pytest
import torch

from backproof.experiment import Result, train
from backproof.record import Rung
from backproof.sweep.halving import COOLING, better_half, cooled_loss, cooling_steps, is_due, rung_of
from backproof.sweep.plan import Plan, make_plan
from backproof.sweep.records import End, Outcome
from backproof.text import Corpus
from backproof.training.settings import Settings

STEPS = 1600


@pytest.fixture
def plan() -> Plan:
    return make_plan({name: str(value) for name, value in asdict(Settings(steps=STEPS)).items()}, 5)


def paused(*losses: float | None) -> dict[str, Outcome]:
    """Runs that stand at the first rung with these losses."""
    rung = rung_of(Settings(steps=STEPS), 1 / 16)
    return {
        f"run-{number}": Outcome(End.INTERRUPTED, rung, rungs=(Rung(rung, loss),))
        for number, loss in enumerate(losses, 1)
    }


def test_the_better_half_goes_on_rounded_up(plan: Plan):
    kept = better_half(plan.members, paused(2.5, 2.1, 2.3, 2.2, 2.4), 1 / 16)
    assert [member.name for member in kept] == ["run-2", "run-3", "run-4"]


def test_what_broke_is_in_no_half(plan: Plan):
    outcomes = paused(2.5, None, 2.3, 2.2, 2.4)
    outcomes["run-4"] = Outcome(End.DIVERGED, 50)
    outcomes["run-3"] = Outcome(End.FAILED, reason="the disk was full")
    assert [member.name for member in better_half(plan.members, outcomes, 1 / 16)] == ["run-1", "run-5"]


def test_what_is_past_a_rung_without_being_measured_there_goes_on(plan: Plan):
    outcomes = paused(2.1, 2.2, 2.3, 2.4, 2.5)
    outcomes["run-5"] = Outcome(End.FINISHED, STEPS, saved=True)
    assert [m.name for m in better_half(plan.members, outcomes, 1 / 16)] == ["run-1", "run-2", "run-5"]


@pytest.mark.parametrize(
    ("outcome", "part", "due"),
    [
        (None, 1 / 16, True),
        (None, None, True),
        (Outcome(End.INTERRUPTED, 99), 1 / 16, True),
        (Outcome(End.INTERRUPTED, 100), 1 / 16, True),  # it stands there, but was not measured
        (Outcome(End.INTERRUPTED, 100, rungs=(Rung(100, 2.0),)), 1 / 16, False),
        (Outcome(End.INTERRUPTED, 101), 1 / 16, False),
        (Outcome(End.INTERRUPTED, 100, rungs=(Rung(100, 2.0),)), None, True),
        (Outcome(End.FINISHED, STEPS), None, False),
        (Outcome(End.DIVERGED, 7), 1 / 16, False),
        (Outcome(End.FAILED), None, False),
    ],
)
def test_who_is_trained_for_a_rung(plan: Plan, outcome: Outcome | None, part: float | None, due: bool):
    assert is_due(plan.members[0], outcome, part) is due


@pytest.mark.parametrize(
    ("steps", "count"),
    [
        (1, 1),
        (400, 100),
        (3999, 999),
        (4000, COOLING),
        (100_000, COOLING),  # the learning rate is about to drop
        (100_400, COOLING - 400),
        (101_000, 0),
        (200_000, 0),
    ],
)
def test_a_copy_is_cooled_for_a_quarter_of_the_steps_and_no_longer_than_a_thousand(steps: int, count: int):
    assert cooling_steps(Settings(), steps) == count


def test_cooling_shows_what_a_run_is_worth_and_leaves_it_as_it_is(small_corpus: Corpus, small_settings: Settings):
    settings = replace(small_settings, steps=4000, lr=1.0, lr_drop_at=1.0)
    result: Result = train(small_corpus, settings, until=2000)
    before = [parameter.clone() for parameter in result.model.parameters]
    assert cooled_loss(result) < result.losses.validation
    assert cooled_loss(result) == cooled_loss(result)
    assert all(map(torch.equal, result.model.parameters, before))
