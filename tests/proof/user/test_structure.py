"""Tensors inside structures: taken out by name, and put back."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pytest
import torch
from torch import nn

from backproof.proof.user.structure import Slot, mapped, put_together, taken_apart, tensors_in

A, B = torch.ones(2), torch.zeros(3)


class Two(NamedTuple):
    a: Any
    b: Any


@dataclass(frozen=True)
class Config:
    weight: Any
    k: int = 2
    rest: list = field(default_factory=list)


@pytest.mark.parametrize(
    ("value", "names"),
    [
        (A, ["v"]),
        ([A, 3, B], ["v[0]", "v[2]"]),
        ((A, (B, A)), ["v[0]", "v[1][0]", "v[1][1]"]),
        ({"k": A, 3: [B]}, ["v['k']", "v[3][0]"]),
        (OrderedDict(k=A), ["v['k']"]),
        (Two(A, {"x": B}), ["v.a", "v.b['x']"]),
        (Config(A, 2, [B]), ["v.weight", "v.rest[0]"]),
    ],
)
def test_tensors_have_the_name_of_the_expression_that_gets_them(value: Any, names: list[str]) -> None:
    skeleton, found = taken_apart("v", value)
    assert list(found) == names == list(tensors_in("v", value))
    again = put_together(skeleton, found)
    assert type(again) is type(value) and [id(t) for t in tensors_in("v", again).values()] == [
        id(t) for t in found.values()
    ]
    other = put_together(skeleton, {name: torch.full((1,), 7.0) for name in names})
    assert all(float(t) == 7 for t in tensors_in("v", other).values())
    assert next(iter(tensors_in("v", value).values())) is A  # what was given is left alone


@pytest.mark.parametrize("value", [3, "text", None, [1, 2], {"k": 1}, torch.Size([2]), nn.Linear(2, 2), Config(1)])
def test_what_holds_no_tensor_stays_whole(value: Any) -> None:
    assert taken_apart("v", value) == (Slot("v"), {"v": value})
    assert put_together(Slot("v"), {"v": value}) is value


def test_a_change_of_every_tensor() -> None:
    value = [A, {"k": (B, 3)}]
    changed = mapped(lambda t: t + 1, value)
    assert float(changed[0][0]) == 2 and float(changed[1]["k"][0][0]) == 1 and changed[1]["k"][1] == 3
    assert float(A[0]) == 1
