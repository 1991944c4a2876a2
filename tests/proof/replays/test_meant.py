"""Gradients that are meant not to be the derivative, each right and wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from backproof.proof.function import prove_function
from backproof.proof.user.calls import CannotProveError


def kernel(forward: Callable, backward: Callable) -> type[Function]:
    class Kernel(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(x, w)
            return forward(x, w)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return backward(g, *ctx.saved_tensors)

    return Kernel


def inputs(n: int = 5) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 3) * 2, torch.randn(n, 3)


def quantised(x: Tensor, w: Tensor) -> Tensor:
    return torch.round(x) * w


def spike(x: Tensor, w: Tensor) -> Tensor:
    return (x > 0).to(x.dtype) * w


SURROGATE = {"x": lambda g, w, x: g * w / (1 + x.abs()) ** 2}


@pytest.mark.parametrize(
    ("forward", "meant", "right", "wrong"),
    [
        (quantised, {"x": lambda g, w: g * w}, lambda g, x, w: (g * w, g * x.round()),
         lambda g, x, w: (g, g * x.round())),
        (lambda x, w: x * w, {"x": lambda g, w: -0.5 * g * w}, lambda g, x, w: (-0.5 * g * w, g * x),
         lambda g, x, w: (0.5 * g * w, g * x)),
        (lambda x, w: x + w, {"x": lambda g: g.clamp(-1, 1)}, lambda g, x, w: (g.clamp(-1, 1), g),
         lambda g, x, w: (g.clamp(-1, 2), g)),
        (spike, SURROGATE, lambda g, x, w: (g * w / (1 + x.abs()) ** 2, g * (x > 0)),
         lambda g, x, w: (g * w / (1 + x.abs()), g * (x > 0))),
    ],
    ids=["straight through", "reversed", "clipped", "surrogate"],
)  # fmt: skip
def test_what_is_meant_is_compared_and_the_other_inputs_as_ever(
    forward: Callable, meant: dict[str, Callable], right: Callable, wrong: Callable
) -> None:
    report = prove_function(kernel(forward, right), forward, inputs, meant=meant)
    assert report.ok, str(report)
    assert "dx is compared with what meant= says, not with the derivative." in report.notes
    assert [row.name for row in prove_function(kernel(forward, wrong), forward, inputs, meant=meant).culprits] == ["x"]

    def other(g: Tensor, x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
        dx, dw = right(g, x, w)
        return dx, 2 * dw

    assert [row.name for row in prove_function(kernel(forward, other), forward, inputs, meant=meant).culprits] == ["w"]


def test_a_gradient_where_the_derivative_is_zero_is_told_of_meant() -> None:
    through = kernel(quantised, lambda g, x, w: (g * w, g * x.round()))
    (row,) = prove_function(through, quantised, inputs).culprits
    assert (
        row.name == "x" and "if that is meant, as in a straight-through estimator, say so: meant={'x':" in row.message
    )
    product = kernel(torch.mul, lambda g, x, w: (g, g * x))
    (row,) = prove_function(product, lambda x, w: x * w, inputs).culprits
    assert row.name == "x" and "meant" not in row.message


def test_several_outputs_have_an_upstream_gradient_each() -> None:
    class Split(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
            return x.round(), x.floor()

        @staticmethod
        def backward(ctx: Any, dy: Tensor, dz: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return dy + dz / 2

    def both(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.round(), x.floor()

    def made(n: int = 5) -> tuple[Tensor]:
        return (torch.randn(n, 3) * 4,)

    assert prove_function(Split, both, made, meant={"x": lambda dy, dz: dy + dz / 2}).ok
    assert not prove_function(Split, both, made, meant={"x": lambda dy, dz: dy + dz}).ok


@pytest.mark.parametrize(
    ("meant", "sentence"),
    [
        ({"v": lambda g: g}, "meant names 'v'; the inputs that need a gradient are x and w."),
        ({"x": 3}, "meant['x'] has to be a function that takes the upstream gradient"),
        ({"x": lambda g: g[0]}, "meant['x'] returned shape [3]; the gradient of x has to have its shape, [5, 3]."),
        ({"x": lambda g: None}, "meant['x'] returned a NoneType"),
        (
            {"x": lambda g, mask: g * mask},
            "meant['x'] takes 'mask', which is no input: first an upstream gradient comes",
        ),
        ({"x": lambda g: g @ g}, "meant['x'] raised RuntimeError"),
    ],
)
def test_what_cannot_be_meant_is_refused_in_a_sentence(meant: dict[str, Any], sentence: str) -> None:
    through = kernel(quantised, lambda g, x, w: (g * w, g * x.round()))
    with pytest.raises(CannotProveError) as caught:
        prove_function(through, quantised, inputs, meant=meant)
    assert sentence in str(caught.value)
