"""Inputs and named values as the user gives and returns them."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from backproof.proof.user.calls import CannotProveError, call, seeded
from backproof.proof.user.signature import positional_names


def refuse_options(sizes: object, seed: object, dtypes: object = ()) -> None:
    """Raises CannotProveError for options of `prove` and `prove_function` of a wrong kind."""
    if not isinstance(sizes, Sequence) or not all(type(n) is int for n in sizes):
        raise CannotProveError(f"sizes must be a sequence of whole numbers, such as (7, 1); it is {sizes!r}.")
    if type(seed) is not int:
        raise CannotProveError(f"seed must be a whole number; it is {seed!r}.")
    for dtype in dtypes if isinstance(dtypes, Sequence) else (dtypes,):
        if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
            raise CannotProveError(f"dtypes must hold floating-point dtypes, as torch.bfloat16 is; {dtype!r} is none.")


def make_inputs(inputs: Any, size: int | None, seed: int) -> Any:
    """The mapping or tuple of inputs; a size is only asked of a callable."""
    if not callable(inputs):
        return inputs
    when = "" if size is None else f" for size {size}"
    with seeded(seed):
        return call("inputs", inputs, () if size is None else (size,), when=when)


def named_inputs(inputs: Any, forward: Callable) -> dict[str, Any]:
    """Inputs under their parameter names; a tuple takes the names of the parameters of `forward`."""
    if isinstance(inputs, Tensor):
        inputs = (inputs,)
    if isinstance(inputs, Mapping):
        named = dict(inputs)
    elif isinstance(inputs, Sequence) and not isinstance(inputs, str):
        named = dict(zip(_parameter_names(forward, len(inputs)), inputs, strict=True))
    else:
        raise CannotProveError(
            f"inputs must be a mapping of names to tensors, a tuple in the order of the parameters, or a function "
            f"that returns one of these; it is a {type(inputs).__name__}."
        )
    refuse_unfit(named)
    return named


def refuse_unfit(values: Mapping[str, Any]) -> None:
    """Raises CannotProveError for a tensor that nothing can be proved with."""
    for name, value in values.items():
        if isinstance(value, Tensor) and (why := _unfit(value)):
            raise CannotProveError(f"The input {name} {why}.")


def _unfit(value: Tensor) -> str:
    """Why nothing can be proved with a tensor; empty for most."""
    if value.is_meta:
        return "is on the meta device, which holds no numbers; make it on a device that does"
    if value.layout is not torch.strided or value.is_nested or value.is_quantized:
        return "is no ordinary dense tensor; make it dense, with to_dense()"
    return ""


def _parameter_names(function: Callable, count: int) -> list[str]:
    """The first `count` positional parameters; `name0, …` for a parameter `*name`, `x0, …` as a last resort."""
    names, rest = positional_names(function)
    names += [f"{rest or 'x'}{number}" for number in range(count - len(names))]
    return names[:count]


def fields(record: Any, role: str) -> dict[str, Any]:
    """A NamedTuple, dataclass or mapping as a dictionary of its named entries."""
    if isinstance(record, Mapping):
        odd = next((name for name in record if not isinstance(name, str)), None)
        if odd is not None:
            raise CannotProveError(f"{role} must return values under names that are strings, and {odd!r} is none.")
        return dict(record)
    if isinstance(record, tuple) and hasattr(record, "_asdict"):
        return record._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    if dataclasses.is_dataclass(record) and not isinstance(record, type):
        return {field.name: getattr(record, field.name) for field in dataclasses.fields(record)}
    raise CannotProveError(
        f"{role} must return named values (a NamedTuple, a dataclass or a mapping), "
        f"not {_article(type(record).__name__)}."
    )


def _article(noun: str) -> str:
    return noun if noun == "NoneType" else f"{'an' if noun[0].lower() in 'aeiou' else 'a'} {noun}"


def replaced(record: Any, new: Mapping[str, Any]) -> Any:
    """The same kind of record with other entries; the record itself is left alone."""
    if isinstance(record, Mapping):
        try:
            twin: Any = copy.copy(record)
            twin.update(new)
        except (TypeError, AttributeError):  # a read-only mapping
            return {**record, **new}
        return twin
    if isinstance(record, tuple):
        return record._replace(**new)  # pyright: ignore[reportAttributeAccessIssue]
    twin = copy.copy(record)
    for name, value in new.items():
        object.__setattr__(twin, name, value)  # frozen dataclasses too
    return twin
