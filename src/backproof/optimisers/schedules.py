"""Schedules: the learning rate of step s = 0, 1, … of S.

    constant    lr
    drop        lr until s = round(at · S), then after
    cosine      lr (s + 1) / w                                                      while s < w: from lr/w up to lr
                lr (f + (1 − f) (1 + cos π x) / 2),  x = (s − s₀) / (S − 1 − s₀)    then: down to f lr at the last step

with w the steps of the warm-up, f the final fraction, and s₀ = w − 1 the step that reaches lr (0 without a warm-up).
A run that is no longer than the warm-up only warms up.

Sources: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", 2016, arXiv:1608.03983,
section 3, here without restarts; P. Goyal et al., "Accurate, Large Minibatch SGD", 2017, arXiv:1706.02677, section 2.2,
for the gradual warm-up.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from backproof.optimisers.options import settle


@runtime_checkable
class Schedule(Protocol):
    """Options that never change."""

    def rates(self, start: int, stop: int, steps: int) -> Tensor:
        """Float64, of the steps from `start` up to `stop` of `steps`; the same bits in however many pieces."""
        ...


@dataclass(frozen=True, kw_only=True)
class Constant:
    """The same rate at every step."""

    lr: float
    """Learning rate."""

    def __post_init__(self) -> None:
        settle(self, "lr")

    def rates(self, start: int, stop: int, steps: int) -> Tensor:
        """See `Schedule.rates`."""
        return torch.full((stop - start,), self.lr, dtype=torch.float64)


@dataclass(frozen=True, kw_only=True)
class Drop:
    """One rate, then another."""

    lr: float
    """Learning rate at first."""
    at: float
    """When it drops, as a part of all steps."""
    after: float
    """Learning rate after the drop."""

    def __post_init__(self) -> None:
        settle(self, "lr")
        settle(self, "at", most=1, flag="--lr-drop-at")
        settle(self, "after", flag="--lr-after")

    def rates(self, start: int, stop: int, steps: int) -> Tensor:
        """See `Schedule.rates`."""
        rates = torch.full((stop - start,), self.lr, dtype=torch.float64)
        rates[max(0, round(steps * self.at) - start) :] = self.after
        return rates


@dataclass(frozen=True, kw_only=True)
class Cosine:
    """Up in a line, then down along half a cosine."""

    lr: float
    """Learning rate at its highest."""
    warmup: int = 0
    """Steps until it is reached."""
    final: float = 0.1
    """Learning rate of the last step, as a part of the highest."""

    def __post_init__(self) -> None:
        settle(self, "lr")
        settle(self, "warmup", most=10**9, whole=True)
        settle(self, "final", most=1, flag="--lr-final")

    def rates(self, start: int, stop: int, steps: int) -> Tensor:
        """See `Schedule.rates`."""
        # One call a step: the last bit of a tensor's cosine may depend on where in the tensor a number stands.
        return torch.tensor([self._rate(step, steps) for step in range(start, stop)], dtype=torch.float64)

    def _rate(self, step: int, steps: int) -> float:
        if step < self.warmup:
            return self.lr * ((step + 1) / self.warmup)
        highest = max(self.warmup - 1, 0)
        if step == highest:  # the only step of a run: nothing to go down along
            return self.lr
        part = (step - highest) / (steps - 1 - highest)
        return self.lr * (self.final + (1 - self.final) * (1 + cos(pi * part)) / 2)
