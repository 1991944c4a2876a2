"""What an optimiser is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol, runtime_checkable

from torch import Tensor

from backproof.optimisers.options import Decays


@runtime_checkable
class Optimiser(Protocol):
    """Options that never change. Whoever calls keeps the parameters and the state, and may copy and put back both."""

    name: ClassVar[str]
    """How the command line calls it, and what the names in its state begin with."""

    @property
    def weight_decay(self) -> float: ...

    @property
    def decays(self) -> Decays: ...

    def decay_of(self, parameter: Tensor) -> float:
        """The weight decay of this one parameter."""
        ...

    def begin(self, parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The state before the first step: contiguous tensors that share no memory, named as in "adamw.m.W1".

        A parameter's name has no dot, so that parameters and state fit into one dict.
        """
        ...

    def step(
        self, parameters: Mapping[str, Tensor], gradients: Mapping[str, Tensor], state: Mapping[str, Tensor], lr: float
    ) -> None:
        """One step at this learning rate: changes parameters and state in place, and leaves the gradients alone.

        What was made in inference mode can only be changed there; this function goes into no mode of its own.
        """
        ...
