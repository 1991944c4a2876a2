"""Gradient descent with momentum: a heavy ball, which keeps a part μ of its velocity from step to step.

    v ← μ v + g + λ p        p ← p − lr v

with v = 0 before the first step, g the gradient, lr the learning rate and λ the weight decay. After the first step
v = g + λ p, where an average (1 − μ) g would be small; in a constant slope v grows to g / (1 − μ).

This is PyTorch's form, in which lr stands outside of v: when it drops, the ball slows down at once. Polyak's is

    p′ = p − lr g + μ (p − p before)

which is the same while lr does not change, since then p before − p = lr v.

Source: B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964,
doi:10.1016/0041-5553(64)90137-5, the two-step method.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from backproof.optimisers.options import Decay, settle


def update(p: Tensor, g: Tensor, v: Tensor, lr: float, momentum: float, decay: float = 0.0) -> None:
    """One step of one tensor, in place: p and its velocity v."""
    v.mul_(momentum).add_(g)
    if decay:
        v.add_(p, alpha=decay)
    p.sub_(v, alpha=lr)


@dataclass(frozen=True, kw_only=True)
class Momentum(Decay):
    """Its state: `momentum.v.<name>`, the velocity of every parameter."""

    name: ClassVar[str] = "momentum"

    momentum: float = 0.9
    """The part of the velocity that is kept from step to step."""

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "momentum", below=1)

    def begin(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Optimiser.begin`."""
        return {
            f"momentum.v.{name}": torch.zeros_like(p, memory_format=torch.contiguous_format)
            for name, p in parameters.items()
        }

    def step(
        self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], state: Mapping[str, Tensor], lr: float
    ) -> None:
        """See `Optimiser.step`."""
        for name, p in parameters.items():
            update(p, gradients[name], state[f"momentum.v.{name}"], lr, self.momentum, self.decay_of(p))
