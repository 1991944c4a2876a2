"""Gradients that are meant not to be the derivative: what the reference's graph brings to an input instead."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from backproof.proof.report.words import listed
from backproof.proof.user.arguments import CALL, Values
from backproof.proof.user.calls import CannotProveError, call

Wishes = Mapping[str, Callable]


class Meant(torch.autograd.Function):
    """Hands the outputs on, and to some inputs the gradient that they are meant to have."""

    @staticmethod
    def forward(ctx: Any, made: Callable[..., list[Tensor]], count: int, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.made = made
        return tuple(one.view_as(one) for one in tensors[:count])

    @staticmethod
    def backward(ctx: Any, *upstreams: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return None, None, *upstreams, *ctx.made(*upstreams)


def with_meant(outputs: Mapping[str, Tensor], leaves: Values, meant: Wishes) -> dict[str, Tensor]:
    """The outputs of a call that the inputs in `meant` were cut off from, with what is meant as their gradients."""
    floats = [name for name, value in outputs.items() if value.is_floating_point()]  # what a gradient can come to
    needed = [name for name in meant if leaves[name].requires_grad]
    if not needed or not floats:
        return dict(outputs)

    def made(*upstreams: Tensor) -> list[Tensor]:
        return [_gradient(name, meant[name], upstreams, leaves) for name in needed]

    tensors = [outputs[name] for name in floats] + [leaves[name] for name in needed]
    return {**outputs, **dict(zip(floats, Meant.apply(made, len(floats), *tensors), strict=True))}


def _gradient(name: str, function: Callable, upstreams: tuple[Tensor, ...], leaves: Values) -> Tensor:
    role, inputs = f"meant[{name!r}]", [one for one in leaves if one != CALL]
    given = {one: leaves[one].detach() if isinstance(leaves[one], Tensor) else leaves[one]
             for one in _further(name, function, len(upstreams), inputs)}  # fmt: skip
    with torch.no_grad():
        gradient = call(role, function, upstreams, given)
    x = leaves[name]
    if not isinstance(gradient, Tensor) or gradient.shape != x.shape:
        got = f"shape {list(gradient.shape)}" if isinstance(gradient, Tensor) else f"a {type(gradient).__name__}"
        raise CannotProveError(f"{role} returned {got}; the gradient of {name} has to have its shape, {list(x.shape)}.")
    return gradient.to(x.dtype)


def _further(name: str, function: Callable, count: int, inputs: list[str]) -> list[str]:
    """The parameters after those for the upstream gradients: names of inputs."""
    parameters = [
        one.name for one in inspect.signature(function).parameters.values() if one.kind is not one.VAR_POSITIONAL
    ]
    for one in parameters[count:]:
        if one not in inputs:
            given = "an upstream gradient comes" if count == 1 else f"{count} upstream gradients come"
            raise CannotProveError(
                f"meant[{name!r}] takes {one!r}, which is no input: first {given}, then inputs by their names, "
                f"{listed(inputs)}."
            )
    return parameters[count:]


def refuse_unfit_meant(meant: Wishes, values: Values, needs: Collection[str]) -> None:
    """Raises CannotProveError where `meant` does not fit these inputs."""
    for name, function in meant.items():
        if name not in needs:
            raise CannotProveError(f"meant names {name!r}; the inputs that need a gradient are {listed(list(needs))}.")
        if values[name].is_complex():
            raise CannotProveError(f"meant names {name}, which is complex; only real inputs can be named there.")
        try:
            inspect.signature(function)
        except (TypeError, ValueError):
            raise CannotProveError(
                f"meant[{name!r}] has to be a function that takes the upstream gradient, such as lambda g: g."
            ) from None


def note_on(name: str) -> str:
    """What a report says of an input that `meant` names."""
    return f"d{name} is compared with what meant= says, not with the derivative."
