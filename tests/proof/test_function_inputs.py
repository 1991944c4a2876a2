"""Inputs that are no plain arguments: within structures, in modules, in variables that a function captures."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from backproof.proof.function import prove_function
from backproof.proof.report.report import Report


class Affine(Function):
    """x w^T + b for x of shape (n, 4), w of shape (3, 4) and b of shape (3,)."""

    factor = 1.0  # of the gradient of b

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return x @ w.T + b

    @classmethod
    def backward(cls, ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, w = ctx.saved_tensors
        return dy @ w, dy.T @ x, cls.factor * dy.sum(0)


class Wrong(Affine):
    factor = -1.0


def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    return x @ w.T + b


def inputs(n: int = 6) -> tuple[Tensor]:
    return (torch.randn(n, 4),)


class Net(nn.Module):
    """A normalised layer, with parameters of a module within and buffers that its forward pass writes into."""

    def __init__(self, op: Callable) -> None:
        super().__init__()
        self.op = op
        self.norm = nn.BatchNorm1d(4)
        self.linear = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.op(self.norm(x).tanh(), self.linear.weight, self.linear.bias)

    def reference(self, x: Tensor) -> Tensor:
        return self.linear(self.norm(x).tanh())


def culprits(report: Report) -> list[str]:
    return sorted(row.name for row in report.culprits)


def names(report: Report) -> set[str]:
    return {row.name for row in report.rows}


# --- structures


@dataclass
class Layer:
    w: Tensor
    b: Tensor
    twice: bool = False


def parts(n: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    return torch.randn(n, 4), torch.randn(3, 4), torch.randn(3)


# the name of b, how a structure p is used, and how it is made
STRUCTURES: dict[str, tuple[str, Callable, Callable]] = {
    "list": ("p[2]", lambda p, f: f(*p), lambda x, w, b: [x, w, b]),
    "tuple": ("p[0][1]", lambda p, f: f(p[1], *p[0]), lambda x, w, b: ((w, b), x)),
    "mapping": ("p['b']", lambda p, f: f(p["x"], p["w"], p["b"]), lambda x, w, b: {"x": x, "w": w, "b": b}),
    "dataclass": (
        "p[0].b",
        lambda p, f: f(p[1], p[0].w, p[0].b) * (1 + p[0].twice),
        lambda x, w, b: [Layer(w, b, True), x],
    ),
}


@pytest.mark.parametrize("kind", STRUCTURES)
def test_tensors_within_structures_are_inputs(kind: str) -> None:
    wrong, use, structure = STRUCTURES[kind]

    def make(n: int = 6) -> Any:
        return (structure(*parts(n)),)

    def reference(p: Any) -> Tensor:
        return use(p, plain)

    right = prove_function(lambda p: use(p, Affine.apply), reference, make)
    assert right.ok and len(right.rows) == 4 and not right.skipped, right
    assert culprits(prove_function(lambda p: use(p, Wrong.apply), reference, make, dtypes=())) == [wrong]


def test_a_structure_may_have_more_tensors_at_another_size() -> None:
    class Total(Function):
        @staticmethod
        def forward(ctx: Any, *xs: Tensor) -> Tensor:
            ctx.n = len(xs)
            return torch.stack(xs).sum(0)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return (dy,) * (ctx.n if ctx.n < 7 else 6) + (0 * dy,) * (ctx.n - 6)

    def make(n: int = 3) -> Any:
        return ([torch.randn(4) for _ in range(n)],)

    report = prove_function(lambda xs: Total.apply(*xs), lambda xs: sum(xs), make, sizes=(2, 7))
    assert culprits(report) == ["xs[6]"]
    assert prove_function(lambda xs: Total.apply(*xs), lambda xs: sum(xs), make, sizes=(2, 5)).ok


def test_outputs_within_structures_are_compared() -> None:
    def forward(x: Tensor) -> Any:
        return x.sin(), {"twice": [x * 2]}

    def other(x: Tensor) -> Any:
        return x.sin(), {"twice": [x * 2 + 0 * x.detach() + (x - x.detach())]}

    assert names(prove_function(forward, forward, inputs)) == {"output[0]", "output[1]['twice'][0]", "x"}
    assert culprits(prove_function(other, forward, inputs, dtypes=())) == ["x"]


# --- modules


def test_the_parameters_of_a_module_are_inputs() -> None:
    torch.manual_seed(3)
    right, wrong, reference = Net(Affine.apply), Net(Wrong.apply), Net(plain)
    for net in (right, wrong):
        net.load_state_dict(reference.state_dict())
    report = prove_function(right, reference, inputs)
    assert report.ok and not report.notes, report
    assert names(report) == {"output", "x", "norm.weight", "norm.bias", "linear.weight", "linear.bias"}
    assert all(one.startswith("size 1: reference raised ValueError: Expected more than 1") for one in report.skipped)
    assert culprits(prove_function(wrong, reference, inputs, dtypes=())) == ["linear.bias"]


def test_modules_with_other_numbers_are_both_given_the_functions() -> None:
    report = prove_function(Net(Affine.apply), Net(plain), inputs, dtypes=(), skip=["layouts"])
    assert report.ok
    assert (
        "linear.weight had other numbers in function than in reference; both were run with function's." in report.notes
    )


def test_a_module_is_left_as_it_was() -> None:
    net = Net(Wrong.apply)
    held = {name: (value, value.clone()) for name, value in [*net.named_parameters(), *net.named_buffers()]}
    net.linear.weight.grad = torch.ones(3, 4)
    prove_function(net, net.reference, inputs, skip=["layouts"])
    for name, value in [*net.named_parameters(), *net.named_buffers()]:
        assert value is held[name][0] and torch.equal(value, held[name][1])
    assert net.linear.weight.grad is not None and bool((net.linear.weight.grad == 1).all())
    assert all(value.grad is None for name, value in net.named_parameters() if name != "linear.weight")


def reached(net: Net) -> dict[str, tuple[Callable, str]]:
    def inner(x: Tensor) -> Tensor:
        return net(x)

    return {
        "closure": (lambda x: net(x), "net.linear.bias"),
        "closure of a closure": (lambda x: inner(x), "net.linear.bias"),
        "partial": (functools.partial(lambda x, layer: layer(x), layer=net), "layer.linear.bias"),
        "bound method": (net.forward, "linear.bias"),
        "checkpoint": (lambda x: checkpoint(net, x, use_reentrant=False), "net.linear.bias"),
    }


@pytest.mark.parametrize("way", ["closure", "closure of a closure", "partial", "bound method", "checkpoint"])
def test_modules_are_reached_in_many_ways(way: str) -> None:
    right, wrong = Net(Affine.apply), Net(Wrong.apply)
    options: dict[str, Any] = dict(dtypes=(), skip=["layouts"])
    assert prove_function(reached(right)[way][0], right.reference, inputs, **options).ok
    function, name = reached(wrong)[way]
    assert culprits(prove_function(function, wrong.reference, inputs, **options)) == [name]


def test_a_frozen_parameter_needs_no_gradient() -> None:
    net = Net(Wrong.apply)
    net.linear.bias.requires_grad_(False)
    report = prove_function(net, net.reference, inputs, dtypes=())
    assert report.ok and "linear.bias" not in names(report)


def test_grad_inputs_may_name_parameters() -> None:
    net = Net(Wrong.apply)
    assert names(prove_function(net, net.reference, inputs, grad_inputs=["norm.bias"])) == {"output", "norm.bias"}
    assert culprits(prove_function(net, net.reference, inputs, grad_inputs=["linear.bias"])) == ["linear.bias"]


def test_a_module_among_the_arguments() -> None:
    def make(n: int = 6) -> Any:
        return torch.randn(n, 4), nn.Linear(4, 3)

    def function(x: Tensor, m: nn.Linear) -> Any:
        return Wrong.apply(x, m.weight, m.bias)

    assert culprits(prove_function(function, lambda x, m: m(x), make, dtypes=())) == ["m.bias"]


# --- captured tensors, and leaves that nobody can name

W, B = torch.randn(3, 4).requires_grad_(), torch.randn(3).requires_grad_()
COPY = B.detach().clone()


@pytest.mark.parametrize(
    ("function", "name"),
    [(lambda x: Wrong.apply(x, W, B), "B"), (lambda x, held=[W, B]: Wrong.apply(x, *held), "[1]")],
)
def test_captured_leaves_are_inputs(function: Callable, name: str) -> None:
    assert culprits(prove_function(function, lambda x: plain(x, W, B), inputs, dtypes=())) == [name]
    assert prove_function(lambda x: Affine.apply(x, W, B), lambda x: plain(x, W, B), inputs).ok


class Hidden:
    """Keeps a tensor where no search looks."""

    __slots__ = ("b",)

    def __init__(self) -> None:
        self.b = torch.randn(3, requires_grad=True)


@pytest.mark.parametrize(("op", "found"), [(Affine.apply, []), (Wrong.apply, ["a leaf of shape [3]"])])
def test_a_leaf_that_both_graphs_have_is_compared(op: Callable, found: list[str]) -> None:
    hidden = Hidden()
    report = prove_function(lambda x: op(x, W, hidden.b), lambda x: plain(x, W, hidden.b), inputs, dtypes=())
    assert culprits(report) == found and "a leaf of shape [3]" in names(report)
    assert hidden.b.grad is None


def test_a_leaf_that_one_graph_has_is_named() -> None:
    report = prove_function(lambda x: Wrong.apply(x, W, B), lambda x: plain(x, W, COPY), inputs, dtypes=())
    assert not report.culprits
    message = "dB is not compared: only function depends on it."
    assert report["B"].message.startswith(message)
    assert "3 of 4 gradients proved, 1 not testable here." in str(report)
    other = prove_function(lambda x: Affine.apply(x, W, COPY), lambda x: plain(x, W, B), inputs, dtypes=())
    assert other["B"].message.startswith("dB is not compared: only reference depends on it.")


def test_a_leaf_that_a_call_makes_for_itself_is_nobodys() -> None:
    def function(x: Tensor) -> Tensor:
        return x * torch.ones(4, requires_grad=True)

    assert names(prove_function(function, lambda x: x * 1.0, inputs)) == {"output", "x"}
