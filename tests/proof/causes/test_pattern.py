"""What the wrong elements of a gradient have in common."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.fault import Fault
from backproof.proof.causes.pattern import pattern
from backproof.proof.causes.wording import ranges

Make = Callable[..., Fault]


def said(make: Make, x: Tensor, wrong: Tensor) -> str:
    """Of y = 3 x², whose gradient is off wherever `wrong` holds."""
    x = x.clone().requires_grad_()
    right = 6 * x.detach()
    return pattern(make(dict(x=x, loss=(3 * x**2).sum()), "x", right + wrong * (7 + torch.rand(x.shape))))


def test_elements_with_a_value_in_common(fault_of: Make) -> None:
    x = torch.randn(6, 5, generator=torch.Generator().manual_seed(3))
    x[1, 2] = x[4, 0] = x[5, 3] = 0.0
    assert said(fault_of, x, x == 0) == "3 of 30 elements are wrong, all where x is 0"
    count = int((x < 0).sum())
    assert said(fault_of, x, x < 0) == f"{count} of 30 elements are wrong, all where x is negative"
    largest = x == x.amax(1, keepdim=True)
    assert said(fault_of, x, largest) == "6 of 30 elements are wrong, all where x is the largest along dimension 1"


def test_two_negative_ones_may_be_so_by_chance(fault_of: Make) -> None:
    x = torch.ones(4, 4)
    x[:, ::2] = -1
    wrong = torch.zeros(4, 4, dtype=torch.bool)
    wrong[1, 0] = wrong[2, 2] = True
    assert "negative" not in said(fault_of, x, wrong)
    wrong[:, ::2] = True
    assert "all where x is negative" in said(fault_of, x, wrong)


@pytest.mark.parametrize(("count", "shared"), [(7, True), (6, False)])
def test_half_of_those_that_share_it_are_wrong(fault_of: Make, count: int, shared: bool) -> None:
    x = torch.ones(60)
    x[:14] = -1
    wrong = torch.zeros(60, dtype=torch.bool)
    wrong[torch.tensor([0, 2, 4, 6, 9, 11, 13])[:count]] = True
    assert ("all where x is negative" in said(fault_of, x, wrong)) is shared


def test_elements_at_some_indices(fault_of: Make) -> None:
    x = torch.rand(8, 12) + 0.5
    wrong = torch.zeros(8, 12, dtype=torch.bool)
    wrong[:, 9:] = True
    assert said(fault_of, x, wrong) == "24 of 96 elements are wrong, all at the last 3 of 12 indices of dimension 1"
    wrong = torch.zeros(8, 12, dtype=torch.bool)
    wrong[2, 1::4] = True
    assert said(fault_of, x, wrong).endswith("all at index 2 of dimension 0 and index 1, 5 and 9 of dimension 1")
    assert said(fault_of, x, torch.ones(8, 12, dtype=torch.bool)) == "all 96 elements are wrong"


def test_a_triangle(fault_of: Make) -> None:
    wrong = torch.ones(6, 6, dtype=torch.bool).triu(1)
    assert said(fault_of, torch.rand(6, 6) + 0.5, wrong).endswith("all where the column is behind the row")


def test_one_number(fault_of: Make) -> None:
    assert said(fault_of, torch.rand(()), torch.tensor(True)) == "it is one number"


def test_indices_in_steps() -> None:
    assert ranges([3, 7, 11, 15, 19]) == "3 to 19 in steps of 4"
    assert ranges([3, 7, 11]) == "3, 7 and 11"
    assert ranges([3, 7, 11, 16]) == "3, 7, 11 and 16"
