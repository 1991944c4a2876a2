"""A dtype that a back end computes wrongly is left out with a sentence; one that a kernel computes wrongly is not."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from backproof.proof.function import prove_function
from backproof.proof.replays.arithmetic import _tame
from backproof.proof.report.report import Report
from backproof.proof.user.upstream import upstream_for


def simulated(value: Tensor, dtype: torch.dtype) -> Tensor:
    """A simulator that takes the bits of `dtype` for whole numbers, and so computes nonsense in it."""
    return value.contiguous().view(torch.int16).to(value.dtype) if value.dtype is dtype else value


def scaled(forward: Any, backward: Any) -> Report:
    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return forward(x) * 3

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return backward(g) * 3

    return prove_function(Scaled, lambda x: x * 3, (torch.randn(6, 5),), skip=["layouts", "state"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_back_end_that_does_not_know_a_dtype_is_not_judged_in_it(dtype: torch.dtype) -> None:
    report = scaled(lambda x: simulated(x, dtype), lambda g: simulated(g, dtype))
    assert report.ok
    (said,) = [one for one in report.skipped if one.startswith(str(dtype).removeprefix("torch."))]
    assert "what function runs on computes" in said and "right in float32" in said


@pytest.mark.parametrize("side", ["forward", "backward"])
def test_one_that_is_wrong_in_one_pass_only_has_a_fault(side: str) -> None:
    def wrong(value: Tensor) -> Tensor:
        return value * (2.0 if value.dtype is torch.bfloat16 else 1.0)

    report = scaled(*((wrong, lambda g: g) if side == "forward" else (lambda x: x, wrong)))
    assert [(row.name, row.replay) for row in report.culprits] == [("output" if side == "forward" else "x", "bfloat16")]


@pytest.mark.parametrize("rows", [50, 4000])
def test_a_sum_in_another_order_each_time_does_not_flicker_and_one_that_stops_growing_is_found(rows: int) -> None:
    class Total(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            ctx.save_for_backward(w)
            return x * w

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            (w,) = ctx.saved_tensors
            total = torch.zeros_like(g[0])
            for row in (g * w)[torch.randperm(len(w))]:
                total = total + row
            return total.unsqueeze(0), None

    def inputs() -> tuple[Tensor, Tensor]:
        w = torch.randn(rows, 3)
        if rows > 1000:  # of the upstream gradient's sign, so that a sum in bfloat16 stops at 256 times its terms
            w = upstream_for(torch.empty(rows, 3), 0)
        return torch.randn(1, 3), w

    skip = ["state", "layouts", "float64", "float16"]
    seen = set()
    for seed in range(6 if rows < 1000 else 1):
        report = prove_function(Total, torch.mul, inputs, grad_inputs=["x0"], skip=skip, seed=seed)
        seen |= {(row.name, row.cause) for row in report.culprits}
    assert seen == (set() if rows < 1000 else {("x0", "F5")})


@pytest.mark.parametrize(("factor", "known"), [(1.2, True), (1.3, False)])
def test_what_is_off_by_a_quarter_in_both_passes_is_no_lack_of_precision(factor: float, known: bool) -> None:
    def wrong(value: Tensor) -> Tensor:
        return value * (factor if value.dtype is torch.bfloat16 else 1.0)

    report = scaled(wrong, wrong)
    assert report.ok is not known
    assert any("computes bfloat16 wrongly" in one for one in report.skipped) is not known


@pytest.mark.parametrize("filling", [0.0, 1.0])
def test_numbers_whose_squares_add_up_exactly_in_bfloat16(filling: float) -> None:
    """64 numbers of 2 at most, so that the sum of their squares is 256 at most: 257 is not there in bfloat16."""
    for size in (10, 64, 1000):
        tame = _tame(torch.zeros(size), filling)
        assert set(tame.unique().tolist()) <= {-2.0, -1.0, 0.0, 1.0, 2.0}
        other = _tame(torch.zeros(size), 9.0)
        assert int((other != 9).sum()) == min(size, 64)
        assert tame.shape == (size,) and torch.equal(tame[other != 9], other[other != 9])
    assert _tame(torch.zeros(4, 5), filling).shape == (4, 5)
