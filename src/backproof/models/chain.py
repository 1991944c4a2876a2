"""A network as a table of links: which rule, what it reads, what it makes.

The table is the network. Read from top to bottom it is the forward pass, every value under its name; from bottom to top
it is the backward pass, in which each rule hands the gradients of what it read to whoever made that. A value that
several links read gets the sum of what they send back: that is the chain rule, and all that this file knows of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from inspect import signature
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

Values = Mapping[str, Any]
"""Tensors, or lists of a tensor a step, by their names in the network."""
Data = Mapping[str, Any]
"""What gets no gradient and comes with each batch, such as contexts and targets, by the names that links know."""


@dataclass(frozen=True)
class Link:
    """One rule in its place: the network's names of what it reads and of what it makes, in the rule's own order.

    `data` are the arguments that get no gradient: a name of the network's data, such as the targets, or a number.
    """

    rule: ModuleType
    reads: tuple[str, ...]
    makes: tuple[str, ...]
    data: Data

    @property
    def names(self) -> tuple[str, ...]:
        """The network's names of the rule's `Steps`, in their order."""
        reads, makes = iter(self.reads), iter(self.makes)
        return tuple(next(reads if field in inputs_of(self.rule) else makes) for field in self.rule.Steps._fields)

    @property
    def result(self) -> str:
        return self.makes[-1]

    def given(self, data: Data) -> dict[str, Any]:
        """The rule's arguments without a gradient."""
        return {name: data[value] if isinstance(value, str) else value for name, value in self.data.items()}


@cache
def inputs_of(rule: ModuleType) -> tuple[str, ...]:
    """The arguments of a rule that get a gradient: those that its `Steps` have too."""
    return tuple(name for name in signature(rule.forward_steps).parameters if name in rule.Steps._fields)


def link(rule: ModuleType, result: str, *reads: str, inner: Mapping[str, str] | None = None, **data: Any) -> Link:
    """The link that makes `result`; what the rule computes on its way is called `result_field`, or as `inner` says."""
    inputs, called = inputs_of(rule), dict(inner or {})
    if len(reads) != len(inputs):
        raise ValueError(f"{rule.__name__} reads {', '.join(inputs)}, and got {len(reads)} names.")
    fields = [field for field in rule.Steps._fields if field not in inputs]
    makes = [called.pop(field, f"{result}_{field}") for field in fields[:-1]]
    if called:
        raise ValueError(f"{rule.__name__} makes no {', '.join(called)}.")
    return Link(rule, reads, (*makes, result), data)


def forward_steps(links: Iterable[Link], given: Values, data: Data) -> dict[str, Any]:
    """Every value in the order in which it is read or made, from the parameters in `given` to the loss."""
    values: dict[str, Any] = {}
    for each in links:
        inputs = [values[name] if name in values else given[name] for name in each.reads]
        values |= zip(each.names, each.rule.forward_steps(*inputs, **each.given(data)), strict=True)
    return values


def backward_steps(links: Sequence[Link], values: Values, data: Data, upstream: Tensor) -> dict[str, Any]:
    """The gradient of every value, from the loss back; `upstream` is the gradient of the last link's result."""
    gradients: dict[str, Any] = {links[-1].result: upstream}
    for each in reversed(links):
        rule, read = each.rule, set(each.reads)
        arrived = gradients.get(each.result)
        if arrived is None:  # nobody reads it
            arrived = torch.zeros_like(values[each.result])
        steps = rule.Steps(*(values[name] for name in each.names))
        sent = rule.backward_steps(steps, **{f"d{rule.Steps._fields[-1]}": arrived}, **each.given(data))
        for name, gradient in zip(each.names, sent, strict=True):
            readers = name in read and name in gradients
            gradients[name] = gradients[name] + gradient if readers else gradient
    return gradients


def parameters_of(links: Iterable[Link]) -> tuple[str, ...]:
    """What is read and made by no link, in the order in which it is read."""
    made: set[str] = set()
    found: dict[str, None] = {}
    for each in links:
        found |= dict.fromkeys(name for name in each.reads if name not in made)
        made.update(each.makes)
    return tuple(found)
