"""A kernel in low precision beside plain operations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

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
