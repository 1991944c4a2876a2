"""`assert_proved`: what passes, what fails, and that the failure's message is the report."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.report.report import GradientError
from backproof.testing import assert_proved


def forward(x: Tensor) -> dict[str, Tensor]:
    return {"x": x, "y": x**2}


def right(v: dict, dy: Tensor) -> dict[str, Tensor]:
    return {"x": 2 * v["x"] * dy}


def wrong(v: dict, dy: Tensor) -> dict[str, Tensor]:
    return {"x": v["x"] * dy}


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x**2

    @staticmethod
    def backward(ctx, dy):  # pyright: ignore[reportIncompatibleMethodOverride]
        return 2 * ctx.saved_tensors[0] * dy


INPUTS = (torch.linspace(-2, 2, 15).reshape(3, 5),)


def test_everything_that_is_right_passes_and_returns_its_report() -> None:
    assert assert_proved(forward, right, INPUTS).ok
    assert assert_proved(forward, right, inputs=INPUTS, skip=["layouts"]).ok
    assert assert_proved(Square, lambda x: x**2, INPUTS).ok
    assert assert_proved(Square, reference=lambda x: x**2, inputs=INPUTS).ok
    assert assert_proved(lambda x: Square.apply(x), INPUTS, reference=lambda x: x**2).ok


def test_the_message_is_the_report() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_proved(forward, wrong, INPUTS)
    message = str(caught.value)
    assert "! x" in message
    assert "dx is wrong" in message
    assert "F12" in message
    assert "1 at fault" in message


def test_a_function_beside_another_reference_fails() -> None:
    with pytest.raises(GradientError, match="output is not what the reference computes"):
        assert_proved(Square, lambda x: x**3, INPUTS)
    with pytest.raises(GradientError):
        assert_proved(Square.apply, INPUTS, reference=lambda x: x**3)


def test_a_report_that_is_there_already() -> None:
    x = INPUTS[0].clone().requires_grad_()
    loss = (x**2).sum()
    dx = 2 * x.detach()
    assert assert_proved(check(loss, {"x": x, "loss": loss, "dx": dx})).ok
    with pytest.raises(GradientError):
        assert_proved(check(loss, {"x": x, "loss": loss, "dx": dx + 1}))


@pytest.mark.parametrize("arguments", [(), (forward,), (3,), (forward, right)])
def test_arguments_that_are_none_of_these(arguments: tuple) -> None:
    with pytest.raises(TypeError):
        assert_proved(*arguments)
