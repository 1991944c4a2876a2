"""Everything that decides a training run; the defaults are the published run. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

_LARGEST_FLOAT32 = 3.4e38


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
        for name, least in (("steps", 1), ("batch_size", 2), ("hidden", 1), ("embedding", 1), ("block_size", 1)):
            if getattr(self, name) < least:
                raise SettingsError(f"{_flag(name)} is {getattr(self, name)}; it has to be at least {least}.")
        for name in ("lr", "lr_after"):
            if not 0 <= getattr(self, name) < _LARGEST_FLOAT32:
                raise SettingsError(f"{_flag(name)} is {getattr(self, name)}; it has to be a positive number.")
        if not 0 <= self.lr_drop_at <= 1:
            raise SettingsError(f"--lr-drop-at is {self.lr_drop_at}; it has to be a part of the run, from 0 to 1.")
        if self.correction not in (0, 1):
            raise SettingsError(f"--correction is {self.correction}; it has to be 1 (unbiased) or 0 (biased).")
        for name in ("seed", "affine_seed", "split_seed"):
            if not 0 <= getattr(self, name) < 2**63:
                raise SettingsError(f"{_flag(name)} is {getattr(self, name)}; it has to be from 0 to 2**63 - 1.")

    @property
    def drop_step(self) -> int:
        """The first step that uses `lr_after`."""
        return round(self.steps * self.lr_drop_at)


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
