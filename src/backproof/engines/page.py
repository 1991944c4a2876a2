"""The reference engine of whole words: any page of `models/`, one PyTorch call an operation, any optimiser."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Generator, Tensor

from backproof.engines.eager import threads_for
from backproof.engines.protocol import WordSource, memory_for_training
from backproof.models.protocol import Model, data_of, masks_of
from backproof.optimisers.clipping import clip
from backproof.optimisers.protocol import Optimiser

MASKS = "masks"  # in the state: that of the generator of dropout's masks


@dataclass(frozen=True)
class Steps:
    """How a step uses gradients: an optimiser, and the norm above which they are made shorter."""

    optimiser: Optimiser
    clip: float = inf


def begun(parameters: Mapping[str, Tensor], steps: Steps) -> dict[str, Tensor]:
    """The state of an engine before its first step; parameters on the device "meta" make one without numbers."""
    masks = torch.empty_like(Generator().get_state(), device=next(iter(parameters.values())).device)
    return {**parameters, **steps.optimiser.begin(parameters), MASKS: masks}


def work_a_word(parameters: Mapping[str, Tensor], options: Any) -> int:
    """Multiply-adds of the largest operation: there are many, and each has to be worth waiting for a second thread."""
    return options.block_size * max(tensor.numel() for tensor in parameters.values())


class PageEngine:
    """See `Engine`. Every other engine of whole words is tested against this one."""

    name = "eager"

    def __init__(
        self,
        page: Model,
        options: Any,
        parameters: Mapping[str, Tensor],
        examples: WordSource,
        steps: Steps,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self._threads = threads
        self._work_a_word = work_a_word(parameters, options)
        self._page, self._options, self._steps, self._examples = page, options, steps, examples
        self._masks = Generator().manual_seed(seed)
        with memory_for_training():
            self._parameters = {name: tensor.detach().clone() for name, tensor in parameters.items()}
            self._kept = steps.optimiser.begin(self._parameters)

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        """See `Engine.run`; an index is a word's number."""
        losses = torch.empty(len(indices))
        work = indices.shape[1] * self._work_a_word
        with memory_for_training(), torch.inference_mode(), threads_for(work, self._threads):
            for step, (row, rate) in enumerate(zip(indices, learning_rates.tolist(), strict=True)):
                losses[step] = self._step(row, rate)
        return losses

    def _step(self, row: Tensor, rate: float) -> Tensor:
        data = data_of(*map(torch.from_numpy, self._examples.batch(row.numpy())))
        data |= masks_of(self._page, self._options, data["Xb"], self._masks)
        loss, saved = self._page.forward(self._parameters, data, self._options)
        gradients = self._page.backward(self._parameters, saved, data, self._options)
        if self._steps.clip < inf:
            clip(gradients, self._steps.clip)
        self._steps.optimiser.step(self._parameters, gradients, self._kept, rate)
        return loss

    def state(self) -> dict[str, Tensor]:
        """See `Engine.state`."""
        with memory_for_training():
            copies = {name: tensor.clone() for name, tensor in (self._parameters | self._kept).items()}
        return copies | {MASKS: self._masks.get_state()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See `Engine.load`."""
        with memory_for_training():
            self._parameters = {name: state[name].clone() for name in self._parameters}
            self._kept = {name: state[name].clone() for name in self._kept}
        self._masks.set_state(state[MASKS])
