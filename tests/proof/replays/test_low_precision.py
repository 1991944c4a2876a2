"""A kernel in low precision beside plain operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.function import prove_function
from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.low_precision import in_low_precision
from backproof.proof.replays.subject import FIRST, Proof, SkippedError
from backproof.proof.report.rows import Row


def total(x: Tensor) -> Tensor:
    return (x * x).sum(0)


def inputs(n: int = 700) -> tuple[Tensor]:
    return (torch.rand(n, 3) + 0.5,)


class InSteps(torch.autograd.Function):
    """Sums row by row in the dtype of its input, where PyTorch's sum keeps a float32."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        if x.dtype is not torch.bfloat16:
            return total(x)
        result = torch.zeros_like(x[0])
        for row in x:
            result = result + row * row
        return result

    @staticmethod
    def backward(ctx: Any, up: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * up if x.dtype is not torch.bfloat16 else 2 * x * up * 1.05


def rows(function: Callable, reference: Callable = total, dtype: torch.dtype = torch.bfloat16) -> list[Row]:
    kernel = Kernel(function, reference, inputs)
    proof = Proof(kernel, kernel.tried(FIRST))
    return in_low_precision(proof, Ledger(proof.first_run.rows), dtype=dtype)


def test_plain_operations_are_as_precise_as_plain_operations() -> None:
    assert rows(total) == [] and rows(total, dtype=torch.float16) == []


def test_values_and_gradients_that_lose_more_digits() -> None:
    found = {row.name: row for row in rows(InSteps.apply)}
    assert set(found) == {"output", "x"}
    assert found["output"].cause == "F5" and found["output"].label == "output" and found["x"].label == "dx"
    assert "dx is less precise in bfloat16 than plain operations" in found["x"].message
    assert "error against float64" in found["x"].message
    assert rows(InSteps.apply, dtype=torch.float16) == []


def test_known_culprits_are_not_accused_again() -> None:
    kernel = Kernel(InSteps.apply, total, inputs)
    proof = Proof(kernel, kernel.tried(FIRST))
    ledger = Ledger(proof.first_run.rows)
    ledger.add(rows(InSteps.apply)[:1], "bfloat16")
    assert [row.name for row in in_low_precision(proof, ledger, dtype=torch.bfloat16)] == ["x"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        (lambda x: total(x) if x.dtype is not torch.float64 else total(x).float(), "does not run in float64"),
        (lambda x: total(x * 1e30) * 1e-60 if x.dtype is torch.float16 else total(x), "not finite in torch.float16"),
    ],
)
def test_where_the_reference_does_not_say_anything(reference: Callable, said: str) -> None:
    with pytest.raises(SkippedError, match=said):
        rows(reference, reference, torch.float16)


def test_a_function_that_takes_no_low_precision_is_listed() -> None:
    class Refuses(InSteps):
        @staticmethod
        def backward(ctx: Any, up: Tensor) -> Tensor:
            if up.dtype is torch.bfloat16:
                raise TypeError("float32 only")
            return 2 * ctx.saved_tensors[0] * up

    with pytest.raises(SkippedError, match="the backward pass of function raised TypeError: float32 only"):
        rows(Refuses.apply)


class Distilled(torch.autograd.Function):
    """The divergence of a student from a teacher, a number for a batch: few roundings, of which one may be lucky."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        logq, p = student.log_softmax(1), teacher.softmax(1)
        ctx.save_for_backward(logq, p)
        return (p * (teacher.log_softmax(1) - logq)).sum() / len(p)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        logq, p = ctx.saved_tensors
        return g * (logq.exp() - p) / len(p), None


class Summed(Distilled):
    """The same, with a sum of its own in the narrow dtype, number after number."""

    @staticmethod
    def forward(ctx: Any, student: Tensor, teacher: Tensor) -> Tensor:
        Distilled.forward(ctx, student, teacher)
        logq, p = ctx.to_save
        total = torch.zeros((), dtype=p.dtype)
        for term in (p * (teacher.log_softmax(1) - logq)).flatten():
            total = total + term
        return total / len(p)


def divergence(student: Tensor, teacher: Tensor) -> Tensor:
    return torch.nn.functional.kl_div(student.log_softmax(1), teacher.softmax(1), reduction="batchmean")


@pytest.mark.parametrize("seed", range(8))
def test_a_lucky_number_of_the_reference_is_no_yardstick(seed: int) -> None:
    def inputs() -> tuple[Tensor, Tensor]:
        return torch.randn(6, 7), torch.randn(6, 7)

    assert prove_function(Distilled, divergence, inputs, grad_inputs=["student"], seed=seed).ok


def test_a_long_sum_in_the_narrow_dtype_is_still_too_far_off() -> None:
    def inputs() -> tuple[Tensor, Tensor]:
        return torch.randn(90, 17), torch.randn(90, 17)

    report = prove_function(Summed, divergence, inputs, grad_inputs=["student"])
    assert [(row.name, row.cause) for row in report.culprits] == [("output", "F5")], str(report)
