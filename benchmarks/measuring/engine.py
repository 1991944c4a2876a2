"""The way to the engines and to the native module: the one place that knows where they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Protocol

import torch
from torch import Generator, Tensor

from backproof import engines
from backproof.engines import EngineError, ExampleSource
from backproof.models.mlp import Parameters, Shape
from measuring.rounds import Prepare


class Rival(Protocol):
    """Whoever takes the training steps that `engines.Engine` tells of."""

    name: str

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor: ...

    def parameters(self) -> Parameters: ...


Make = Callable[[Shape, Parameters, ExampleSource], Rival]


def native() -> ModuleType:
    """The compiled module; raises EngineError where it is not built."""
    try:
        return import_module("backproof.engines._fused")
    except ImportError:
        raise EngineError("The engine fused is not built; install Backproof again with a C++ compiler.") from None


def engine(name: str, threads: int | None = None) -> Make:
    """The engine `name` as a function of where to start; a missing one raises EngineError when it is made."""

    return partial(engines.create, name, threads=threads)


def steps_of(engine: Rival, examples: int, batch: int, rate: float) -> Prepare:
    """Training steps on minibatches drawn beforehand, as `interleave` wants them."""

    def prepare(steps: int) -> Callable[[], Tensor]:
        indices = torch.randint(0, examples, (steps, batch), generator=Generator().manual_seed(7))
        rates = torch.full((steps,), rate, dtype=torch.float64)
        return lambda: engine.run(indices, rates)

    return prepare
