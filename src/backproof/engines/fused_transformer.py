"""The native engine of the Transformer: equal prefixes of a batch are computed once (source: `native/transformer/`)."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from backproof.engines import _fused
from backproof.engines.pace import Pace
from backproof.engines.page import MASKS, Steps
from backproof.engines.protocol import WordSource, memory_for_training
from backproof.limits import cores
from backproof.optimisers.adamw import AdamW


class FusedTransformer:
    """See `Engine`. AdamW without dropout; `instruction_set` is what it was compiled for.

    A batch is a tree of prefixes: under causal attention words that begin alike have equal states as far as they do,
    and their gradients add up. A step is made by as many threads as is fastest, up to `threads` (None: one a core).
    """

    name = "fused"

    def __init__(
        self,
        options: Any,
        parameters: Mapping[str, Tensor],
        words: WordSource,
        steps: Steps,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self._names, self._steps = tuple(parameters), steps
        self._masks = Generator().manual_seed(seed).get_state()  # nothing is dropped; it is part of a run's state
        with memory_for_training():
            self._trainer = _fused.Transformer(
                _arrays(parameters.values()),
                options.layers,
                options.heads,
                options.block_size,
                words.stream,
                words.starts,
            )
        decays = [steps.optimiser.decay_of(tensor) > 0 for tensor in parameters.values()]
        self._decayed = np.array(decays, np.bool_)
        self._pace = Pace(min(threads or cores(), self._trainer.most_threads))

    @property
    def instruction_set(self) -> str:
        return self._trainer.instruction_set

    def rows_of(self, indices: Tensor) -> tuple[int, int]:
        """Of a batch (n,): the cells that count, and the rows that are computed for them."""
        return self._trainer.rows_of(indices.numpy())

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        """See `Engine.run`; an index is a word's number."""
        rows, rates = indices.contiguous().numpy(), learning_rates.double().numpy()
        losses, done = np.empty(len(rows), np.float32), 0
        with memory_for_training():
            while done < len(rows):
                began = perf_counter()
                threads, count = self._pace.choose(len(rows) - done, began)
                some = slice(done, done + count)
                losses[some] = self._run(rows[some], rates[some], threads)
                now = perf_counter()
                self._pace.took(count, now - began, now)
                done += count
        return torch.from_numpy(losses)

    def _run(self, rows: NDArray, rates: NDArray, threads: int) -> NDArray:
        optimiser = self._steps.optimiser
        assert isinstance(optimiser, AdamW)
        return self._trainer.run(
            rows, rates, beta1=optimiser.beta1, beta2=optimiser.beta2, epsilon=optimiser.epsilon,
            decay=optimiser.weight_decay, decayed=self._decayed, clip=self._steps.clip, threads=threads,
        )  # fmt: skip

    def state(self) -> dict[str, Tensor]:
        """See `Engine.state`."""
        with memory_for_training():
            m, v, t = self._trainer.optimiser()
            named = [("", self._trainer.parameters()), ("adamw.m.", m), ("adamw.v.", v)]
            state = {
                prefix + name: torch.from_numpy(array)
                for prefix, arrays in named
                for name, array in zip(self._names, arrays, strict=True)
            }
        return {**state, "adamw.t": torch.tensor(t), MASKS: self._masks.clone()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See `Engine.load`."""

        def of(prefix: str) -> list[NDArray]:
            return _arrays(state[prefix + name] for name in self._names)

        self._trainer.load(of(""))
        self._trainer.load_optimiser(of("adamw.m."), of("adamw.v."), int(state["adamw.t"]))
        self._masks = state[MASKS].clone()


def _arrays(tensors: Any) -> list[NDArray]:
    return [tensor.detach().contiguous().numpy() for tensor in tensors]
