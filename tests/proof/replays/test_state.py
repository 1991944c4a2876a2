"""State between calls of a kernel, and what it writes into."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.state import goes_through, two_graphs, unchanged, used_twice
from backproof.proof.replays.subject import FIRST, Proof, SkippedError
from backproof.proof.report.rows import Row


def square(x: Tensor) -> Tensor:
    return x * x


def kernel_of(
    backward: Callable[[Any, Tensor], Any], forward: Callable[[Any, Tensor], Tensor] | None = None, **given: Any
) -> Kernel:
    def save(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    body = {"forward": staticmethod(forward or save), "backward": staticmethod(backward)}
    function = type("Square", (torch.autograd.Function,), body)
    return Kernel(function.apply, square, given.get("inputs", lambda n=5: (torch.rand(n) / 8 + 0.8,)))


def right(ctx: Any, up: Tensor) -> Tensor:
    return 2 * ctx.saved_tensors[0] * up


def made(replay: Callable, kernel: Kernel) -> list[Row]:
    proof = Proof(kernel, kernel.tried(FIRST))
    return [row for row in replay(proof, Ledger(proof.first_run.rows)) if row.culprit]


@pytest.mark.parametrize("replay", [unchanged, two_graphs, used_twice])
def test_a_right_kernel_keeps_no_state(replay: Callable) -> None:
    assert made(replay, kernel_of(right)) == []


def test_state_that_the_next_call_overwrites() -> None:
    kept: dict[str, Tensor] = {}

    def forward(ctx: Any, x: Tensor) -> Tensor:
        kept["x"] = x
        return x * x

    rows = made(two_graphs, kernel_of(lambda ctx, up: 2 * kept["x"] * up, forward))
    assert [(row.name, row.cause) for row in rows] == [("x", "F3")]
    assert "depends on other calls" in rows[0].message


def test_the_other_call_has_numbers_of_the_same_kind() -> None:
    """Three quarters of the first run's: a function of numbers between 1/2 and 1 still takes them."""
    kept: dict[str, Tensor] = {}

    def forward(ctx: Any, x: Tensor) -> Tensor:
        assert bool(((x > 0.5) & (x < 1)).all())
        kept["x"] = x
        return x * x

    assert made(two_graphs, kernel_of(lambda ctx, up: 2 * kept["x"] * up, forward))


def test_a_backward_pass_that_raises_after_another_call() -> None:
    calls: list[int] = []

    def forward(ctx: Any, x: Tensor) -> Tensor:
        calls.append(1)
        ctx.save_for_backward(x)
        ctx.number = len(calls)
        return x * x

    def backward(ctx: Any, up: Tensor) -> Tensor:
        if ctx.number != len(calls) and len(calls) > 4:
            raise ValueError("the buffer is gone")
        return 2 * ctx.saved_tensors[0] * up

    kernel = kernel_of(backward, forward)
    proof = Proof(kernel, kernel.tried(FIRST))
    while len(calls) < 4:
        kernel.called(proof.first_run.values, ("x",))
    (row,) = two_graphs(proof, Ledger(proof.first_run.rows))
    assert row.cause == "F3" and "when the function was called again before it" in row.message


@pytest.mark.parametrize(
    ("backward", "said"),
    [
        (lambda ctx, up: up.mul_(2 * ctx.saved_tensors[0]), "changes the upstream gradient of output in place"),
        (lambda ctx, up: ctx.saved_tensors[0].mul_(2) * up, "in place"),
    ],
)
def test_what_the_backward_pass_writes_into(backward: Callable, said: str) -> None:
    rows = made(unchanged, kernel_of(backward))
    assert rows and rows[0].cause == "F3" and said in rows[0].message


def test_what_the_forward_pass_writes_into() -> None:
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x.clone())
        x.data.add_(1)
        return (x - 1) ** 2

    (row,) = made(unchanged, kernel_of(right, forward))
    assert row.name == "x" and "The forward pass changes its input x in place" in row.message
    assert "largest change 1.00e+00" in row.message


def test_a_residual_branch_whose_gradient_is_damaged() -> None:
    (row, *_) = made(used_twice, kernel_of(lambda ctx, up: up.mul_(2 * ctx.saved_tensors[0])))
    assert row.cause == "F3" and "as in a residual branch" in row.message


def test_known_damage_is_not_looked_for_again() -> None:
    kernel = kernel_of(lambda ctx, up: up.mul_(2 * ctx.saved_tensors[0]))
    proof = Proof(kernel, kernel.tried(FIRST))
    ledger = Ledger(proof.first_run.rows)
    ledger.add(unchanged(proof, ledger), "arguments unchanged")
    assert used_twice(proof, ledger) == []


def two(x: Tensor) -> tuple[Tensor, Tensor]:
    return x * x, x.sin()


def test_an_output_that_cannot_be_used_alone_is_no_matter_of_residual_branches() -> None:
    class Both(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
            ctx.set_materialize_grads(False)
            ctx.save_for_backward(x)
            return x * x, x.sin()

        @staticmethod
        def backward(ctx: Any, *ups: Any) -> Any:
            (x,) = ctx.saved_tensors
            return 2 * x * ups[0] + x.cos() * ups[1]

    kernel = Kernel(Both.apply, two, lambda n=4: (torch.rand(n),))
    proof = Proof(kernel, kernel.tried(FIRST))
    with pytest.raises(SkippedError, match="raises when only output\\[0\\] is used"):
        used_twice(proof, Ledger(proof.first_run.rows))
    ups = {name: value.clone() for name, value in proof.first_run.upstreams.items()}
    assert goes_through(proof, ups) and not goes_through(proof, {"output[0]": ups["output[0]"]})
