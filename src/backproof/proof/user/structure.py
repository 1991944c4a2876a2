"""Tensors inside lists, tuples, mappings and dataclasses: taken out by name, and put back."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from backproof.proof.user.inputs import replaced


@dataclasses.dataclass(frozen=True)
class Slot:
    """Where something called `name` was taken out of a structure."""

    name: str


def taken_apart(name: str, value: Any) -> tuple[Any, dict[str, Any]]:
    """The value with a Slot for every tensor in it, and the tensors as `ab[1]`, `d['k']` and `config.weight`.

    What holds no tensor stays whole, under its own name.
    """
    found: dict[str, Any] = {}
    skeleton = _apart(name, value, found)
    return (skeleton, found) if found else (Slot(name), {name: value})


def put_together(skeleton: Any, found: Mapping[str, Any]) -> Any:
    """The structure with what is called so in place of every Slot; lists and mappings in it are new ones."""
    return mapped(lambda slot: found[slot.name], skeleton, Slot)


def mapped(change: Callable[[Any], Any], value: Any, kind: type = Tensor) -> Any:
    """The same structure with `change(one)` for everything of a `kind` in it."""
    if isinstance(value, kind):
        return change(value)
    parts = parts_of("", value)
    if parts is None:
        return value
    return _rebuilt(value, [mapped(change, part, kind) for part in parts.values()])


def tensors_in(name: str, value: Any) -> dict[str, Tensor]:
    """All tensors of a structure by name."""
    return {name: one for name, one in taken_apart(name, value)[1].items() if isinstance(one, Tensor)}


def _apart(name: str, value: Any, found: dict[str, Any]) -> Any:
    if isinstance(value, Tensor):
        found[name] = value
        return Slot(name)
    parts = parts_of(name, value)
    if parts is None:
        return value
    return _rebuilt(value, [_apart(called, part, found) for called, part in parts.items()])


def parts_of(name: str, value: Any) -> dict[str, Any] | None:
    """What a list, tuple, mapping or dataclass holds, by the expression that gets it; None for anything else."""
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {f"{name}.{field}": part for field, part in zip(value._fields, value, strict=True)}  # pyright: ignore
    if isinstance(value, list | tuple):
        return {f"{name}[{i}]": part for i, part in enumerate(value)}
    if isinstance(value, Mapping):
        return {f"{name}[{key!r}]": part for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type | Slot | torch.nn.Module):
        return {f"{name}.{field.name}": getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _rebuilt(value: Any, parts: list[Any]) -> Any:
    """A structure of the same kind with other parts, in the order of `parts_of`."""
    if isinstance(value, Mapping):
        return replaced(value, dict(zip(value, parts, strict=True)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return replaced(value, dict(zip(value._fields, parts, strict=True)))  # pyright: ignore
    if isinstance(value, list | tuple):
        return type(value)(parts)
    return replaced(value, {field.name: part for field, part in zip(dataclasses.fields(value), parts, strict=True)})
