"""Where values and gradients are kept: under names of their own, in dictionaries, in lists, on objects."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import Module

from backproof.proof.user.conventions import USUAL, readings

_OF_GRADIENTS = re.compile(
    r"(d|g|grads?|gradients?|derivs?|derivatives?|d_?(params?|parameters|weights)|grad_(dict|list)|\w+_(grads|gradients))$"
)
Sources = Mapping[str, Mapping[str, Any]]  # dictionaries of values, by their names

_STRONG = tuple(convention for convention in USUAL if not convention.weak)
_LARGEST = 4096  # entries of a container that are looked at; larger ones are data


class Settled(NamedTuple):
    """A gradient whose value is known by where it is kept."""

    name: str
    label: str
    gradient: Any


@dataclass
class Kept:
    """What a namespace holds: values by name, things that may be gradients by name, and pairs that are no question."""

    values: dict[str, Tensor] = field(default_factory=dict)
    gradients: dict[str, Any] = field(default_factory=dict)
    settled: list[Settled] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def settle(self, value: Tensor, place: str, label: str, gradient: Any) -> None:
        """The gradient is that of the value, which is called by its place where it has no name of its own."""
        name = self.name_of(value) or place
        self.values[name] = value
        self.settled.append(Settled(name, label, gradient))

    def name_of(self, tensor: Tensor) -> str | None:
        return next((name for name, value in self.values.items() if value is tensor), None)


def kept_in(namespace: Mapping[str, Any]) -> Kept:
    """Names with an underscore in front are a notebook's own, and nobody's."""
    own = {str(name): thing for name, thing in namespace.items() if not str(name).startswith("_")}
    kept = Kept({name: thing for name, thing in own.items() if isinstance(thing, Tensor)}, dict(own))
    for name, thing in own.items():
        for path, attributes in _objects(name, thing):
            _take_object(kept, path, attributes)
    mappings = {name: entries for name, thing in own.items() if (entries := _mapping(thing))}
    lists = {name: thing for name, thing in own.items() if isinstance(thing, list | tuple) and _holds_tensors(thing)}
    sources = {name: entries for name, entries in mappings.items() if not _OF_GRADIENTS.match(name)}
    for name in mappings.keys() - sources.keys():
        _take_mapping(kept, name, mappings[name], sources)
    for name in [name for name in lists if _OF_GRADIENTS.match(name)]:
        _take_list(kept, name, lists)
    steps = {name: entries for name, thing in own.items() if (entries := _steps(thing))}
    for name in [name for name in steps if not _OF_GRADIENTS.match(name)]:
        _take_steps(kept, name, steps)
    return kept


def tensor_of(gradient: Any, value: Tensor) -> Tensor | None:
    """A gradient as a tensor: numbers where the value is one number, and arrays of NumPy in the value's dtype."""
    if isinstance(gradient, Tensor):
        return gradient
    if isinstance(gradient, np.ndarray) and np.issubdtype(gradient.dtype, np.inexact):
        return torch.tensor(gradient).to(value.dtype)
    if isinstance(gradient, np.inexact):  # what NumPy makes of a sum over everything: a gradient, of whatever shape
        return torch.tensor(gradient).to(value.dtype)
    if isinstance(gradient, int | float | np.number) and value.dim() == 0:
        return value.detach().new_tensor(float(gradient))
    return None


def _objects(name: str, thing: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    """The attributes of the thing, or of each one of a list of things, that may be values and gradients."""
    if isinstance(thing, list | tuple) and len(thing) <= _LARGEST and not hasattr(thing, "_fields"):
        for index, one in enumerate(thing):
            if attributes := _attributes(one):
                yield f"{name}[{index}]", attributes
    elif attributes := _attributes(thing):
        yield name, attributes


def _attributes(thing: Any) -> dict[str, Any]:
    if isinstance(thing, Tensor | type | ModuleType | FunctionType | Mapping):
        return {}
    named = dict(getattr(thing, "__dict__", None) or {})
    if is_dataclass(thing):
        named |= {one.name: getattr(thing, one.name, None) for one in fields(thing)}
    if isinstance(thing, Module):
        named |= dict(thing.named_parameters(recurse=False))
    return {
        name: one for name, one in named.items() if not name.startswith("_") and isinstance(one, Tensor | np.ndarray)
    }


def _take_object(kept: Kept, path: str, named: Mapping[str, Any]) -> None:
    tensors = [name for name, one in named.items() if isinstance(one, Tensor)]
    if not any(readings(name, tensors, USUAL) for name in named):
        return
    for name, one in named.items():
        kept.gradients[f"{path}.{name}"] = one
        if isinstance(one, Tensor) and kept.name_of(one) is None:
            kept.values[f"{path}.{name}"] = one


def _mapping(thing: Any) -> dict[str, Any]:
    """The entries of a dictionary, or of a named tuple, that are tensors or arrays; empty where it is neither."""
    if isinstance(thing, tuple) and hasattr(thing, "_fields"):
        thing = thing._asdict()  # pyright: ignore[reportAttributeAccessIssue]
    if not isinstance(thing, Mapping) or len(thing) > _LARGEST:
        return {}
    return {key: one for key, one in thing.items() if isinstance(key, str) and isinstance(one, Tensor | np.ndarray)}


def _holds_tensors(thing: Any) -> bool:
    if hasattr(thing, "_fields") or not 0 < len(thing) <= _LARGEST:
        return False
    return all(one is None or isinstance(one, Tensor | np.ndarray) for one in thing) and any(
        one is not None for one in thing
    )


def _take_mapping(kept: Kept, called: str, entries: Mapping[str, Any], sources: Sources) -> None:
    """`grads["W"]` belongs to `W`, or to the `W` of another dictionary."""
    taken, names = False, {*kept.values, *(key for source in sources.values() for key in source)}
    for key, gradient in entries.items():
        label = f"{called}[{key!r}]"
        for base in (key, *dict.fromkeys(reading.base for reading in readings(key, names, USUAL))):
            name = _value_called(kept, base, sources)
            if name is not None:
                kept.settled.append(Settled(name, label, gradient))
                taken = True
                break
        else:
            kept.unjudged.append(f"{label} (there is no tensor {key})")
    if taken:
        kept.notes.append(f"gradients are taken from {called}, by the names of its keys.")


def _value_called(kept: Kept, base: str, sources: Sources) -> str | None:
    if base in kept.values:
        return base
    for source, entries in sources.items():
        value = entries.get(base)
        if isinstance(value, Tensor):
            name = kept.name_of(value) or f"{source}[{base!r}]"
            kept.values[name] = value
            return name
    return None


def _take_list(kept: Kept, called: str, lists: Mapping[str, Any]) -> None:
    """`grads[0]` belongs to `parameters[0]`, where just one other list has as many tensors that want a gradient."""
    gradients = lists[called]
    others = {
        name: thing
        for name, thing in lists.items()
        if len(thing) == len(gradients)
        and not _OF_GRADIENTS.match(name)
        and all(isinstance(one, Tensor) and one.requires_grad for one in thing)
    }
    fitting = {name: thing for name, thing in others.items() if _same_shapes(thing, gradients)} or others
    distinct = {tuple(map(id, thing)): name for name, thing in fitting.items()}
    if len(distinct) != 1:
        why = (
            f"for {' or for '.join(distinct.values())}? say so with pairs=" if distinct else "no list of values fits it"
        )
        kept.unjudged.append(f"{called} ({why})")
        return
    (source,) = distinct.values()
    for index, (value, gradient) in enumerate(zip(lists[source], gradients, strict=True)):
        kept.settle(value, f"{source}[{index}]", f"{called}[{index}]", gradient)
    kept.notes.append(f"gradients are taken from {called}, in the order of {source}.")


def _steps(thing: Any) -> dict[int, Any]:
    """The tensors or arrays of a list, or of a dictionary whose keys are whole numbers, by their index."""
    if not isinstance(thing, list | tuple | Mapping) or hasattr(thing, "_fields") or len(thing) > _LARGEST:
        return {}
    entries = dict(thing) if isinstance(thing, Mapping) else dict(enumerate(thing))
    if not all(isinstance(key, int) for key in entries):
        return {}
    return {key: one for key, one in entries.items() if isinstance(one, Tensor | np.ndarray)}


def _take_steps(kept: Kept, called: str, steps: Mapping[str, Mapping[int, Any]]) -> None:
    """`dhs[t]` belongs to `hs[t]`, where that wants a gradient; a state before the first step often does not."""
    sources = dict.fromkeys(reading.base for reading in readings(called, steps, _STRONG) if not reading.version)
    if len(sources) != 1:
        return
    (source,) = sources
    taken = False
    for index, gradient in steps[called].items():
        value = steps[source].get(index)
        if not isinstance(value, Tensor):
            kept.unjudged.append(f"{called}[{index}] (there is no tensor {source}[{index}])")
        elif value.requires_grad:
            kept.settle(value, f"{source}[{index}]", f"{called}[{index}]", gradient)
            taken = True
    if taken:
        kept.notes.append(f"gradients are taken from {called}, step by step as in {source}.")


def _same_shapes(values: Any, gradients: Any) -> bool:
    return all(
        one is None or tuple(one.shape) == tuple(value.shape) for value, one in zip(values, gradients, strict=True)
    )
