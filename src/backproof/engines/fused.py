"""The native engine: the whole training loop in one compiled kernel (its source: `native/`)."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter

import numpy as np
import torch
from torch import Tensor

from backproof.engines import _fused
from backproof.engines.pace import Pace
from backproof.engines.protocol import ExampleSource, memory_for_training
from backproof.limits import cores
from backproof.models.mlp import Parameters, Shape
from backproof.rules.batchnorm import EPSILON


class FusedEngine:
    """See `Engine`. Python's lock is released while it runs; `instruction_set` is what it was compiled for.

    A step is made by as many threads as is fastest, up to `threads` (None: one a core) and `most_threads`.
    """

    name = "fused"

    def __init__(
        self, shape: Shape, parameters: Parameters, examples: ExampleSource, threads: int | None = None
    ) -> None:
        with memory_for_training():
            self._trainer = _fused.Trainer(
                *_arrays(parameters),
                stream=examples.stream,
                block_size=shape.block_size,
                correction=shape.correction,
                epsilon=EPSILON,
            )
        self.most_threads = min(threads or cores(), self._trainer.most_threads)
        self._pace = Pace(self.most_threads)

    @property
    def instruction_set(self) -> str:
        return self._trainer.instruction_set

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        """See `Engine.run`."""
        rows, rates = indices.contiguous().numpy(), learning_rates.float().numpy()
        losses = np.empty(len(rows), np.float32)
        done = 0
        with memory_for_training():
            while done < len(rows):
                began = perf_counter()
                threads, count = self._pace.choose(len(rows) - done, began)
                some = slice(done, done + count)
                losses[some] = self._trainer.run(rows[some], rates[some], threads)
                now = perf_counter()
                self._pace.took(count, now - began, now)
                done += count
        return torch.from_numpy(losses)

    def parameters(self) -> Parameters:
        """A copy of the parameters as they are now."""
        with memory_for_training():
            return Parameters(*map(torch.from_numpy, self._trainer.parameters()))

    def state(self) -> dict[str, Tensor]:
        """See `Engine.state`; plain gradient descent keeps nothing beside the parameters."""
        return self.parameters()._asdict()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See `Engine.load`."""
        self._trainer.load(*_arrays(Parameters(**state)))


def _arrays(parameters: Parameters) -> list:
    return [tensor.detach().contiguous().numpy() for tensor in parameters]
