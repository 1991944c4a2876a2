"""A run that measures itself on its way, and keeps the parameters that were best: never chosen on the test split."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from math import isfinite
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.engines import Engine

_BEST, _CURVE, _STEPS, _SINCE = "best.", "watch.curve", "watch.steps", "watch.since"


class Measured(NamedTuple):
    """Losses after so many steps, in nats a symbol: of the steps since the last time, and on the validation split."""

    steps: int
    train: float
    validation: float


class Watched:
    """An engine beside whom somebody stands; see `Engine`. What is kept of its best moment is part of its state.

    Every `every` steps `validate` is given a copy of the `names`d parameters and returns their loss, and `told` is
    told of it.
    """

    def __init__(
        self,
        engine: Engine,
        names: Collection[str],
        every: int,
        validate: Callable[[dict[str, Tensor]], float],
        told: Callable[[Measured, dict[str, Tensor]], object] = lambda measured, parameters: None,
    ) -> None:
        self.name = engine.name
        self._engine, self._names, self._every, self._validate, self._told = engine, tuple(names), every, validate, told
        self._best: dict[str, Tensor] = {}
        self._curve: list[Measured] = []
        self._steps, self._since = 0, torch.zeros(0)
        self._told_of = 0  # no part of the state: who repeats steps to look for one has told of them already

    @property
    def curve(self) -> tuple[Measured, ...]:
        """All measurements until now, in their order."""
        return tuple(self._curve)

    @property
    def best(self) -> Measured | None:
        """The measurement of the parameters that are kept; the first of equal ones."""
        finite = [one for one in self._curve if isfinite(one.validation)]
        return min(finite, key=lambda one: one.validation, default=None)

    def best_parameters(self) -> dict[str, Tensor]:
        """What was best on the validation split; before the first measurement, what is there now."""
        return dict(self._best) or self._parameters()

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        """See `Engine.run`."""
        losses, done = [], 0
        while done < len(indices):
            some = slice(done, done + self._every - self._steps % self._every)
            losses.append(self._engine.run(indices[some], learning_rates[some]))
            self._since = torch.cat([self._since, losses[-1]])
            self._steps += len(losses[-1])
            done += len(losses[-1])
            if self._steps % self._every == 0:
                self.measure()
        return torch.cat(losses) if losses else torch.empty(0)

    def measure(self) -> None:
        """Measure now, unless that has been done after this very step."""
        if self._curve and self._curve[-1].steps == self._steps:
            return
        parameters = self._parameters()
        train = float(self._since.double().mean()) if len(self._since) else float("nan")
        measured, before = Measured(self._steps, train, self._validate(parameters)), self.best
        self._curve.append(measured)
        self._since = torch.zeros(0)
        if self.best is not before:
            self._best = parameters
        if self._steps > self._told_of:
            self._told_of = self._steps
            self._told(measured, parameters)

    def state(self) -> dict[str, Tensor]:
        """See `Engine.state`."""
        kept = {_BEST + name: tensor.clone() for name, tensor in self._best.items()}
        curve = torch.tensor(self._curve, dtype=torch.float64).reshape(-1, len(Measured._fields))
        steps = torch.tensor(self._steps)
        return {**self._engine.state(), **kept, _CURVE: curve, _STEPS: steps, _SINCE: self._since.clone()}

    def load(self, state: Mapping[str, Tensor]) -> None:
        """See `Engine.load`."""
        self._engine.load(state)
        self._best = {name: state[_BEST + name].clone() for name in self._names if _BEST + name in state}
        self._curve = [Measured(int(steps), train, loss) for steps, train, loss in state[_CURVE].tolist()]
        self._steps, self._since = int(state[_STEPS]), state[_SINCE].clone()

    def _parameters(self) -> dict[str, Tensor]:
        state = self._engine.state()
        return {name: state[name] for name in self._names}


def belong(tensors: Mapping[str, Tensor], of_engine: Mapping[str, Tensor]) -> bool:
    """Whether that is what `Watched` adds to the state of its engine, which has tensors of these shapes."""
    rest = dict(tensors)
    curve, steps, since = (rest.pop(name, None) for name in (_CURVE, _STEPS, _SINCE))
    if curve is None or steps is None or since is None:
        return False
    best = {name.removeprefix(_BEST): tensor for name, tensor in rest.items() if name.startswith(_BEST)}
    return (
        len(best) == len(rest)
        and all(name in of_engine and tensor.shape == of_engine[name].shape for name, tensor in best.items())
        and all(tensor.dtype == torch.float32 and bool(tensor.isfinite().all()) for tensor in (*best.values(), since))
        and bool(curve.isfinite().all())
        and (curve.dtype, curve.shape[1:]) == (torch.float64, (len(Measured._fields),))
        and (steps.dtype, steps.shape, since.ndim) == (torch.int64, (), 1)
    )
