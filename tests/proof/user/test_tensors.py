"""Small questions about tensors."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.user.tensors import is_finite, is_float, leaf, same_bits, short_name

NAN = float("nan")


@pytest.mark.parametrize(
    ("value", "floats"),
    [(torch.ones(2), True), (torch.ones(2, dtype=torch.complex64), True), (torch.arange(2), False), (1.0, False)],
)
def test_what_can_carry_a_gradient(value: object, floats: bool) -> None:
    assert is_float(value) is floats


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        (torch.tensor([1.0, NAN]), torch.tensor([1.0, NAN]), True),
        (torch.tensor(0.0), torch.tensor(-0.0), False),
        (torch.ones(2), torch.ones(2, dtype=torch.float64), False),
        (torch.ones(2), torch.ones(1, 2), False),
        (torch.ones(2), torch.tensor([1.0, 1.0000001]), False),
        (torch.arange(6.0).reshape(2, 3).T, torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]), True),
        (torch.tensor([1 + 2j]).conj(), torch.tensor([1 - 2j]), True),
        (torch.ones(6)[::3][:1], torch.ones(1), True),
        (torch.empty(0), torch.empty(0), True),
    ],
)
def test_equal_to_the_last_bit(a: Tensor, b: Tensor, same: bool) -> None:
    assert same_bits(a, b) is same


def test_a_leaf_is_a_copy_that_needs_a_gradient_where_it_can() -> None:
    x = torch.ones(2, 3).T
    made = leaf(x)
    assert made.requires_grad and made.is_leaf and made.stride() == x.stride()
    assert made.data_ptr() != x.data_ptr()
    assert leaf(x, torch.float64).dtype is torch.float64 and leaf(x, torch.float64).requires_grad
    integers = leaf(torch.arange(3), torch.float64)
    assert integers.dtype is torch.int64 and not integers.requires_grad


def test_finite_throughout() -> None:
    assert is_finite({"a": torch.ones(2), "b": torch.arange(2), "c": "text"})
    assert not is_finite({"a": torch.ones(2), "b": torch.tensor([1.0, NAN])})
    assert not is_finite({"a": torch.tensor([float("inf"), 1.0])})
    assert short_name(torch.bfloat16) == "bfloat16"
