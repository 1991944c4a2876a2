"""The reference engine: PyTorch tensors, one call an operation, the network's fused hand-written pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor

from backproof.engines.protocol import ExampleSource, memory_for_training
from backproof.models.mlp import Parameters, Shape, backward, forward

# Below so many multiply-adds a step a second thread gains nothing, and on a busy machine waiting for it costs most of
# the time (see LOG.md).
_WORTH_MORE_THREADS = 1 << 24


class EagerEngine:
    """Every other engine is tested against this one."""

    name = "eager"

    def __init__(
        self, shape: Shape, parameters: Parameters, examples: ExampleSource, threads: int | None = None
    ) -> None:
        self._threads = threads
        self._correction = shape.correction
        self._work_an_example = shape.hidden * (shape.block_size * shape.embedding + shape.symbols)
        self._examples = examples
        self.load(parameters._asdict())

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        """See `Engine.run`."""
        with memory_for_training():
            return self._run(indices, learning_rates)

    def _run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        contexts, targets = self._examples.batch(indices.flatten().numpy())  # for all steps at once
        steps, n = indices.shape
        xs = torch.from_numpy(contexts).view(steps, n, contexts.shape[1])
        ys = torch.from_numpy(targets).view(steps, n)
        losses = torch.empty(steps)
        with torch.inference_mode(), threads_for(n * self._work_an_example, self._threads):
            for step, rate in enumerate(learning_rates.tolist()):
                loss, saved = forward(self._parameters, xs[step], ys[step], self._correction)
                gradients = backward(self._parameters, saved, xs[step], ys[step], self._correction)
                for parameter, gradient in zip(self._parameters, gradients, strict=True):
                    parameter.sub_(gradient, alpha=rate)
                losses[step] = loss
        return losses

    def parameters(self) -> Parameters:
        """A copy of the parameters as they are now."""
        with memory_for_training():
            return Parameters(*(tensor.clone() for tensor in self._parameters))

    def state(self) -> dict[str, Tensor]:
        """See `Engine.state`; plain gradient descent keeps nothing beside the parameters."""
        return self.parameters()._asdict()

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See `Engine.load`."""
        with memory_for_training():
            self._parameters = Parameters(**{name: tensor.detach().clone() for name, tensor in state.items()})


@contextmanager
def threads_for(work: int, most: int | None) -> Iterator[None]:
    """So many of PyTorch's threads, `most` at most, as a step of so many multiply-adds is worth."""
    before = torch.get_num_threads()
    torch.set_num_threads(1 if work < _WORTH_MORE_THREADS else min(most or before, before))
    try:
        yield
    finally:
        torch.set_num_threads(before)
