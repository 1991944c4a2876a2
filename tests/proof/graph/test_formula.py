"""Forward lines, written back from the graph."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.graph.formula import formula, write
from backproof.proof.graph.graph import trace
from backproof.proof.graph.node import place

X = torch.rand(3, 3, requires_grad=True)
W = torch.rand(3, 3, requires_grad=True)
DATA = torch.rand(3, 3)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (lambda x, w, d: x + w, "y = x + w"),
        (lambda x, w, d: x - w, "y = x - w"),
        (lambda x, w, d: x * w, "y = x * w"),
        (lambda x, w, d: x / w, "y = x / w"),
        (lambda x, w, d: x @ w, "y = x @ w"),
        (lambda x, w, d: x @ d, "y = x @ d"),
        (lambda x, w, d: d * x, "y = d * x"),
        (lambda x, w, d: x**2, "y = x**2"),
        (lambda x, w, d: x**0.5, "y = x**0.5"),
        (lambda x, w, d: -x, "y = -x"),
        (lambda x, w, d: x.t() @ w, "y = x.T @ w"),
        (lambda x, w, d: x * 2.5, "y = x * 2.5"),
        (lambda x, w, d: x / 2.5, "y = x / 2.5"),
        (lambda x, w, d: (x + w) * w, "y = (x + w) * w"),
        (lambda x, w, d: torch.tanh(x), "y = tanh(x)"),
        (lambda x, w, d: torch.tanh(x + w), "y = tanh(x + w)"),
        (lambda x, w, d: torch.addmm(x, w, w), "y = w @ w + x"),
        (lambda x, w, d: x.sin().sin().sin(), "y = sin(sin(sin(x)))"),
        (lambda x, w, d: x.sin().sin().sin().sin(), "y"),  # deeper than three, nobody reads it
        (lambda x, w, d: x.sin().sin().sin().sin() * w, "y = ... * w"),
    ],
)
def test_a_line_is_written_back(line: Callable[[Tensor, Tensor, Tensor], Tensor], text: str) -> None:
    y = line(X, W, DATA)
    graph = trace(dict(x=X, w=W, d=DATA, y=y), y.sum())
    assert formula(graph, "y") == text


def test_what_has_no_line_is_its_name() -> None:
    y = X * 2.0
    graph = trace(dict(x=X, y=y), y.sum())
    assert formula(graph, "x") == "x" and formula(graph, "nobody") == "nobody"


def test_a_step_without_a_name() -> None:
    step = X.exp()
    y = step * W
    graph = trace(dict(x=X, w=W, y=y), y.sum())
    assert write(graph, place(step)) == "exp(x)"
    assert formula(graph, "y") == "y = exp(x) * w"
    named = trace(dict(x=X, w=W, step=step, y=y), y.sum())
    assert formula(named, "y") == "y = step * w"
