"""Gradients that differ from call to call, and calls that get no upstream gradient or overwrite their inputs."""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from backproof.proof.function import prove_function
from backproof.proof.replays.calls_apart import calls_apart
from backproof.proof.report.report import Report

SKIP = ["layouts", "dtypes", "used twice"]


def squares(x: Tensor) -> Tensor:
    return x**3


def cubed(backward: Callable, **options: Any) -> Report:
    class Cubed(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x)
            return x**3

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return backward(3 * g * ctx.saved_tensors[0] ** 2)

    return prove_function(Cubed, squares, (torch.randn(7, 3),), skip=SKIP, **options)


def noise(size: float) -> Callable:
    return lambda dx: dx * (1 + size * torch.rand_like(dx))


def test_what_differs_between_two_calls_is_named_with_its_size() -> None:
    report = cubed(noise(1e-2))
    assert [(row.name, row.cause, row.replay) for row in report.culprits] == [("x", None, "two calls")]
    message = report["x"].message
    assert "differs between two calls with the same arguments, by up to" in message
    assert "draws random numbers, and the forward pass none" in message


def test_a_spread_within_rounding_is_said_and_right_and_a_larger_one_may_be_allowed() -> None:
    fine = cubed(noise(1e-7))
    assert fine.ok and any("no more than rounding" in note for note in fine.notes)
    allowed = cubed(noise(1e-3), spread=1e-2)
    assert allowed.ok and "the spread that was allowed" in allowed["x"].message
    assert not cubed(noise(1e-1), spread=1e-3).ok
    assert not cubed(lambda dx: noise(1e-3)(dx) * 1.5, spread=1e-2).ok


def test_a_fault_that_the_spread_does_not_explain_keeps_its_cause() -> None:
    report = cubed(lambda dx: noise(1e-6)(dx) * -1)
    assert [(row.name, row.cause) for row in report.culprits] == [("x", "F13")]


@pytest.mark.parametrize(("apart", "named"), [(0.05, False), (0.062, True)])
def test_what_explains_less_than_a_tenth_of_an_error_is_not_its_cause(apart: float, named: bool) -> None:
    """The error is half the gradient and what differs: a tenth of it is 1/18 of the gradient."""
    factors = cycle([1.5, 1.5 + apart])
    report = cubed(lambda dx: dx * next(factors))
    assert ("two calls" in {row.replay for row in report.culprits}) is named
    assert any("which does not explain its error" in note for note in report.notes) is not named


def test_three_fresh_calls_each_from_a_random_state_of_its_own() -> None:
    """Of two, one in a thousand may be equal by chance."""
    seen = []

    def back(*_: object) -> dict[str, Tensor]:
        seen.append(torch.rand(()))
        return {}

    kernel = SimpleNamespace(seed=0, called=lambda values, needs: None, back=back)
    run = SimpleNamespace(gradients={}, values={}, needs=())
    assert calls_apart(SimpleNamespace(subject=kernel, first_run=run), None, spread=0.0) == []  # pyright: ignore
    assert len({float(one) for one in seen}) == 3 == len(seen)


@pytest.mark.parametrize("restored", [True, False])
def test_new_random_numbers_in_backward_are_the_derivative_of_another_forward_pass(restored: bool) -> None:
    def noisy(x: Tensor, state: Tensor | None = None) -> Tensor:
        if state is not None:
            torch.set_rng_state(state)
        return x.sin() * torch.rand_like(x)

    class Noisy(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.save_for_backward(x, torch.get_rng_state())
            return noisy(x)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            x, state = ctx.saved_tensors
            with torch.enable_grad():
                x = x.detach().requires_grad_()
                return torch.autograd.grad(noisy(x, state if restored else None), x, g)[0]

    report = prove_function(Noisy, noisy, (torch.randn(6, 4),), skip=SKIP)
    assert [(row.name, row.cause, row.replay) for row in report.culprits] == (
        [] if restored else [("x", "F14", "two calls")]
    ), report


@pytest.mark.parametrize(("handled", "outputs"), [(True, 1), (False, 1), (True, 2), (False, 2)])
def test_no_upstream_gradient_at_all(handled: bool, outputs: int) -> None:
    class Halves(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            ctx.set_materialize_grads(False)
            return (x / 2, x / 4)[:outputs] if outputs > 1 else x / 2

        @staticmethod
        def backward(ctx: Any, *gs: Tensor | None) -> Any:
            if handled and all(g is None for g in gs):
                return None
            parts = [g / 2 ** (i + 1) for i, g in enumerate(gs) if g is not None or (outputs == 1 and not handled)]
            return sum(parts[1:], parts[0])

    def halves(x: Tensor) -> Any:
        return (x / 2, x / 4) if outputs > 1 else x / 2

    report = prove_function(Halves, halves, (torch.randn(5),), skip=SKIP)
    assert report.ok is handled, report
    if not handled:
        assert {row.cause for row in report.culprits} == {"F4"}
        assert any("when no gradient arrives" in row.message for row in report.culprits)


def test_a_forward_pass_that_overwrites_its_input_is_named_and_who_reads_it_is_not() -> None:
    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            y = x * w
            x.data[1] = 7.0
            return y

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            x, w = ctx.saved_tensors
            return g * w, g * x

    report = prove_function(Scaled, torch.mul, (torch.randn(4, 3), torch.randn(4, 3)), skip=SKIP)
    assert [(row.name, row.cause) for row in report.culprits] == [("x0", "F3")], report
    assert "The forward pass changes its input x0 in place" in report["x0"].message
    assert "right for the numbers that the forward pass has left in x0" in report["x1"].message


def test_no_second_culprit_behind_a_wrong_value() -> None:
    class Two(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            return x.abs() + 0.5, x * 3

        @staticmethod
        def backward(ctx: Any, a: Tensor, b: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return a + 3 * b

    report = prove_function(Two, lambda x: (x.abs(), x * 3), (torch.rand(4, 3) + 0.1,), dtypes=())
    assert [row.name for row in report.culprits] == ["output[0]"], report
