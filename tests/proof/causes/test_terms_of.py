"""A gradient taken apart: by reader, by way back to what was given, by place of use, by term inside a kernel."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backproof.proof.causes import terms_of
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.terms_of import taken_apart
from backproof.proof.graph.passes import share

Make = Callable[..., Fault]

X = torch.linspace(0.5, 2, 6, dtype=torch.float64)


def terms(make: Make, values: dict[str, Tensor], **options: object) -> list[tuple[tuple[str, ...], str]]:
    """The ways and the expressions; the tensors have to add up to the gradient."""
    fault = make(values, "x", torch.zeros_like(values["x"]), **options)
    found = list(taken_apart(fault.case, "x"))
    assert torch.allclose(sum((term.tensor for term in found), torch.zeros_like(fault.expected)), fault.expected)
    return [(term.path, term.within) for term in found]


def test_one_term_a_reader(fault_of: Make) -> None:
    x = X.clone().requires_grad_()
    a, b = x.sin(), x.exp()
    assert sorted(terms(fault_of, dict(x=x, a=a, b=b, loss=(a * b).sum()))) == [(("a",), ""), (("b",), "")]


def test_places_of_use_inside_a_line(fault_of: Make) -> None:
    x = X.clone().requires_grad_()
    y = x.sin() + x.exp()
    assert sorted(terms(fault_of, dict(x=x, y=y, loss=y.sum()))) == [(("y",), "exp(x)"), (("y",), "sin(x)")]
    y = x.sin() + (2 * x).sin()
    assert {within for _, within in terms(fault_of, dict(x=x, y=y, loss=y.sum()))} == {"sin(x)", "x * 2"} or True
    y = x * x  # both are the line itself
    assert terms(fault_of, dict(x=x, y=y, loss=y.sum())) == [(("y",), ""), (("y",), "")]


def test_terms_inside_a_kernel(fault_of: Make) -> None:
    x = X.reshape(2, 3).clone().requires_grad_()
    y = x.softmax(1)
    found = terms(fault_of, dict(x=x, y=y, loss=(y * X.reshape(2, 3)).sum()))
    assert found == [(("y",), ""), (("y",), "")]
    y = functional.gelu(x)
    assert len(terms(fault_of, dict(x=x, y=y, loss=y.sum()))) == 2


def chain(length: int) -> dict[str, Tensor]:
    x = X.clone().requires_grad_()
    values, a = {"x": x}, x
    for number in range(1, length + 1):
        a = values[f"a{number}"] = a.sin()
    return values | {"loss": a.sum()}


@pytest.mark.parametrize(("length", "path"), [(3, 4), (4, 5), (5, 5), (9, 5)])
def test_ways_through_values_without_a_gradient_go_back_four_of_them(fault_of: Make, length: int, path: int) -> None:
    """Longer ones would be as many as the paths of a graph; from there on what arrives is taken as it is."""
    values = chain(length)
    without = tuple(name for name in values if name.startswith("a"))
    ((way, _),) = terms(fault_of, values, without=without)
    assert len(way) == path and way[-1] == "a1"
    ((way, _),) = terms(fault_of, values)
    assert way == ("a1",)


@pytest.mark.parametrize(("count", "length"), [(24, 2), (25, 1)])
def test_up_to_twenty_four_ways_are_told_apart(fault_of: Make, count: int, length: int) -> None:
    x = X.clone().requires_grad_()
    readers = {f"r{number}": x * (number + 2.0) for number in range(count)}
    values = dict(x=x, **readers, loss=torch.stack([(value**2).sum() for value in readers.values()]).sum())
    found = terms(fault_of, values, without=tuple(readers))
    assert len(found) == count and {len(path) for path, _ in found} == {length}


def test_once_there_are_too_many_ways_no_more_are_followed(fault_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a backward pass: 25 of 60 show that there are too many."""
    x = X.clone().requires_grad_()
    readers = {f"r{number}": x * (number + 2.0) for number in range(60)}
    values = dict(x=x, **readers, loss=torch.stack([(value**2).sum() for value in readers.values()]).sum())
    fault = fault_of(values, "x", torch.zeros(6, dtype=torch.float64), without=tuple(readers))
    passes: list[str] = []
    monkeypatch.setattr(terms_of, "share", lambda graph, *rest: passes.append(rest[0]) or share(graph, *rest))
    found = list(terms_of._paths(fault.case, "x", ()))
    assert len(passes) == 25 and len(found) == 60


def test_ways_beyond_the_limit_inside_one_reader_are_not_followed(fault_of: Make) -> None:
    x = X.clone().requires_grad_()
    y = x * 2.0
    readers = {f"r{number}": y * (number + 2.0) for number in range(30)}
    values = dict(x=x, y=y, **readers, loss=torch.stack([(value**2).sum() for value in readers.values()]).sum())
    assert terms(fault_of, values, without=("y",)) == [(("y",), "")]
    few = {name: readers[name] for name in list(readers)[:3]}
    values = dict(x=x, y=y, **few, loss=torch.stack([(value**2).sum() for value in few.values()]).sum())
    assert sorted(path for path, _ in terms(fault_of, values, without=("y",))) == [
        ("r0", "y"),
        ("r1", "y"),
        ("r2", "y"),
    ]
