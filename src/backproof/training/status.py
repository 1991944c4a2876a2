"""How a run ended, and why. Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum

from backproof.training.settings import Settings


class Status(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"


def divergence(settings: Settings, steps: int) -> str:
    """What is no longer finite in a run that diverged after so many steps; without its capital and its full stop."""
    if steps == settings.steps:
        return "the loss of the calibrated model is not finite"
    rate = settings.lr if steps < settings.drop_step else settings.lr_after
    return f"the loss is no longer finite at step {steps:,} with the learning rate {rate:g}"
