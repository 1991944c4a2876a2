"""Lines that are right for another upstream gradient than they were given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.judge.misread_upstream import judged


def rows(take: Callable[[Tensor], Tensor], upstream: Tensor) -> dict:
    x = torch.linspace(0.5, 2, upstream.numel(), dtype=torch.float64).reshape(upstream.shape).requires_grad_()
    a = x.sin()
    y = a.exp()
    used = take(upstream).expand_as(upstream)
    da = used * y.detach()
    dx = da * x.detach().cos()
    found = judged(dict(x=x, a=a, y=y), {"a": da, "x": dx}, y, upstream)
    return {row.name: row for row in found}


UP = torch.tensor([[3.0, -1.5], [0.5, 4.0]], dtype=torch.float64)


@pytest.mark.parametrize(
    ("take", "said"),
    [
        (torch.ones_like, "ignores the upstream gradient: yours is the gradient for ones"),
        (lambda u: u[0, 0], "treats the upstream gradient as one number, its first element"),
        (lambda u: u[1, 1], "treats the upstream gradient as one number, its last element"),
        (lambda u: u.mean(), "treats the upstream gradient as one number, its mean"),
        (lambda u: u.sum(), "treats the upstream gradient as one number, its sum"),
    ],
)
def test_a_line_that_reads_something_else_for_the_upstream_gradient(take: Callable, said: str) -> None:
    found = rows(take, UP)
    assert found["a"].cause == "F1" and said in found["a"].message
    assert not found["x"].culprit


def test_lines_that_are_right_or_wrong_otherwise_are_left_as_they_are() -> None:
    assert all(not row.culprit for row in rows(lambda u: u, UP).values())
    twice = rows(lambda u: 2 * u, UP)
    assert twice["a"].cause == "F12"
    ones = torch.ones(2, 2, dtype=torch.float64)
    assert rows(lambda u: 2 * u, ones)["a"].cause != "F1"


def test_a_loss_without_an_upstream_gradient_is_not_read_for_another() -> None:
    x = torch.linspace(0.5, 2, 4, dtype=torch.float64).requires_grad_()
    (row,) = judged(dict(x=x), {"x": torch.full((4,), 3.0, dtype=torch.float64)}, x.sum(), None)
    assert row.culprit and row.cause != "F1"


def test_a_single_number_can_only_be_ignored() -> None:
    up = torch.tensor([-2.5], dtype=torch.float64)
    assert rows(torch.ones_like, up)["a"].cause == "F1"
    assert rows(lambda u: u * 3, up)["a"].cause != "F1"
