"""The options that all optimisers have, and what is said of options that make no sense."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any, Literal, get_args

from torch import Tensor

Decays = Literal["matrices", "all"]
"""Which tensors decay: those with two axes or more, or all."""

MOST = 3.4e38  # what float32 holds


class OptimiserError(Exception):
    """An option that makes no sense; the message names it and the values that do.

    No ValueError: of one the parser of arguments would make a message of its own.
    """


@dataclass(frozen=True, kw_only=True)
class Decay:
    """The part of an optimiser that draws weights towards 0."""

    weight_decay: float = 0.0
    """How strongly weights are drawn towards 0."""
    decays: Decays = "matrices"
    """Which weights are: matrices (tensors with two axes or more, also where one has length 1), or all."""

    def __post_init__(self) -> None:
        settle(self, "weight_decay")
        if self.decays not in get_args(Decays):
            raise OptimiserError(f"--decays is {self.decays!r}; it has to be {' or '.join(get_args(Decays))}.")

    def decay_of(self, parameter: Tensor) -> float:
        """The decay of this one tensor; biases and gains, which are vectors, need none."""
        return self.weight_decay if self.decays == "all" or parameter.ndim >= 2 else 0.0


def held(factor: float) -> float:
    """The nearest that float32 holds: PyTorch takes no other number. Who asks for such steps is told of the loss."""
    return max(-MOST, min(factor, MOST))


def settle(
    options: Any,
    name: str,
    least: float | int = 0,
    most: float | int = MOST,
    *,
    below: float | int | None = None,
    whole: bool = False,
    flag: str | None = None,
) -> None:
    """Check a number of a frozen dataclass, and make a plain one of it: of numpy's numbers JSON knows nothing."""
    value = checked(flag or "--" + name.replace("_", "-"), getattr(options, name), least, most, below, whole)
    object.__setattr__(options, name, int(value) if whole else float(value))


def checked(
    flag: str,
    value: Any,
    least: float | int = 0,
    most: float | int = MOST,
    below: float | int | None = None,
    whole: bool = False,
) -> Any:
    """The value, if it is a number from `least` to `most`, or to less than `below`; else `OptimiserError`."""
    # A truth value counts as a number in Python, and NaN is not itself.
    if not isinstance(value, Integral if whole else Real) or isinstance(value, bool) or value != value:
        raise OptimiserError(f"{flag} is {value!r}; it has to be {'a whole number' if whole else 'a number'}.")
    number: Any = value
    if number < least:
        raise OptimiserError(f"{flag} is {value}; it has to be at least {least}.")
    if below is not None and number >= below:
        raise OptimiserError(f"{flag} is {value}; it has to be less than {below}.")
    if number > most:
        raise OptimiserError(f"{flag} is {value}; it has to be at most {most}.")
    return value
