"""Other sizes than the first run's, where the caller gave a function that makes the inputs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

SIZES = (67, 7, 2, 1)  # one that leaves a part of every tile of 2, 4, … 64, an odd one, two rows, one row


_SIZE = 32  # where the size-maker has no size of its own


class Size(NamedTuple):
    """Inputs of another size: what it is called, the function that makes them, and the size to ask it for."""

    name: str
    inputs: Callable
    n: int
    now: int  # the number that is changed,
    usual: int  # and what it is in the first run


def usual_size(inputs: Any) -> int | None:
    """None where `inputs` takes no size, else the size that it has by default."""
    parameters = _parameters(inputs)
    if not parameters or parameters[0].kind is parameters[0].KEYWORD_ONLY:
        return None
    default = parameters[0].default
    return default if isinstance(default, int) else _SIZE


def other_sizes(inputs: Any, sizes: Sequence[int]) -> list[Size]:
    """Each of `sizes`, and every further whole number that `inputs` has a default for, two larger.

    A width written into the code as a number is right in every batch, and wrong as soon as the width changes. By
    two, since what has to be odd or even stays so.
    """
    usual = usual_size(inputs)
    if usual is None:
        return []
    further = [
        (parameter.name, parameter.default + 2)
        for parameter in _parameters(inputs)[1:]
        if type(parameter.default) is int and parameter.kind is not parameter.POSITIONAL_ONLY
    ]
    return [
        *(Size(f"size {n}", inputs, n, n, usual) for n in sizes),
        *(Size(f"size {name}={now}", partial(inputs, **{name: now}), usual, now, now - 2) for name, now in further),
    ]


def _parameters(inputs: Any) -> list[inspect.Parameter]:
    try:
        return list(inspect.signature(inputs).parameters.values()) if callable(inputs) else []
    except ValueError:
        return []
