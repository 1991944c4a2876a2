"""What node.py says of PyTorch's private side, asked of PyTorch itself."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from backproof.proof.graph.node import (
    NotSavedError,
    dtype_at,
    kind,
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
