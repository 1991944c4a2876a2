"""A kernel of which only a part is used."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.parts import input_layout, one_output, some_inputs
from backproof.proof.replays.subject import FIRST, Proof
from backproof.proof.user.layouts import LAYOUTS

LAYOUT = {layout.name: layout for layout in LAYOUTS}


def reference(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return x * w, x.exp()


def proof_of(backward: Any, *, zeros: bool = True, forward: Any = None) -> tuple[Proof, Ledger]:
    class Two(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Any:
            ctx.set_materialize_grads(zeros)
            ctx.save_for_backward(x, w)
            return forward(x, w) if forward else reference(x, w)

    Two.backward = staticmethod(backward)
    kernel = Kernel(Two.apply, reference, lambda n=4: (torch.rand(n, 3), torch.rand(n, 3)))
    proof = Proof(kernel, kernel.tried(FIRST))
    return proof, Ledger(proof.first_run.rows)


def right(ctx: Any, a: Tensor, b: Tensor) -> Any:
    x, w = ctx.saved_tensors
    return a * w + b * x.exp(), a * x


def lazy(ctx: Any, a: Tensor, b: Tensor) -> Any:
    """Forgets the second output's share where the second input needs no gradient."""
    x, w = ctx.saved_tensors
    return a * w + (b * x.exp() if ctx.needs_input_grad[1] else 0), a * x


def test_a_right_kernel_may_be_used_in_part() -> None:
    proof, ledger = proof_of(right)
    for needs in (("x",), ("w",)):
        assert not [row for row in some_inputs(proof, ledger, needs=needs) if row.culprit]
    for output in ("output[0]", "output[1]"):
        assert not [row for row in one_output(proof, ledger, output=output) if row.culprit]


def test_a_gradient_that_depends_on_what_else_is_needed() -> None:
    proof, ledger = proof_of(lazy)
    assert not ledger.known()
    assert [row.name for row in some_inputs(proof, ledger, needs=("x",)) if row.culprit] == ["x"]


def test_a_backward_pass_that_raises_without_some_gradients() -> None:
    def raises(ctx: Any, a: Tensor, b: Tensor) -> Any:
        assert all(ctx.needs_input_grad), "all or nothing"
        return right(ctx, a, b)

    (row,) = some_inputs(*proof_of(raises), needs=("w",))
    assert row.cause == "F4" and "when only w needs a gradient: AssertionError: all or nothing" in row.message
    assert "look at ctx.needs_input_grad" in row.message


def test_none_for_an_output_that_nobody_uses() -> None:
    (row,) = one_output(*proof_of(right, zeros=False), output="output[0]")
    assert row.cause == "F4" and "since the gradient of output[1], which nobody uses, is None there" in row.message
    assert "take None for zeros" in row.message

    def refuses(ctx: Any, a: Tensor, b: Tensor) -> Any:
        if not bool(b.any()):
            raise ValueError("no zeros")
        return right(ctx, a, b)

    (row,) = one_output(*proof_of(refuses), output="output[0]")
    assert row.cause == "F4" and "make backward work for each output alone" in row.message


@pytest.mark.parametrize(("layout", "found"), [("strided", True), ("transposed", True), ("offset", False)])
def test_inputs_taken_for_contiguous(layout: str, found: bool) -> None:
    def reads(x: Tensor, w: Tensor) -> Any:
        return x.as_strided(x.shape, (3, 1), x.storage_offset()) * w, x.exp()

    rows = [row for row in input_layout(*proof_of(right, forward=reads), layout=LAYOUT[layout]) if row.culprit]
    assert [(row.name, row.cause) for row in rows] == [("output[0]", "F2")] * found


def test_inputs_of_a_shape_without_such_a_layout() -> None:
    kernel = Kernel(torch.mul, torch.mul, (torch.tensor(2.0), torch.tensor(3.0)))
    proof = Proof(kernel, kernel.tried(FIRST))
    assert input_layout(proof, Ledger(proof.first_run.rows), layout=LAYOUT["strided"]) == []
