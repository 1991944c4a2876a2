"""What an engine is."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

from numpy.typing import NDArray
from torch import Tensor

from backproof.models.memory import memory_for


class EngineError(ValueError):
    """An engine that does not exist or was not built; the message says what can be done."""


def memory_for_training() -> AbstractContextManager[None]:
    """Around all that an engine allocates: `NotEnoughMemoryError` when that fails."""
    return memory_for("a training step", "--batch-size, --hidden, --embedding or --block-size")


@runtime_checkable
class ExampleSource(Protocol):
    """Examples as an engine sees them: `backproof.text.Examples`, or anything alike."""

    @property
    def stream(self) -> NDArray:
        """`block_size` zeros, then every word and its closing 0: example i ends at `stream[block_size + i]`."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray) -> tuple[NDArray, NDArray]:
        """Contexts (n, block size) and targets (n,), int64."""
        ...


@runtime_checkable
class WordSource(Protocol):
    """Whole words as an engine sees them: `backproof.text.WholeWords`, or anything alike."""

    @property
    def stream(self) -> NDArray:
        """Every word and its closing 0."""
        ...

    @property
    def starts(self) -> NDArray:
        """Where in `stream` each word begins, and the end of the last one: int64, (words + 1,)."""
        ...

    def __len__(self) -> int: ...

    def batch(self, indices: NDArray) -> tuple[NDArray, NDArray]:
        """Contexts and targets (n, t), int64; a target of -1 does not count."""
        ...


@runtime_checkable
class Engine(Protocol):
    """Gradient descent on a network, many steps a call. The state is all that steps change: see `state`."""

    name: str

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        """Take one step a row of `indices`; return the losses, each measured before its step.

        indices: (steps, batch) int64, which examples a step uses. learning_rates: (steps,) float64. Losses: (steps,)
        float32, nats per example. How steps are grouped into calls makes no difference, bit by bit. A loss that
        is not finite does not stop the engine: whoever calls looks at the losses.
        """
        ...

    def state(self) -> dict[str, Tensor]:
        """A copy of the parameters by name, and of what the optimiser keeps beside them."""
        ...

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Go on from this state, which is copied."""
        ...
