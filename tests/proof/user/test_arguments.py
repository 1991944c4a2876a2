"""Flat tensors by name, and the call that is put together from them."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backproof.proof.user.arguments import CALL, arguments_for, flat_values, in_dtype
from backproof.proof.user.calls import CannotProveError

X, W = torch.ones(2), torch.zeros(3)


def function(x: Any, parts: Any = None, k: int = 2) -> Any: ...


def named(values: dict[str, Any]) -> list[str]:
    return [name for name in values if name != CALL]


def test_arguments_and_what_is_in_them() -> None:
    values = flat_values((X, {"w": [W, W]}, 3), function, function)
    assert named(values) == ["x", "parts['w'][0]", "parts['w'][1]", "k"]
    args, keywords = arguments_for(function, values)
    assert args[0] is X and args[1]["w"][1] is W and args[2] == 3 and not keywords


def test_arguments_by_name_in_the_order_of_the_reference() -> None:
    values = flat_values({"parts": [W], "x": X}, lambda a, b: None, function)
    assert named(values) == ["x", "parts[0]"]
    assert arguments_for(lambda a, b: None, values)[0][0] is X
    args, keywords = arguments_for(function, values)
    assert not args and keywords["x"] is X and keywords["parts"][0] is W


def test_without_a_call_they_are_handed_over_in_their_order() -> None:
    assert arguments_for(function, {"w": 1, "x": 2}) == ([1, 2], {})


def test_a_module_among_the_arguments_is_held_by_both_sides() -> None:
    values = flat_values((X, nn.Linear(2, 2)), function, function)
    assert named(values) == ["x", "parts", "parts.weight", "parts.bias"]
    assert values[CALL].parameters == ("parts.weight", "parts.bias")


def test_another_dtype_for_all() -> None:
    net = nn.Linear(2, 2)
    values = in_dtype(flat_values((X, torch.arange(2), 3), net, net), torch.float64)
    assert [getattr(values[name], "dtype", None) for name in named(values)] == [
        torch.float64, torch.int64, None, torch.float64, torch.float64,
    ]  # fmt: skip
    assert values[CALL].dtype is torch.float64 and net.weight.dtype is torch.float32


def test_a_tensor_within_that_nothing_can_be_proved_with() -> None:
    with pytest.raises(CannotProveError, match=r"The input parts\[0\] is on the meta device"):
        flat_values((X, [torch.empty(2, device="meta")]), function, function)


def test_a_tensor_that_is_an_argument_is_not_held_as_well() -> None:
    w = torch.ones(2, requires_grad=True)
    holds: list[Tensor] = [w]
    assert named(flat_values((X, holds), lambda x, parts: x * holds[0], function)) == ["x", "parts[0]"]
