"""The operations on the way back to a value, and passes with one of them spoiled."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes import stretch
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.stretch import back_to, places, spoiled
from backproof.proof.graph.node import Node, NotSavedError, kind

X = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))


def fault(make: Callable[..., Fault], **given: object) -> Fault:
    """loss = Σ (exp(h) + sin(h)), h = tanh(x)²: of `x`, whose gradient is all ones."""
    x = X.clone().requires_grad_()
    h = torch.tanh(x) ** 2
    loss = (h.exp() + h.sin()).sum()
    return make(dict(x=x, h=h, loss=loss), "x", torch.ones(3, 4), **given)


def kinds(edges: list) -> list[str]:
    return sorted(f"{kind(edge.node)}{edge.position}" for edge in edges)


def test_it_goes_up_to_the_next_gradients_given(fault_of) -> None:
    assert kinds(back_to(fault(fault_of)).edges) == ["Pow0", "Tanh0"]
    every = back_to(fault(fault_of, without=("h",)))
    assert kinds(every.edges) == ["Add0", "Add1", "Exp0", "Pow0", "Sin0", "Sum0", "Tanh0"]
    assert kind(every.edges[0].node) == "Tanh"
    (given,) = every.given.values()
    assert given.item() == 1


def twice(node: Node, sent: Tensor, arrived: Tensor) -> Tensor:
    return 2 * sent


@pytest.mark.parametrize(("given", "name"), [({}, "Tanh"), ({}, "Pow"), ({"without": ("h",)}, "Sum")])
def test_what_a_spoiled_operation_sends_is_sent_on(fault_of, given: dict, name: str) -> None:
    one = fault(fault_of, **given)
    way = back_to(one)
    made = spoiled(one, way, [edge for edge in way.edges if kind(edge.node) == name], twice)
    assert made is not None
    torch.testing.assert_close(made.float(), 2 * one.expected.float())


def not_saved(node: Node, sent: Tensor, arrived: Tensor) -> Tensor:
    raise NotSavedError


@pytest.mark.parametrize(
    "spoil", [lambda *_: None, lambda node, sent, g: sent[:1], lambda node, sent, g: sent + 0j, not_saved]
)
def test_a_spoiling_that_says_nothing_makes_nothing(fault_of, spoil: Callable) -> None:
    one = fault(fault_of)
    way = back_to(one)
    assert spoiled(one, way, way.edges[:1], spoil) is None


def loop(make: Callable[..., Fault], rounds: int) -> Fault:
    x = X.clone().requires_grad_()
    h = x
    for _ in range(rounds):
        h = (h * x).tanh()
    return make(dict(x=x, loss=h.sum()), "x", torch.ones(3, 4))


def test_a_loop_is_gone_through_by_kind_last_round_first(fault_of) -> None:
    one = loop(fault_of, 4)
    groups = [edges for edges in places(one, back_to(one).edges) if len(edges) > 1]
    products = next(edges for edges in groups if kind(edges[0].node) == "Mul" and edges[0].position == 1)
    assert len(products) in (3, 4)  # the first round's factors are both x
    order = [one.graph.nodes.index(edge.node) for edge in products]
    assert order == sorted(order)


@pytest.mark.parametrize(("most", "alone"), [(8, True), (7, False)])
def test_of_many_operations_none_is_tried_alone(fault_of, monkeypatch, most: int, alone: bool) -> None:
    monkeypatch.setattr(stretch, "_NODES", most)
    one = loop(fault_of, 4)
    edges = [edge for edge in back_to(one).edges if kind(edge.node) != "Sum"]
    assert len({edge.node for edge in edges}) == 8
    assert any(len(each) == 1 for each in places(one, edges)) is alone


def test_no_more_passes_are_made_than_a_search_may_take(fault_of) -> None:
    one = fault(fault_of)
    way = back_to(one)
    one.passes = iter(range(1))
    assert spoiled(one, way, way.edges[:1], twice) is not None
    assert spoiled(one, way, way.edges[:1], twice) is None
