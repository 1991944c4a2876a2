"""The parameters of what the user wrote, and arguments placed among them."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from inspect import Parameter
from typing import Any

from torch import nn
from torch.autograd import Function

_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)


def parameters_of(function: Callable) -> list[Parameter]:
    """What it takes: a module what its `forward` takes, and `apply` what the Function's own does; [] if unreadable."""
    function = inspect.unwrap(function)
    applied = _is_apply(function)
    if applied:
        function = function.__self__.forward
    elif isinstance(function, nn.Module):
        function = function.forward
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return []
    return parameters[1:] if applied and not _without_context(applied) else parameters


def in_order(function: Callable, named: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments in the order of the parameters where these have their names, and as they are where not."""
    names = [parameter.name for parameter in parameters_of(function)]
    return {name: named[name] for name in sorted(named, key=names.index)} if named.keys() <= set(names) else dict(named)


def placed(function: Callable, named: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by position and by keyword, for arguments that were given by name.

    By name where all of them are parameters; in the order given where they are not, keyword-only ones aside.
    """
    parameters = parameters_of(function)
    if _is_apply(inspect.unwrap(function)):  # takes no keywords
        return list(in_order(function, named).values()), {}
    by_keyword = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if parameters and (named.keys() <= by_keyword or any(p.kind is p.VAR_KEYWORD for p in parameters)):
        return [], dict(named)
    only = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} & named.keys()
    return [value for name, value in named.items() if name not in only], {name: named[name] for name in only}


def positional_names(function: Callable) -> tuple[list[str], str | None]:
    """The parameters that take an argument by position, and the one that takes any number of them."""
    parameters = parameters_of(function)
    rest = next((p.name for p in parameters if p.kind is p.VAR_POSITIONAL), None)
    return [p.name for p in parameters if p.kind in _BY_POSITION], rest


def _is_apply(function: Any) -> type | None:
    """The Function whose `apply` this is."""
    owner = getattr(function, "__self__", None)
    return owner if isinstance(owner, type) and issubclass(owner, Function) else None


def _without_context(function: Any) -> bool:
    """Whether `forward` takes no `ctx`, since `setup_context` does."""
    return function.setup_context is not Function.setup_context
