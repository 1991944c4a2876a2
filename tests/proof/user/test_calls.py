"""Calling what the user wrote: who raised, on which line, and which name that line assigns."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch

from backproof.proof.function import prove_function
from backproof.proof.user.calls import (
    CannotProveError,
    blamed_line,
    call,
    describe,
    seeded,
    takes_upstream,
    user_frame,
)


def assigns(x: Any) -> Any:
    dy = x + 1
    dx = dy / 0
    return dx


def deeper(x: Any) -> Any:
    return torch.ones(2) @ torch.ones(3)


def leaves() -> None:
    raise SystemExit("done")


def caught(function: Callable, *arguments: Any) -> BaseException:
    with pytest.raises((Exception, SystemExit)) as info:
        function(*arguments)
    return info.value


def test_the_line_that_raised_and_the_name_that_it_assigns() -> None:
    target, line = blamed_line(caught(assigns, 1), assigns)
    assert target == "dx" and line.endswith(": dx = dy / 0") and line.startswith("line ")
    target, line = blamed_line(caught(deeper, 1), deeper)
    assert target is None and line.endswith(": return torch.ones(2) @ torch.ones(3)")


def test_the_innermost_line_of_the_functions_own_file() -> None:
    def outer(x: Any) -> Any:
        result = assigns(x)
        return result

    assert blamed_line(caught(outer, 1), outer)[0] == "dx"  # of the same file
    wrapped = functools.wraps(assigns)(lambda x: assigns(x))
    assert blamed_line(caught(wrapped, 1), wrapped)[0] == "dx"
    name, line = blamed_line(caught(int, "a"), int)  # which has no file: the line that called it
    assert name is None and line.endswith("function(*arguments)")


@pytest.mark.parametrize(
    ("lines", "target"),
    [
        ("x[0] = 1 / 0", None),
        ("x.a = 1 / 0", None),
        ("1 / 0; y = 2", None),
        ("y, z = 2, 1 / 0", "z"),  # two names are assigned, the last value first
        ("return 1 / 0", None),
        ("y = (1 / 0).real", "y"),
    ],
)
def test_what_a_statement_gives_a_name_to(lines: str, target: str | None) -> None:
    names: dict[str, Any] = {}
    exec(f"def f(x):\n    {lines}", names)
    assert blamed_line(caught(names["f"], [0]), names["f"])[0] == target


def test_an_error_names_role_kind_and_line() -> None:
    with pytest.raises(CannotProveError) as info:
        call("backward", assigns, (1,), when=" for size 3")
    assert str(info.value).startswith("backward raised ZeroDivisionError: division by zero for size 3 at line ")
    assert info.value.brief == "backward raised ZeroDivisionError: division by zero"
    assert isinstance(info.value.__cause__, ZeroDivisionError)
    with pytest.raises(CannotProveError, match="forward raised SystemExit: done at line"):
        call("forward", leaves, ())
    assert call("forward", lambda a, b: (a, b), (1,), {"b": 2}) == (1, 2)
    assert CannotProveError("long").brief == "long"


def test_errors_are_described_on_one_line() -> None:
    assert describe(ValueError("a\n  b.")) == "ValueError: a b"
    assert describe(ValueError()) == "ValueError"


@pytest.mark.parametrize(
    ("backward", "takes"),
    [
        (lambda values, dy: None, True),
        (lambda values: None, False),
        (lambda values, dy=None: None, True),
        (lambda *both: None, True),
        (lambda values, *, dy=None: None, False),
        (lambda values, dy, more: None, False),
        (max, True),
    ],
)
def test_whether_backward_has_room_for_an_upstream_gradient(backward: Callable, takes: bool) -> None:
    assert takes_upstream(backward) is takes


def test_random_numbers_are_seeded_and_the_callers_untouched() -> None:
    state = torch.get_rng_state()
    with seeded(3):
        first = torch.rand(2)
    with seeded(3):
        again = torch.rand(2)
    with seeded(4):
        other = torch.rand(2)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_the_innermost_frame_that_is_the_users() -> None:
    frame = user_frame()
    assert frame.f_code.co_name == "test_the_innermost_frame_that_is_the_users"
    seen: list[str] = []

    class Seen(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(user_frame().f_code.co_name)
            return super().__torch_function__(func, types, args, kwargs or {})

    torch.ones(2).as_subclass(Seen).sum()
    assert seen == ["__torch_function__"]
    with pytest.raises(CannotProveError):
        call("forward", lambda: seen.append(user_frame().f_code.co_name) or 1 / 0, ())
    assert seen[-1] == "<lambda>"


def test_the_line_of_an_autograd_function_is_the_users_in_forward_and_backward() -> None:
    class Forward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("here")

    class Backward(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
            return x + 1

        @staticmethod
        def backward(ctx: Any, g: torch.Tensor) -> torch.Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return torch.nn.functional.linear(g, g[:1, :1])

    for function, line in (
        (Forward, 'raise ValueError("here")'),
        (Backward, "return torch.nn.functional.linear(g, g[:1, :1])"),
    ):
        with pytest.raises(CannotProveError) as caught:
            prove_function(function, lambda x: x + 1, (torch.randn(6, 4),))
        assert str(caught.value).endswith(f": {line}")
