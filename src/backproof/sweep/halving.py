"""Successive halving: all runs begin, and at each rung the better half goes on.

Jamieson and Talwalkar, "Non-stochastic best arm identification and hyperparameter optimization" (2016). Runs at a high
learning rate look worse than they are until it drops. So what is compared is the validation loss of a copy that was
trained for some more steps with the rate after the drop; the run itself goes on from where it stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil, inf
from typing import TYPE_CHECKING

from backproof.sweep.plan import Member
from backproof.sweep.records import End, Outcome
from backproof.training.settings import Settings

if TYPE_CHECKING:
    from backproof.experiment import Result
    from backproof.training.loop import Plan

PARTS = (1 / 16, 1 / 8, 1 / 4, 1 / 2)  # of a run's steps; why these, and why cooled: LOG.md
# Steps. Of 16 published runs the best came 2nd, 1st, 1st and 1st at the rungs with 1,000 as with 4,000 of them, and
# without any it was not among the first eight at an eighth.
COOLING = 1_000
_MOST_COOLING = 1 / 4  # of the steps taken: what is cooled longer than that has been trained by it


def rung_of(settings: Plan, part: float) -> int:
    """The steps after which a run is measured."""
    return max(1, round(settings.steps * part))


def is_due(member: Member, outcome: Outcome | None, part: float | None) -> bool:
    """Whether a run still has to be trained up to a rung, or to its end (None)."""
    if outcome is None:
        return True
    if outcome.is_over or outcome.end is End.FAILED:
        return False
    rung = member.settings.steps if part is None else rung_of(member.settings, part)
    return outcome.steps <= rung and rung not in dict(outcome.rungs)


def better_half(members: Sequence[Member], outcomes: Mapping[str, Outcome], part: float) -> list[Member]:
    """Those that go on from a rung, in their order; a half is rounded up, and what broke is in none.

    A run that is past the rung without having been measured there, as of a sweep that did not halve, costs nothing any
    more and goes on.
    """

    def loss(member: Member) -> float:
        outcome, rung = outcomes.get(member.name), rung_of(member.settings, part)
        if outcome is None or outcome.end in (End.DIVERGED, End.FAILED):
            return inf
        measured = dict(outcome.rungs).get(rung, -inf if outcome.steps > rung else None)
        return inf if measured is None else measured

    ranked = sorted((member for member in members if loss(member) < inf), key=loss)
    kept = {member.name for member in ranked[: ceil(len(members) / 2)]}
    return [member for member in members if member.name in kept]


def cooling_steps(settings: Settings, steps: int) -> int:
    """How long a copy is cooled after so many steps; those since the learning rate dropped count."""
    wanted = max(1, min(COOLING, int(steps * _MOST_COOLING)))
    return max(0, wanted - max(0, steps - settings.drop_step))


def cooled_loss(result: Result) -> float:
    """The validation loss that an interrupted run would have if its learning rate dropped now, nats per example.

    Its parameters stay as they are. Infinite where the copy diverges.
    """
    import torch

    from backproof import engines
    from backproof.training import evaluation

    settings = result.settings
    count = cooling_steps(settings, len(result.step_losses))
    if not count:
        return result.losses.validation
    train, validation = result.splits.train, result.splits.validation
    engine = engines.create(result.engine, result.model.shape, result.model.parameters, train)
    generator = torch.Generator().manual_seed(settings.split_seed)  # the same minibatches for all that are compared
    indices = torch.randint(0, len(train), (count, settings.batch_size), generator=generator)
    engine.run(indices, torch.full((count,), settings.lr_after, dtype=torch.float64))
    parameters = engine.parameters()
    return evaluation.mean_loss(parameters, evaluation.calibrate(parameters, train), validation)
