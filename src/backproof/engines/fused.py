"""The native engine: the whole training loop in one compiled kernel (its source: `native/`)."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.engines import _fused
from backproof.engines.protocol import ExampleSource, memory_for_training
from backproof.models.mlp import Parameters, Shape
from backproof.rules.batchnorm import EPSILON


class FusedEngine:
    """See `Engine`. Python's lock is released while it runs; `instruction_set` is what it was compiled for."""

    name = "fused"

    def __init__(self, shape: Shape, parameters: Parameters, examples: ExampleSource) -> None:
        with memory_for_training():
            self._trainer = _fused.Trainer(
                *_arrays(parameters),
                stream=examples.stream,
                block_size=shape.block_size,
                correction=shape.correction,
                epsilon=EPSILON,
            )

    @property
    def instruction_set(self) -> str:
        return self._trainer.instruction_set

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        """See `Engine.run`."""
        with memory_for_training():
            losses = self._trainer.run(indices.contiguous().numpy(), learning_rates.float().numpy())
        return torch.from_numpy(losses)

    def parameters(self) -> Parameters:
        """See `Engine.parameters`."""
        with memory_for_training():
            return Parameters(*map(torch.from_numpy, self._trainer.parameters()))

    def load(self, parameters: Parameters) -> None:
        """See `Engine.load`."""
        self._trainer.load(*_arrays(parameters))


def _arrays(parameters: Parameters) -> list:
    return [tensor.detach().contiguous().numpy() for tensor in parameters]
