"""Everything that decides a training run; the defaults are the published run. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

# The kind of each, its least and its most. The most of the network and of its batch are the native engine's
# (native/module.cpp); of the steps, what keeps their losses within the memory; of the rates, what float32 holds; of the
# seeds, what PyTorch takes.
NUMBERS: dict[str, tuple[Callable[[Any], float], float, float]] = {
    "steps": (int, 1, 10**9),
    "batch_size": (int, 2, 2**20),
    "hidden": (int, 1, 2**20),
    "embedding": (int, 1, 65_535),
    "block_size": (int, 1, 1024),
    "correction": (int, 0, 1),
    "lr": (float, 0, 3.4e38),
    "lr_drop_at": (float, 0, 1),
    "lr_after": (float, 0, 3.4e38),
    "seed": (int, 0, 2**63 - 1),
    "affine_seed": (int, 0, 2**63 - 1),
    "split_seed": (int, 0, 2**63 - 1),
}
_IN_WORDS = {"correction": "1 (unbiased) or 0 (biased)", "lr_drop_at": "a part of the run, from 0 to 1"}


class SettingsError(Exception):
    """A setting that makes no sense; the message names it and the values that do."""


@dataclass(frozen=True)
class Settings:
    """The configuration of a training run."""

    steps: int = 200_000
    """Steps of plain gradient descent."""
    batch_size: int = 32
    """Examples a step, at least 2."""
    hidden: int = 200
    """Neurons of the hidden layer."""
    embedding: int = 10
    """Numbers that stand for a symbol."""
    block_size: int = 3
    """Symbols of context."""
    correction: int = 1
    """Variance of batch normalisation: 1 divides by n - 1 (published), 0 by n."""
    lr: float = 0.1
    """Learning rate at first."""
    lr_drop_at: float = 0.5
    """When the learning rate drops, as a part of all steps."""
    lr_after: float = 0.01
    """Learning rate after the drop."""
    seed: int = 2147483647
    """Seed of the initial parameters and of the minibatches."""
    affine_seed: int = 1
    """Seed of gain and bias."""
    split_seed: int = 42
    """Seed of the split into training, validation and test words."""
    engine: str = "auto"
    """What does the work: fused (native), eager (PyTorch), or auto."""

    def __post_init__(self) -> None:
        for name, (kind, least, most) in NUMBERS.items():
            value: Any = getattr(self, name)
            noun = "a whole number" if kind is int else "a number"
            if not _is_number(value, Integral if kind is int else Real):
                raise SettingsError(f"{flag(name)} is {value!r}; it has to be {noun}.")
            if not least <= value <= most:
                wanted = _IN_WORDS.get(name) or (f"at least {least}" if value < least else f"at most {most}")
                raise SettingsError(f"{flag(name)} is {value}; it has to be {wanted}.")
            object.__setattr__(self, name, kind(value))  # of numpy's numbers JSON knows nothing
        if not isinstance(self.engine, str):
            raise SettingsError(f"--engine is {self.engine!r}; it has to be the name of an engine.")

    @property
    def drop_step(self) -> int:
        """The first step that uses `lr_after`."""
        return round(self.steps * self.lr_drop_at)

    def rates(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Learning rates of the steps from `start` up to `stop`, or of all: `lr` up to the drop, then `lr_after`."""
        from backproof.optimisers.schedules import Drop  # here, with PyTorch

        schedule = Drop(lr=self.lr, at=self.lr_drop_at, after=self.lr_after)
        return schedule.rates(start, self.steps if stop is None else stop, self.steps)


def flag(name: str) -> str:
    """How the command line calls a setting."""
    return "--" + name.replace("_", "-")


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool) and bool(value == value)  # NaN is not itself
