"""What node.py says of PyTorch's private side, asked of PyTorch itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from backproof.proof.graph.node import (
    NotSavedError,
    arguments_of,
    consulted,
    dtype_at,
    is_custom,
    is_followed,
    kind,
    leaf_was_written,
    leaves_behind,
    nodes_behind,
    only_backward_goes_through,
    place,
    saved,
    saved_dims,
    saved_value_changed,
    shape_at,
    signed,
    version,
    was_changed,
    was_freed,
)


def leaf(*shape: int) -> Tensor:
    return torch.randn(shape).requires_grad_()


def raised_by(y: Tensor, x: Tensor) -> RuntimeError:
    with pytest.raises(RuntimeError) as caught:
        torch.autograd.grad(y.sum(), [x])
    return caught.value


def test_a_kind_is_the_operations_name() -> None:
    x = leaf(2, 3)
    assert [kind(y.grad_fn) for y in (x * 2, x @ x.T, x.softmax(1))] == ["Mul", "Mm", "Softmax"]


def test_a_place_knows_shape_and_dtype() -> None:
    x = leaf(2, 3)
    assert shape_at(place(x)) == (2, 3) and dtype_at(place(x)) == torch.float32
    assert shape_at(place(x.double().sum(1))) == (2,) and dtype_at(place(x.double())) == torch.float64


def test_what_is_saved() -> None:
    x = leaf(2, 3)
    y = x.tanh()
    kept = saved(y.grad_fn, "result")
    assert torch.equal(kept, y) and not kept.requires_grad
    with pytest.raises(NotSavedError, match="TanhBackward0 has no other"):
        saved(y.grad_fn, "other")
    y.sum().backward()
    with pytest.raises(NotSavedError, match="TanhBackward0 has no result"):
        saved(y.grad_fn, "result")


def test_dimensions_count_from_the_front() -> None:
    x = leaf(2, 3, 4)
    assert saved_dims(x.softmax(-1).grad_fn, 3) == (2,)
    assert saved_dims(x.logsumexp((0, -1)).grad_fn, 3) == (0, 2)
    assert saved_dims(x.var().grad_fn, 3) == (0, 1, 2)


def test_a_version_counts_writes() -> None:
    x = torch.zeros(3)
    assert version(x) == 0
    x.add_(1)
    assert version(x) == 1


def test_autograds_words_for_a_changed_value() -> None:
    x = leaf(3)
    y = x.exp()
    node = y.grad_fn
    assert not saved_value_changed(node)
    y.mul_(2)
    assert saved_value_changed(node)
    error = raised_by(y, x)
    assert was_changed(error) and not was_freed(error) and not only_backward_goes_through(error)


def test_a_value_that_was_freed_was_not_changed() -> None:
    y = leaf(3).exp()
    node = y.grad_fn
    y.sum().backward()
    assert not saved_value_changed(node)


def test_autograds_words_for_a_freed_graph() -> None:
    x = leaf(3)
    loss = (x**2).sum()
    loss.backward()
    error = raised_by(loss, x)
    assert was_freed(error) and not was_changed(error)


def test_autograds_words_for_a_checkpoint_of_the_old_kind() -> None:
    x = leaf(3)
    loss = checkpoint(lambda x: x * x, x, use_reentrant=True)
    assert isinstance(loss, Tensor)
    error = raised_by(loss, x)
    assert only_backward_goes_through(error) and not was_freed(error)


def test_a_dimension_is_a_number_of_64_bits_with_a_sign() -> None:
    assert [signed(dim) for dim in (0, 3, 2**63 - 1, 2**63, 2**64 - 1)] == [0, 3, 2**63 - 1, -(2**63), -1]


class Asking(torch.autograd.Function):
    asks: Any = staticmethod(lambda ctx: None)

    @staticmethod
    def forward(ctx: Any, x: Tensor, k: int, w: Tensor, m: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x * w * m

    @classmethod
    def backward(cls, ctx: Any, up: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        assert ctx.saved_tensors and up.shape == (2,)
        cls.asks(ctx)
        return up, None, up, up


@pytest.mark.parametrize(
    ("asks", "asked"),
    [
        (lambda ctx: None, set()),
        (lambda ctx: ctx.needs_input_grad[2], {2}),
        (lambda ctx: (ctx.needs_input_grad[0], ctx.needs_input_grad[-1]), {0, 3}),
        (lambda ctx: ctx.needs_input_grad[1:3], {1, 2}),
        (lambda ctx: any(ctx.needs_input_grad), {0, 1, 2, 3}),
    ],
)
def test_what_a_function_asks_of_needs_input_grad(asks: Any, asked: set[int]) -> None:
    function = type("Asks", (Asking,), {"asks": staticmethod(asks)})
    x, w, m = torch.ones(2, requires_grad=True), torch.ones(2), torch.ones(2, requires_grad=True)
    y = function.apply(x, 3, w, m)  # kept: PyTorch 2.6 drops what was saved with the last output
    node = y.grad_fn
    assert is_custom(node)
    assert consulted(node, [torch.ones(2)]) == asked == consulted(node, [None])
    assert arguments_of(node) == {0: place(x), 3: place(m)}


def test_leaves_and_nodes_behind_values() -> None:
    x, w = (torch.ones(2, requires_grad=True) for _ in range(2))
    y = x * w
    found = list(leaves_behind([y, y.sum(), torch.ones(1)]))
    assert {id(leaf) for leaf in found} == {id(x), id(w)} and len(found) == 2
    assert [kind(node) for node in nodes_behind([y])] == ["Mul", "AccumulateGrad", "AccumulateGrad"]


def test_words_for_a_leaf_that_is_written_into() -> None:
    with pytest.raises(RuntimeError) as caught:
        torch.ones(2, requires_grad=True).mul_(2)
    assert leaf_was_written(caught.value) and not leaf_was_written(RuntimeError("else")) and not leaf_was_written(None)


@pytest.mark.parametrize("leaf", [True, False])
def test_a_view_made_without_a_graph_is_not_followed(leaf: bool) -> None:
    x = torch.randn(3, 4, requires_grad=True)
    value = x if leaf else x * 2
    with torch.no_grad():
        part = value[1:]
    assert part.requires_grad  # so PyTorch says
    assert not is_followed(part)
    assert is_followed(value) and is_followed(value[1:]) and not is_followed(value.detach())


def test_a_part_of_a_tensor_that_is_a_leaf_itself_is_followed() -> None:
    assert is_followed(torch.zeros(4)[1:].requires_grad_())
