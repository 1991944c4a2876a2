"""Other dimensions summed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.by_dimensions import other_dimensions, softmax_over_other_dimension
from backproof.proof.causes.fault import Fault
from backproof.proof.check import check

Make = Callable[..., Fault]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def own(values: dict[str, Tensor], name: str = "x") -> Tensor:
    return torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0].clone()


def test_summed_over_other_dimensions(fault_of: Make) -> None:
    x, g = draw(4, 4).requires_grad_(), draw(1, 4, seed=3).requires_grad_()
    y = x * g
    values = dict(x=x, g=g, y=y, loss=(y * draw(4, 4, seed=1)).sum())
    product = own(values, "y") * x.detach()
    (found,) = other_dimensions(fault_of(values, "g", product.sum(1).reshape(1, 4)))
    assert found.cause == "F9" and found.headline == "it is summed over dimension 1"
    assert found.mended is not None and torch.allclose(found.mended, own(values, "g"))
    (found,) = other_dimensions(fault_of(values, "g", product.sum().expand(1, 4).clone()))
    assert found.headline == "it is summed over all dimensions"
    assert not list(other_dimensions(fault_of(values, "g", 2 * product.sum(1).reshape(1, 4))))


def test_not_summed_where_a_constant_belongs_too(fault_of: Make) -> None:
    """A mean over the columns: the product whose sum is the right share carries the denominator."""
    x = draw(3, 3).requires_grad_()
    y = x.mean(1, keepdim=True)
    values = dict(x=x, y=y, loss=(y * draw(3, 1, seed=1)).sum())
    got = (own(values, "y") / 3).T.expand(3, 3).clone()
    found = list(other_dimensions(fault_of(values, "x", got)))
    assert not found or found[0].cause == "F9"


@pytest.mark.parametrize(("over", "said"), [(0, "dimension 0"), (None, "everything")])
def test_a_softmax_whose_inner_sum_runs_over_another_dimension(fault_of: Make, over: int | None, said: str) -> None:
    x = draw(4, 5).requires_grad_()
    p = x.softmax(-1)
    values = dict(x=x, p=p, loss=(p * draw(4, 5, seed=1)).sum())
    weighted = p.detach() * own(values, "p")
    total = weighted.sum() if over is None else weighted.sum(over, keepdim=True)
    (found,) = softmax_over_other_dimension(fault_of(values, "x", weighted - p.detach() * total))
    assert found.cause == "F9" and found.headline == f"the inner sum runs over {said}"
    assert found.mended is not None and torch.allclose(found.mended, own(values))
    assert "over dimension 1" in found.next
    logs = x.log_softmax(-1)
    values = dict(x=x, logs=logs, loss=(logs * draw(4, 5, seed=1)).sum())
    assert not list(softmax_over_other_dimension(fault_of(values, "x", torch.ones(4, 5, dtype=torch.float64))))


def test_a_sum_over_everything_that_cancels_is_one_number_all_over() -> None:
    """As where the gradient of a softmax's bias is summed over the classes, too."""
    x, y = torch.randn(9, 4, generator=torch.Generator().manual_seed(1)), torch.tensor([0, 3, 1, 1, 2, 0, 3, 2, 1])
    bias = torch.zeros(4, requires_grad=True)
    scores = x + bias
    loss = torch.nn.functional.cross_entropy(scores, y)
    dscores = (scores.softmax(1) - torch.nn.functional.one_hot(y, 4)).detach() / 9
    dscores[0, 0] += 2.0**-25  # what is left is not zero, whatever the processor
    values = dict(scores=scores, bias=bias)
    summed = check(loss, dict(values, dscores=dscores, dbias=torch.zeros(4) + dscores.sum()))
    assert summed["bias"].cause == "F9" and "summed over all dimensions" in summed["bias"].message
    other = check(loss, dict(values, dscores=dscores, dbias=torch.tensor([1e-8, 2e-8, 1e-8, 3e-8])))
    assert other["bias"].culprit and other["bias"].cause != "F9"
    assert check(loss, dict(values, dscores=dscores, dbias=dscores.sum(0))).ok
