"""What the rivals in PyTorch share: parameters and examples as tensors, and a function that takes the steps."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from backproof.engines import ExampleSource
from backproof.models.mlp import Parameters

Steps = Callable[[Parameters, Tensor, Tensor, Tensor, list[float]], Tensor]
"""Parameters (changed in place), all contexts, all targets, indices (steps, batch), rates: the losses (steps,)."""


class UnavailableError(Exception):
    """A rival that cannot run here; the message says what it lacks."""


class TensorLoop:
    """A rival whose state is tensors."""

    def __init__(self, name: str, steps: Steps, parameters: Parameters, examples: ExampleSource) -> None:
        self.name = name
        self._steps = steps
        self._x, self._y = map(torch.from_numpy, examples.batch(np.arange(len(examples))))
        self.load(parameters)

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        return self._steps(self._parameters, self._x, self._y, indices, learning_rates.tolist())

    def parameters(self) -> Parameters:
        return Parameters(*(tensor.detach().clone() for tensor in self._parameters))

    def load(self, parameters: Parameters) -> None:
        self._parameters = Parameters(*(tensor.detach().clone() for tensor in parameters))
