"""The whole check, as a search for causes sees it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from backproof.proof.causes.case import Part
from backproof.proof.causes.fault import Fault
from backproof.proof.graph.graph import OUTPUT

Make = Callable[..., Fault]


def network() -> dict[str, Tensor]:
    x = torch.linspace(1, 2, 6, dtype=torch.float64).requires_grad_()
    a = x**2
    b = a.exp()
    dead, deader = a.sin(), x.cos()
    return dict(x=x, a=a, b=b, dead=dead, deader=deader, loss=b.sum())


def zeros() -> Tensor:
    return torch.zeros(6, dtype=torch.float64)


def test_ancestors_and_ways_to_nowhere(fault_of: Make) -> None:
    case = fault_of(network(), "x", zeros()).case
    assert case.ancestors("loss") == {"b", "a", "x"} and case.ancestors("x") == set()
    assert case.inputs_of_dead == {"dead": ("a",), "deader": ("x",)}
    assert case.readers_of_dead("a") == ["dead"] and case.readers_of_dead("b") == []


def test_the_gradient_that_a_line_had_to_work_with(fault_of: Make) -> None:
    """What the user gave, wrong or right; what arrives where nothing was given; none where nothing arrives."""
    values, mine = network(), torch.full((6,), 5.0, dtype=torch.float64)
    case = fault_of(values, "x", zeros(), given={"b": mine}, without=("a",)).case
    assert case.upstream("b") is mine
    arrived = case.upstream("a")
    assert arrived is not None and torch.allclose(arrived, mine * values["b"].detach())
    assert case.upstream("dead") is None


def test_what_gradients_are_called(fault_of: Make) -> None:
    case = fault_of(network(), "x", zeros()).case
    assert case.d("a") == "da" and case.d(OUTPUT) == OUTPUT


def test_who_was_changed_after_its_use(fault_of: Make) -> None:
    values = network()
    right = torch.autograd.grad(values["loss"], [values["x"], values["a"]], retain_graph=True)
    changed = right[1].clone()
    changed.mul_(3)
    case = fault_of(values, "x", right[0], given={"a": changed}).case
    assert case.changed_after_use == {"a": ["x"]}
    case = fault_of(values, "x", right[0], given={"a": 3 * right[1]}).case
    assert case.changed_after_use == {}


def test_a_part_is_made_whole_in_its_window(fault_of: Make) -> None:
    x = torch.linspace(1, 2, 6, dtype=torch.float64).requires_grad_()
    a, b = x[2:4].exp(), x.sin()
    fault = fault_of(dict(x=x, a=a, b=b, loss=a.sum() + b.sum()), "x", zeros())
    part: Part = next(part for part in fault.parts if part.reader == "a")
    made = part.whole(torch.tensor([10.0, 20.0], dtype=torch.float64))
    rest = x.detach().cos()
    assert torch.allclose(made, rest + torch.tensor([0.0, 0, 10, 20, 0, 0], dtype=torch.float64))
    assert torch.allclose(part.rest, rest)  # left as it was
    other = torch.ones(3)
    assert part.whole(other) is other
