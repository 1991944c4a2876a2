"""Terms, precision and length of the way to a value."""

from __future__ import annotations

import pytest
import torch

from backproof.proof.graph.graph import trace
from backproof.proof.verdict.sums import FULL_PRECISION, at_once, eps_at, sums


def test_the_longest_way_counts_and_starts_anew_at_a_value_that_was_given() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * 2.0 * 2.0
    loss = (y * 3.0 + y).sum()  # the sum, the addition and one product lie between
    graph = trace(dict(x=x, y=y), loss)
    found = sums(graph, set())
    assert found[graph.places["y"]].depth == 3 and found[graph.places["x"]].depth == 5
    assert sums(graph, {graph.places["y"]})[graph.places["x"]].depth == 2


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_the_coarsest_precision_on_the_way(dtype: torch.dtype) -> None:
    x = torch.ones(3, requires_grad=True, dtype=torch.float64)
    graph = trace(dict(x=x), (x.to(dtype) * 2).sum())
    assert sums(graph, set())[graph.places["x"]].eps == torch.finfo(dtype).eps
    assert eps_at(graph.places["x"]) == torch.finfo(torch.float64).eps


def test_what_is_summed_at_once() -> None:
    """The rows of a product and one a reader; in half precision only what the readers send is rounded."""
    for dtype, kernel in ((torch.float32, 6), (torch.bfloat16, 0)):
        W = torch.ones(5, 4, requires_grad=True, dtype=dtype)
        x = torch.ones(6, 5, dtype=dtype)
        graph = trace(dict(W=W), (x @ W + x @ W + x @ W).sum())
        assert at_once(graph)[graph.places["W"]] == 3 + kernel
    assert torch.finfo(torch.float32).eps == FULL_PRECISION
