"""Who is computed from whom, seen through the user's names."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.graph.graph import OUTPUT, trace, without_changed
from backproof.proof.graph.node import place


def network() -> dict[str, Tensor]:
    """x -> a -> b, c -> loss, a way to nowhere d, and steps without a name in between."""
    x = torch.ones(3, requires_grad=True)
    w = torch.ones(3, requires_grad=True)
    a = (x * w).exp().sin()
    b = (a * 2.0) + w
    c = a**2
    d = a.cos()
    return dict(x=x, w=w, a=a, b=b, c=c, d=d, data=torch.ones(3), loss=(b * c).sum())


def test_readers_and_inputs_are_the_nearest_named_ones() -> None:
    names = network()
    graph = trace(names, names["loss"])
    assert {name: set(readers) for name, readers in graph.readers.items()} == {
        "x": {"a"},
        "w": {"a", "b"},
        "a": {"b", "c"},
        "b": {"loss"},
        "c": {"loss"},
        "d": set(),
        "loss": set(),
    }
    assert {name: set(graph.inputs_of(name)) for name in graph.names} == {
        "loss": {"b", "c"},
        "b": {"a", "w"},
        "c": {"a"},
        "a": {"x", "w"},
        "d": {"a"},  # of a way to nowhere, too
        "x": set(),
        "w": set(),
    }


def test_names_come_in_the_order_of_a_backward_pass_and_what_is_not_reached_last() -> None:
    names = network()
    order = trace(names, names["loss"]).names
    assert order[0] == "loss" and order[-1] == "d" and "data" not in order
    assert max(order.index("b"), order.index("c")) < order.index("a") < min(order.index("x"), order.index("w"))


def test_what_the_output_depends_on() -> None:
    names = network()
    graph = trace(names, names["loss"])
    assert {name for name in names if graph.reaches_output(name)} == {"x", "w", "a", "b", "c", "loss"}
    assert not graph.can_be_asked("d") and graph.can_be_asked("a")


def test_every_node_comes_before_what_it_sends_gradients_to() -> None:
    """Also where a short way and a long one lead to the same node."""
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    z = y
    for _ in range(5):
        z = z.sin()
    loss = (y * z).sum()
    nodes = trace(dict(x=x), loss).nodes
    position = {node: index for index, node in enumerate(nodes)}
    assert len(nodes) == len(position) == 9
    for node in nodes:
        for child, _ in node.next_functions:
            assert child is None or position[node] < position[child]


def test_an_output_without_a_name_and_one_with_several() -> None:
    names = network()
    unnamed = trace({"x": names["x"]}, names["loss"])
    assert unnamed.output == OUTPUT and unnamed.readers["x"] == (OUTPUT,)
    twice = trace({**names, "total": names["loss"]}, names["loss"])
    assert twice.output == "loss" and twice.twin("total") == "loss" and twice.twin("a") == "a"
    assert torch.equal(twice.upstream, torch.tensor(1.0))


def test_an_upstream_gradient_is_taken_as_it_is_and_without_its_graph() -> None:
    x = torch.ones(3, requires_grad=True)
    up = torch.arange(3.0, requires_grad=True) * 1.0
    graph = trace(dict(x=x), x * 2, up)
    assert torch.equal(graph.upstream, up) and not graph.upstream.requires_grad


def test_two_names_of_one_tensor_have_one_set_of_inputs() -> None:
    names = network()
    graph = trace({**names, "also": names["a"]}, names["loss"])
    assert graph.twin("also") == "a" and graph.inputs_of("also") == graph.inputs_of("a")
    assert set(graph.inputs_of("b")) == {"a", "w"}
    assert place(names["a"]) == graph.places["also"]


def test_what_lies_behind_a_changed_value_is_blocked() -> None:
    x, w = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    y = x.exp()  # saves its result
    z = y * 1.0
    v = w * 2.0
    loss = (z + v).sum()
    graph = trace(dict(x=x, w=w, y=y, z=z, v=v), loss)
    assert without_changed(graph).blocked == frozenset()
    y.data += 1  # unseen
    assert without_changed(graph).blocked == frozenset()
    with torch.no_grad():
        y.add_(1)
    blocked = without_changed(graph)
    assert blocked.blocked == {"x"}
    assert not blocked.can_be_asked("x") and blocked.can_be_asked("y") and blocked.can_be_asked("w")


def ladder(y: Tensor) -> Tensor:
    """Forty steps of two ways each: 2⁴⁰ ways in all."""
    for _ in range(40):
        y = y * 1.0 + y.sin()
    return y


def test_many_ways_are_walked_once() -> None:
    x = torch.ones(3, requires_grad=True)
    y = x.exp()
    z = ladder(y)
    dead = ladder(x.cos())
    graph = trace(dict(x=x, y=y, z=z, dead=dead), z.sum())
    assert graph.readers["y"] == ("z",) and graph.inputs_of("dead") == ("x",)
    with torch.no_grad():
        z.add_(1)
    assert without_changed(graph).blocked == frozenset()
    w = z.exp()
    graph = trace(dict(x=x, y=y, z=z, w=w), (w * 1.0).sum())
    with torch.no_grad():
        w.add_(1)
    assert without_changed(graph).blocked == {"x", "y", "z"}


def test_all_that_is_further_behind_is_blocked_too() -> None:
    x = torch.ones(3, requires_grad=True)
    a = x * 2.0
    y = a.exp()
    loss = (y * 1.0).sum()
    graph = trace(dict(x=x, a=a, y=y), loss)
    with torch.no_grad():
        y.add_(1)
    assert without_changed(graph).blocked == {"x", "a"}
