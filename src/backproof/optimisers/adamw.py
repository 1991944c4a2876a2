"""Adam with decoupled weight decay: every number of a parameter has a step length of its own.

    p ← (1 − lr λ) p
    m ← β₁ m + (1 − β₁) g        m̂ = m / (1 − β₁ᵗ)
    v ← β₂ v + (1 − β₂) g²       v̂ = v / (1 − β₂ᵗ)
    p ← p − lr m̂ / (√v̂ + ε)

with g the gradient, lr the learning rate, λ the weight decay, and t = 1, 2, … the number of the step. Running means
that begin at 0 are too small at first: of a constant g they hold (1 − β₁ᵗ) g and (1 − β₂ᵗ) g², hence the hats. At
the first step m̂ / √v̂ is the sign of g, however large g is.

Decoupled: λ p goes past m and v, so that every weight decays at the same rate. As a part of g it would be
divided by √v̂, and weights with large gradients would hardly decay. As in PyTorch, the decay is multiplied with
lr; in the paper only with the schedule's multiplier of lr.

Sources: D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", 2014, arXiv:1412.6980, algorithm 1;
I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", 2017, arXiv:1711.05101, algorithm 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import sqrt
from typing import ClassVar

import torch
from torch import Tensor

from backproof.optimisers.options import Decay, held, settle


def update(
    p: Tensor,
    g: Tensor,
    m: Tensor,
    v: Tensor,
    t: int,
    lr: float,
    beta1: float,
    beta2: float,
    epsilon: float,
    decay: float = 0.0,
) -> None:
    """Step t = 1, 2, … of one tensor, in place: p and its running means m and v."""
    if decay:
        p.mul_(held(1 - lr * decay))
    m.lerp_(g, 1 - beta1)
    v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
    # The hats are numbers, not tensors: √v̂ + ε is all that is allocated.
    root = v.sqrt().div_(sqrt(1 - beta2**t)).add_(epsilon)
    p.addcdiv_(m, root, value=held(-lr / (1 - beta1**t)))


@dataclass(frozen=True, kw_only=True)
class AdamW(Decay):
    """Its state: `adamw.m.<name>` and `adamw.v.<name>` of every parameter, and `adamw.t`, the steps taken, int64."""

    name: ClassVar[str] = "adamw"

    weight_decay: float = 0.01
    """How strongly weights are drawn towards 0."""
    beta1: float = 0.9
    """What the mean of the gradients keeps from step to step."""
    beta2: float = 0.999
    """What the mean of their squares keeps from step to step."""
    epsilon: float = 1e-8
    """Added to the root, so that a parameter without a gradient does not divide by zero."""

    def __post_init__(self) -> None:
        super().__post_init__()
        settle(self, "beta1", below=1)
        settle(self, "beta2", below=1)
        settle(self, "epsilon", least=1e-30)  # much smaller, and it would be 0 in float32

    def begin(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """See `Optimiser.begin`."""
        means = {
            f"adamw.{mean}.{name}": torch.zeros_like(p, memory_format=torch.contiguous_format)
            for mean in "mv"
            for name, p in parameters.items()
        }
        return {**means, "adamw.t": torch.zeros((), dtype=torch.int64)}  # on the CPU: it is read at every step

    def step(
        self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], state: Mapping[str, Tensor], lr: float
    ) -> None:
        """See `Optimiser.step`."""
        t = int(state["adamw.t"].add_(1))
        for name, p in parameters.items():
            m, v = state[f"adamw.m.{name}"], state[f"adamw.v.{name}"]
            update(p, gradients[name], m, v, t, lr, self.beta1, self.beta2, self.epsilon, self.decay_of(p))
