"""Inputs and named values as they are given and returned."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch

from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.inputs import fields, make_inputs, named_inputs, refuse_options, replaced

X, Y = torch.ones(2), torch.zeros(3)


class Pair(NamedTuple):
    a: Any
    b: Any


@dataclass(frozen=True)
class Frozen:
    a: Any
    b: Any


def both(x: Any, y: Any) -> None: ...


def more(x: Any, *rest: Any, z: Any = None) -> None: ...


@pytest.mark.parametrize(
    ("inputs", "function", "names"),
    [
        ({"u": X, "v": Y}, both, ["u", "v"]),
        ((X, Y), both, ["x", "y"]),
        ([X, Y], both, ["x", "y"]),
        ((X,), both, ["x"]),
        (X, both, ["x"]),
        ((X, Y, X), more, ["x", "rest0", "rest1"]),
        ((X, Y), max, ["x0", "x1"]),  # no readable signature
        ((X, Y), lambda: None, ["x0", "x1"]),
    ],
)
def test_inputs_take_the_names_of_parameters(inputs: Any, function: Callable, names: list[str]) -> None:
    assert list(named_inputs(inputs, function)) == names


@pytest.mark.parametrize(
    ("inputs", "said"),
    [
        ("text", "inputs must be a mapping of names to tensors"),
        (3, "it is a int"),
        ({"x": torch.empty(2, device="meta")}, "The input x is on the meta device"),
        ({"x": torch.eye(2).to_sparse()}, "The input x is no ordinary dense tensor"),
    ],
)
def test_inputs_that_nothing_can_be_proved_with(inputs: Any, said: str) -> None:
    with pytest.raises(CannotProveError, match=said):
        named_inputs(inputs, both)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (dict(sizes=7), "sizes must be a sequence"),
        (dict(sizes=(7, True)), "sizes must be a sequence"),
        (dict(sizes=(7.0,)), "sizes must be a sequence"),
        (dict(seed="0"), "seed must be a whole number"),
        (dict(seed=True), "seed must be a whole number"),
        (dict(dtypes=(torch.int8,)), "dtypes must hold floating-point dtypes"),
        (dict(dtypes="float32"), "dtypes must hold floating-point dtypes"),
        (dict(dtypes=torch.int8), "dtypes must hold floating-point dtypes"),
    ],
)
def test_options_of_a_wrong_kind_are_refused(options: dict[str, Any], said: str) -> None:
    right: dict[str, Any] = dict(sizes=(7, 1), seed=0, dtypes=(torch.bfloat16,))
    refuse_options(**right)
    refuse_options(sizes=[], seed=3)
    with pytest.raises(CannotProveError, match=said):
        refuse_options(**{**right, **options})


def test_inputs_are_made_with_a_seed_and_of_a_size() -> None:
    assert make_inputs((X,), 5, 0) == (X,)
    assert make_inputs(lambda n: n, 5, 0) == 5
    assert make_inputs(lambda: "none", None, 0) == "none"
    state = torch.get_rng_state()
    one, other, third = (make_inputs(lambda n: torch.randn(n), 5, seed) for seed in (1, 1, 2))
    assert torch.equal(one, other) and not torch.equal(one, third)
    assert torch.equal(torch.get_rng_state(), state)

    def broken(n: int) -> None:
        raise ValueError("too large")

    with pytest.raises(CannotProveError, match="inputs raised ValueError: too large for size 5 at line"):
        make_inputs(broken, 5, 0)


@pytest.mark.parametrize("record", [Pair(1, 2), Frozen(1, 2), {"a": 1, "b": 2}, MappingProxyType({"a": 1, "b": 2})])
def test_records_are_read_and_replaced_and_left_alone(record: Any) -> None:
    assert fields(record, "forward") == {"a": 1, "b": 2}
    new = replaced(record, {"b": 5})
    assert fields(new, "forward") == {"a": 1, "b": 5} and fields(record, "forward") == {"a": 1, "b": 2}
    assert type(new) is type(record) or isinstance(new, dict)


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ((1, 2), "forward must return named values .* not a tuple"),
        (None, "not NoneType"),
        (3, "not an int"),
        (Frozen, "not a type"),
        ({1: X}, "under names that are strings, and 1 is none"),
    ],
)
def test_what_has_no_names_is_refused(record: Any, said: str) -> None:
    with pytest.raises(CannotProveError, match=said):
        fields(record, "forward")
