"""How a run ended, and why. Imports nothing heavy."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backproof.training.settings import Settings
    from backproof.training.word_settings import WordSettings


class Status(StrEnum):
    """How a run ended."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"


def divergence(settings: Settings | WordSettings, steps: int) -> str:
    """What is no longer finite in a run that diverged after so many steps; without its capital and its full stop."""
    if steps == settings.steps:
        model = "trained" if hasattr(settings, "options") else "calibrated"
        return f"the loss of the {model} model is not finite"
    rate = settings.rates(steps, steps + 1).item()
    return f"the loss is no longer finite at step {steps:,} with the learning rate {rate:g}"
