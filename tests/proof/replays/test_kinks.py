"""Kinks, ties and symmetric matrices: other right gradients are no faults, and faults there stay faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from backproof.proof.function import prove_function
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Verdict

FEW = ["state", "sizes"]


def kernel(forward: Callable, backward: Callable) -> type[Function]:
    """A Function that saves its inputs, with `backward(g, *inputs)`."""

    class Kernel(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Tensor:
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return backward(g, *ctx.saved_tensors)

    return Kernel


def whole(n: int = 6) -> tuple[Tensor]:
    """Small whole numbers, many of them 0 and many equal."""
    return (torch.randint(-2, 3, (n, 5)).float(),)


def proved(forward: Callable, backward: Callable, reference: Callable, inputs: Any, **options: Any) -> Report:
    return prove_function(kernel(forward, backward), reference, inputs, skip=FEW, **options)


@pytest.mark.parametrize(("slope", "right"), [(0.0, True), (0.3, True), (1.0, True), (1.2, False), (-0.2, False)])
def test_every_subgradient_of_a_ramp_is_right_where_the_data_lie_on_its_kink(slope: float, right: bool) -> None:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        return g * torch.where(x == 0, slope, (x > 0).float())

    report = proved(torch.relu, backward, lambda x: x * (x > 0), whole)
    assert report.ok is right, report
    if right and slope:
        assert "all where x is 0, at kinks or ties" in report["x"].message
        assert report["x"].verdict is Verdict.ROUNDING and report.notes == ()


def test_a_fault_at_zeros_of_a_smooth_function_is_a_fault() -> None:
    """Every zero of x loses its gradient, and a shift mends it; but the function has no kink there."""
    report = proved(torch.sin, lambda g, x: g * x.cos() * (x != 0), torch.sin, whole, dtypes=())
    assert [row.name for row in report.culprits] == ["x0"]


def test_a_kink_that_rounding_to_bfloat16_hits_is_no_lack_of_precision() -> None:
    def clipped(x: Tensor) -> Tensor:
        return x.clamp(-0.5, 0.5)

    def backward(g: Tensor, x: Tensor) -> Tensor:
        return g * (x.abs() < 0.5)  # PyTorch's is closed at the ends

    def inputs(n: int = 24) -> tuple[Tensor]:
        x = torch.randn(n, 4)
        x[3, :] = torch.tensor([0.50001, -0.50001, 0.49999, -0.49999])
        return (x,)

    report = proved(clipped, backward, clipped, inputs)
    assert report.ok and any("x is -0.500" in note or "at kinks" in note for note in report.notes), report
    coarse = proved(clipped, lambda g, x: g * _coarse(g) * (x.abs() < 0.5), clipped, inputs)
    assert [(row.name, row.cause, row.replay) for row in coarse.culprits] == [("x", "F5", "bfloat16")]


def test_ties_that_a_replay_makes_may_be_broken_in_another_way() -> None:
    def last(x: Tensor) -> Tensor:
        return (x.shape[1] - 1 - x.flip(1).argmax(1)).unsqueeze(1)

    def smallest(x: Tensor) -> Tensor:
        return x.max(1).values

    def backward(g: Tensor, x: Tensor) -> Tensor:
        return torch.zeros_like(x).scatter(1, last(x), g.unsqueeze(1))

    report = proved(smallest, backward, smallest, lambda n=6: (torch.randn(n, 7),), dtypes=())
    assert report.ok and "(replay: inputs expanded)" in report.notes[0] and report["x"].verdict is Verdict.EXACT


@pytest.mark.parametrize("shared", [True, False])
def test_at_ties_of_the_users_own_data_the_gradient_is_shared_out_and_not_sent_to_each(shared: bool) -> None:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        ties = (x == x.amax(1, keepdim=True)).to(g.dtype)
        return g.unsqueeze(1) * (ties / ties.sum(1, keepdim=True) if shared else ties)

    def first(x: Tensor) -> Tensor:
        return x.max(1).values

    report = proved(first, backward, first, whole, dtypes=())
    assert report.ok is shared, report


def _coarse(g: Tensor) -> float:
    return 1.03 if g.dtype is torch.bfloat16 else 1.0


def spd(n: int = 3) -> tuple[Tensor]:
    a = torch.randn(n, 4, 4)
    return (a @ a.mT + torch.eye(4),)


def logarithm(a: Tensor) -> Tensor:
    w, v = torch.linalg.eigh(a)
    return (v * w.log().unsqueeze(-2)) @ v.mT


def divided_differences(g: Tensor, a: Tensor, factor: float = 1.0) -> Tensor:
    w, v = torch.linalg.eigh(a)
    apart = w.unsqueeze(-1) - w.unsqueeze(-2) + torch.eye(4, dtype=a.dtype)
    slopes = torch.where(
        torch.eye(4, dtype=torch.bool), 1 / w.unsqueeze(-1), (w.log().unsqueeze(-1) - w.log().unsqueeze(-2)) / apart
    )
    return factor * v @ (slopes * (v.mT @ g @ v)) @ v.mT


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (1.5, False)])
def test_a_gradient_that_is_right_for_symmetric_changes_of_a_symmetric_matrix(factor: float, right: bool) -> None:
    report = proved(logarithm, lambda g, a: divided_differences(g, a, factor), logarithm, spd, dtypes=())
    assert report.ok is right, report
    if right:
        assert "right for symmetric changes of a" in report["a"].message


def test_a_transposed_gradient_of_a_matrix_that_happens_to_be_symmetric_is_wrong() -> None:
    def inputs(n: int = 3) -> tuple[Tensor, Tensor]:
        return (*spd(n), torch.randn(n, 4, 2))

    report = proved(torch.matmul, lambda g, a, b: (b @ g.mT, a.mT @ g), torch.matmul, inputs, dtypes=())
    assert [row.name for row in report.culprits] == ["x0"]
