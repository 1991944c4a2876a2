"""Stochastic gradient descent: against the gradient of a minibatch, and nothing is remembered.

    p ← p − lr · (g + λ p)  =  (1 − lr λ) p − lr g

with g the gradient, lr the learning rate and λ the weight decay: λ p is the gradient of ½ λ Σ p².

Source: H. Robbins and S. Monro, "A Stochastic Approximation Method", 1951, doi:10.1214/aoms/1177729586, which finds
that the rates have to sum to infinity and their squares not to.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from backproof.optimisers.options import Decay, held


def update(p: Tensor, g: Tensor, lr: float, decay: float = 0.0) -> None:
    """One step of one tensor, in place."""
    if decay:
        p.mul_(held(1 - lr * decay))
    p.sub_(g, alpha=lr)


@dataclass(frozen=True, kw_only=True)
class SGD(Decay):
    """Plain gradient descent; its state is empty."""

    name: ClassVar[str] = "sgd"

    def begin(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Optimiser.begin`."""
        return {}

    def step(
        self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], state: Mapping[str, Tensor], lr: float
    ) -> None:
        """See `Optimiser.step`."""
        for name, p in parameters.items():
            update(p, gradients[name], lr, self.decay_of(p))
