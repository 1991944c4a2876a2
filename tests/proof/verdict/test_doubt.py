"""The second look before an accusation: each of its numbers, with a line that it saves and one that it does not."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.graph.graph import trace
from backproof.proof.verdict.doubt import doubt
from backproof.proof.verdict.yardstick import yardsticks

EPS = torch.finfo(torch.float32).eps
FAR = 1e4  # from zero, where a float32 has lost four of its seven digits


def chain(length: int, off: float) -> dict[str, Tensor]:
    """x -> a1 -> ... -> top = (a - FAR)², and dx off by as much as `off` roundings of x move the gradient of `a`.

    Every gradient between is given, so that `a` is as many values above x as the chain is long.
    """
    x = (FAR + torch.rand(6, generator=torch.Generator().manual_seed(0))).requires_grad_()
    names, a = {"x": x}, x
    for number in range(1, length + 1):
        a = names[f"a{number}"] = a + 0.0
    top = (a - FAR) ** 2
    right = 2 * (a - FAR).detach()
    names |= {f"da{number}": right.clone() for number in range(1, length + 1)}
    return names | {"top": top, "dtop": torch.ones(6), "loss": top.sum(), "dx": right + off * 2 * FAR * EPS}


@pytest.mark.parametrize(("off", "right"), [(6, True), (12, False)])
def test_what_the_rounding_of_the_line_itself_may_do(off: float, right: bool) -> None:
    names = chain(0, off)
    assert check(names["loss"], names).ok is right


@pytest.mark.parametrize(("length", "off", "right"), [(1, 6, True), (1, 18, False), (8, 6, True), (9, 6, False)])
def test_what_the_rounding_of_a_line_above_may_do_up_to_eight_values_away(length: int, off: float, right: bool) -> None:
    names = chain(length, off)
    assert check(names["loss"], names).ok is right


def cancelling(length: int) -> dict[str, Tensor]:
    """x -> a1 -> ... -> a, which is read twice, by factors of a million that cancel; dx is off by their rounding."""
    x = torch.ones(6, requires_grad=True)
    names, a = {"x": x}, x
    for number in range(1, length + 1):
        a = names[f"a{number}"] = a + 0.0
    up, down = a * 1e6, a * (1 - 1e6)
    right = torch.ones(6)
    names |= {f"da{number}": right.clone() for number in range(1, length + 1)}
    names |= {"up": up, "down": down, "dup": torch.ones(6), "ddown": torch.ones(6)}
    return names | {"loss": up.sum() + down.sum(), "dx": right + 10 * 1e6 * EPS}


@pytest.mark.parametrize(("length", "right"), [(1, True), (64, True), (65, False)])
def test_the_rounding_of_a_sum_above_is_carried_on_from_up_to_sixty_four_values_away(length: int, right: bool) -> None:
    names = cancelling(length)
    assert check(names["loss"], names).ok is right


def test_a_cancelling_sum_above_excuses_its_own_rounding_and_no_more() -> None:
    names = cancelling(1)
    names["dx"] = torch.ones(6) + 1000 * 1e6 * EPS
    assert [row.name for row in check(names["loss"], names).culprits] == ["x"]


def doubted(value: Tensor, loss: Tensor) -> Tensor:
    graph = trace({"x": value, "loss": loss}, loss)
    right = torch.autograd.grad(loss, value, retain_graph=True)[0]
    return doubt(graph, {}, yardsticks(graph, {}, {"x": right}), "x")


def test_a_line_that_does_not_depend_on_rounded_values_is_not_doubted() -> None:
    x = torch.rand(5, 3, requires_grad=True)
    assert not doubted(x, (x * torch.rand(5, 3)).sum()).any()
    assert doubted(x, (x**2).sum()).all()


def test_one_element_may_be_small_by_chance_and_shares_the_doubt_of_its_row_or_column() -> None:
    x = torch.ones(4, 3)
    x[1, 2] = 0.0
    x.requires_grad_()
    found = doubted(x, (x**2).sum())
    assert float(found[1, 2]) > 0.3 * float(found[0, 0])  # what moves this element alone is nothing


def test_three_draws_are_averaged() -> None:
    """Each is a backward pass over the whole graph; one alone would be large or small by chance."""
    calls: list[int] = []

    class Square(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, up):
            calls.append(1)
            return 2 * ctx.saved_tensors[0] * up

    x = torch.rand(5, requires_grad=True)
    y = Square.apply(x)
    graph = trace({"x": x, "y": y}, y.sum())
    measures = yardsticks(graph, {}, {"x": 2 * x.detach()})
    calls.clear()
    doubt(graph, {}, measures, "x")
    carried, differentiated_once, noise_inside = 3, 1, 1 + 3
    assert len(calls) == carried + differentiated_once + noise_inside


def test_what_cannot_be_differentiated_twice_is_doubted_for_its_rounding_inside_alone() -> None:
    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * x

        @staticmethod
        @torch.autograd.function.once_differentiable
        def backward(ctx, up):
            return up * 3.0

    x = torch.rand(5, requires_grad=True)
    extra = doubted(x, Once.apply(x).sum())
    assert extra.all() and float(extra.max()) < 1e-4


@pytest.mark.parametrize(
    ("operations", "off", "right"), [(90, 6, True), (110, 6, False), (110, 0.2, True), (110, 0.4, False)]
)
def test_over_a_far_way_forward_rounding_excuses_a_digit_and_no_more(operations: int, off: float, right: bool) -> None:
    """A hundred operations without a name; along them, errors of forward values may grow without end."""
    x = (FAR + torch.rand(6, generator=torch.Generator().manual_seed(0))).requires_grad_()
    a = x
    for _ in range(operations):
        a = a + 0.0
    top = (a - FAR) ** 2
    dx = 2 * (a - FAR).detach() + off * 2 * FAR * EPS
    assert check(top.sum(), dict(x=x, top=top, dtop=torch.ones(6), dx=dx)).ok is right
