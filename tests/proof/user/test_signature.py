"""Arguments among the parameters of functions, modules and autograd Functions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from torch import nn
from torch.autograd import Function

from backproof.proof.user.signature import in_order, parameters_of, placed, positional_names


class Scaled(nn.Module):
    def forward(self, x: Any, scale: Any = 1.0) -> Any:
        return x * scale


class Old(Function):
    @staticmethod
    def forward(ctx: Any, x: Any, w: Any) -> Any: ...


class New(Function):
    @staticmethod
    def forward(x: Any, w: Any) -> Any: ...

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None: ...


def plain(x: Any, w: Any) -> None: ...


def only(x: Any, *, w: Any) -> None: ...


def first(x: Any, /, w: Any) -> None: ...


def more(x: Any, **rest: Any) -> None: ...


@pytest.mark.parametrize(
    ("function", "names"),
    [(plain, ["x", "w"]), (Scaled(), ["x", "scale"]), (Old.apply, ["x", "w"]), (New.apply, ["x", "w"]), (max, [])],
)
def test_what_a_callable_takes(function: Callable, names: list[str]) -> None:
    assert [parameter.name for parameter in parameters_of(function)] == names


def test_names_by_position() -> None:
    assert positional_names(only) == (["x"], None)
    assert positional_names(lambda x, *rest: None) == (["x"], "rest")


@pytest.mark.parametrize(
    ("function", "args", "named"),
    [
        (plain, [], {"w": 2, "x": 1}),
        (only, [], {"w": 2, "x": 1}),
        (more, [], {"w": 2, "x": 1}),
        (Old.apply, [1, 2], {}),
        (New.apply, [1, 2], {}),
        (first, [2, 1], {}),  # as given: a name is of no use there
        (lambda a, b: None, [2, 1], {}),
        (lambda a, *, w: None, [1], {"w": 2}),
        (max, [2, 1], {}),
    ],
)
def test_arguments_given_by_name(function: Callable, args: list, named: dict) -> None:
    assert placed(function, {"w": 2, "x": 1}) == (args, named)


def test_the_order_of_the_parameters() -> None:
    assert list(in_order(plain, {"w": 2, "x": 1})) == ["x", "w"]
    assert list(in_order(plain, {"w": 2, "y": 1})) == ["w", "y"]
