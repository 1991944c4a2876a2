"""What two callables are called with: flat tensors by name, and how a call is put together from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from backproof.proof.user.carried import Held, paired
from backproof.proof.user.held import held_by
from backproof.proof.user.inputs import named_inputs, refuse_unfit
from backproof.proof.user.signature import in_order, placed
from backproof.proof.user.structure import put_together, taken_apart
from backproof.proof.user.tensors import rounded_to

CALL = "(the call)"  # no argument can be called so; it goes wherever the arguments go

Values = dict[str, Any]


@dataclass(frozen=True)
class Call:
    """How arguments are put together: structures with a slot for each tensor, and what each side holds besides.

    `by_name` says that they were given by name. `differing` names the parameters that the two sides held other numbers
    of, and `dtype` is what the rest of what they hold is copied in. `meant` has by input what its gradient is
    to be, where that is not the derivative.
    """

    arguments: Mapping[str, Any]
    by_name: bool
    held: Mapping[str, Held]
    differing: tuple[str, ...] = ()
    dtype: torch.dtype | None = None
    meant: Mapping[str, Callable] = field(default_factory=dict)

    @property
    def parameters(self) -> tuple[str, ...]:
        """The inputs that are no arguments, but held by both sides."""
        return tuple(self.held["function"].inputs)


def flat_values(given: Any, function: Callable, reference: Callable) -> Values:
    """All tensors by name, and other arguments: `x`, `ab[1]`, `d['k']`, `linear.weight`. Raises CannotProveError."""
    named = named_inputs(given, reference)
    by_name = isinstance(given, Mapping)
    if by_name:
        named = in_order(reference, named)
    skeletons: dict[str, Any] = {}
    values: Values = {}
    for name, argument in named.items():
        skeletons[name], parts = taken_apart(name, argument)
        values |= parts
    held = [spot for name, argument in named.items() for spot in held_by(argument, name)]
    held = [spot for spot in held if not any(spot.tensor is value for value in values.values())]
    pairs = paired(held_by(function) + held, held_by(reference) + held, values)
    values |= pairs.values
    refuse_unfit(values)
    return {**values, CALL: Call(skeletons, by_name, pairs.sides, pairs.differing)}


def in_dtype(values: Values, dtype: torch.dtype | None) -> Values:
    """The same inputs with every floating-point tensor rounded to `dtype`, complex ones to numbers as precise.

    They stay as they are for None.
    """
    if dtype is None:
        return values
    return {
        name: replace(value, dtype=dtype) if isinstance(value, Call) else rounded_to(value, dtype)
        for name, value in values.items()
    }


def arguments_for(function: Callable, leaves: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """The arguments by position and by keyword, put together from the leaves."""
    call = leaves.get(CALL)
    if not isinstance(call, Call):
        return list(leaves.values()), {}
    arguments = {name: put_together(skeleton, leaves) for name, skeleton in call.arguments.items()}
    return placed(function, arguments) if call.by_name else (list(arguments.values()), {})
