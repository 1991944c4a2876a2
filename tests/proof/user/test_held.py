"""Tensors that a callable holds: found wherever it keeps them, and given back."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backproof.proof.user.held import held_by, holding

GAIN = torch.ones(3, requires_grad=True)


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(2, 2)
        self.register_buffer("mean", torch.zeros(2))
        self.table = torch.ones(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.inner(x) * self.table * GAIN

    def other(self, x: Tensor) -> Tensor:
        return x


class Plain:
    def __init__(self) -> None:
        self.w = torch.ones(2, requires_grad=True)
        self.parts = {"b": [torch.zeros(2)]}

    def __call__(self, x: Tensor) -> Tensor:
        return x * self.w * GAIN

    def method(self, x: Tensor) -> Tensor:
        return x * self.w


HEAD, PLAIN = Head(), Plain()
OF_HEAD = ["mean", "table", "GAIN", "inner.weight", "inner.bias"]


def captured() -> Callable:
    head, w = Head(), torch.ones(1)
    late: Any

    def inner(x: Tensor) -> Any:
        return [head(x) * w for _ in range(2)] if len(x) else late

    def function(x: Tensor) -> Any:
        return inner(x)

    if len(w) > 1:
        late = 3
    return function


ONE = torch.ones(1)


def by_default(x: Tensor, *, scale: Tensor = ONE, head: Any = HEAD) -> Tensor:
    return head(x) * scale


@pytest.mark.parametrize(
    ("function", "names"),
    [
        (HEAD, OF_HEAD),
        (HEAD.other, OF_HEAD),
        (lambda x: HEAD(x), ["GAIN", *(f"HEAD.{name}" for name in OF_HEAD if name != "GAIN")]),
        (lambda x: [GAIN * one for one in x], ["GAIN"]),
        (captured(), ["w", "GAIN", *(f"head.{name}" for name in OF_HEAD if name != "GAIN")]),
        (PLAIN, ["w", "parts['b'][0]", "GAIN"]),
        (PLAIN.method, ["w", "parts['b'][0]", "GAIN"]),
        (functools.partial(lambda x, net: x, net=HEAD.inner), ["net.weight", "net.bias"]),
        (by_default, ["scale", "GAIN", *(f"head.{name}" for name in OF_HEAD if name != "GAIN")]),
        (torch.tanh, []),
        (nn.functional.linear, []),
    ],
)
def test_tensors_are_found_by_name(function: Callable, names: list[str]) -> None:
    assert sorted(spot.name for spot in held_by(function)) == sorted(names)


def test_one_tensor_in_two_places_is_found_in_both() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    spots = [spot.name for spot in held_by(net) if spot.tensor is net[0].weight]
    assert spots == ["0.weight", "1.weight"]


def test_another_tensor_in_its_place_for_a_while() -> None:
    function = captured()
    for called in (function, PLAIN, HEAD, by_default):
        spots = held_by(called)
        before = [spot.get() for spot in spots]
        with holding([(spot, torch.full((1,), 5.0)) for spot in spots]):
            assert all(float(spot.get()) == 5 for spot in spots)
            with holding([(spot, torch.full((1,), 6.0)) for spot in spots]):
                assert all(float(spot.get()) == 6 for spot in spots)
            assert all(float(spot.get()) == 5 for spot in spots)
        assert all(spot.get() is one is spot.tensor for spot, one in zip(spots, before, strict=True)) and spots
    with pytest.raises(KeyError), holding([(spot, torch.zeros(1)) for spot in held_by(HEAD)]):
        raise KeyError
    assert isinstance(HEAD.inner.weight, nn.Parameter)


def test_what_a_compiled_module_holds_is_called_as_in_the_module() -> None:
    compiled = torch.compile(nn.Linear(2, 2), backend="eager")
    assert [spot.name for spot in held_by(compiled)] == ["weight", "bias"]
