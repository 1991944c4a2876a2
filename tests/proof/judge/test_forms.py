"""What a gradient looks like before a number of it is read."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph, trace
from backproof.proof.judge.forms import Form, _fitted, excuse_heirs, form_of
from backproof.proof.verdict.decide import Known


def label(name: str) -> str:
    return f"d{name}"


def small() -> tuple[dict[str, Tensor], Graph]:
    x = torch.ones(2, 3, requires_grad=True)
    y = x * 2.0
    values = dict(x=x, y=y, unused=torch.ones(3, requires_grad=True), data=torch.ones(3), loss=y.sum())
    return values, trace(values, values["loss"])


def form(name: str, gradient: Any, **values: Any) -> Form:
    own, graph = small()
    return form_of(graph, name, {**own, **values}.get(name), gradient, label)


@pytest.mark.parametrize(
    ("name", "value", "gradient", "known"),
    [
        ("nobody", None, torch.ones(3), Known.NO_VALUE),
        ("c", torch.ones(3, dtype=torch.complex64), torch.ones(3), Known.COMPLEX),
        ("c", torch.arange(3), torch.ones(3), Known.INTEGER),
        ("c", torch.arange(3), None, Known.NO_GRADIENT_OF_INTEGERS),
        ("c", torch.eye(3).to_sparse(), torch.eye(3), Known.SPARSE),
        ("data", None, torch.ones(3), Known.NO_GRAPH),
        ("unused", None, None, Known.UNUSED_AND_ZERO),
        ("unused", None, torch.zeros(3), Known.UNUSED_AND_ZERO),
        ("unused", None, torch.tensor([0.0, 1e-30, 0.0]), Known.UNUSED),
        ("unused", None, torch.ones(4), Known.UNUSED),
        ("x", None, None, Known.ABSENT),
        ("x", None, torch.ones(3, 2), Known.OTHER_SHAPE),
        ("x", None, torch.ones(2, 3).double(), Known.OTHER_DTYPE),
        ("x", None, torch.empty(2, 3, device="meta"), Known.OTHER_DEVICE),
        ("x", None, torch.empty(2, 4, device="meta"), Known.OTHER_DEVICE),
        ("x", None, torch.ones(2, 3), None),
    ],
)
def test_what_is_known_before_a_number_is_read(
    name: str, value: Tensor | None, gradient: Tensor | None, known: Known | None
) -> None:
    found = form(name, gradient, **({} if value is None else {name: value}))
    assert found.known is known
    assert bool(found.message) is (
        known not in (None, Known.ABSENT, Known.OTHER_SHAPE, Known.OTHER_DTYPE, Known.UNUSED)
    )


@pytest.mark.filterwarnings("ignore:.*nested tensors.*")
def test_a_nested_gradient_is_none_of_an_ordinary_value() -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    assert form("x", nested).known is Known.NOT_ORDINARY


def test_what_can_be_brought_into_line_is_judged_by_its_numbers() -> None:
    assert form("x", torch.ones(2, 3)).gradient is not None
    double = form("x", torch.ones(2, 3).double()).gradient
    assert double is not None and double.dtype is torch.float32
    sparse = form("x", torch.eye(2, 3).to_sparse()).gradient
    assert sparse is not None and torch.equal(sparse, torch.eye(2, 3))
    assert form("unused", torch.ones(3)).gradient is not None
    assert form("unused", torch.ones(4)).gradient is None
    assert form("unused", torch.ones(3).double()).gradient is None
    assert form("x", torch.ones(3, 2)).gradient is None
    followed = torch.ones(2, 3, requires_grad=True) * 2
    plain = form("x", followed).gradient
    assert plain is not None and not plain.requires_grad


def test_an_empty_gradient() -> None:
    x = torch.empty(0, 3, requires_grad=True)
    values = dict(x=x, loss=(x * 2).sum())
    assert form_of(trace(values, values["loss"]), "x", x, torch.empty(0, 3), label).known is Known.EMPTY


def test_behind_a_value_that_was_changed_nothing_can_be_said() -> None:
    values, graph = small()
    blocked = Graph(**{**vars(graph), "blocked": frozenset({"x"})})
    found = form_of(blocked, "x", values["x"], torch.ones(2, 3), label)
    assert found.known is Known.BLOCKED and found.cause == "F3" and "a value was changed in place" in found.message
    assert form_of(blocked, "x", values["x"], None, label).known is Known.ABSENT


def heirs(shapes: dict[str, tuple[int, ...]]) -> dict[str, Form]:
    """x (3, 1) -> y (3, 4) -> z (3, 4), with gradients of these shapes."""
    x = torch.ones(3, 1, requires_grad=True)
    y = x * torch.ones(3, 4)
    z = y * 2.0
    values = dict(x=x, y=y, z=z, loss=z.sum())
    graph = trace(values, values["loss"])
    gradients = {name: torch.ones(shape) for name, shape in shapes.items()}
    forms = {name: form_of(graph, name, values[name], gradient, label) for name, gradient in gradients.items()}
    excuse_heirs(graph, forms, gradients)
    return forms


def test_a_shape_that_broadcasting_made_of_a_wrong_one_is_inherited() -> None:
    forms = heirs({"z": (5, 3, 4), "y": (5, 3, 4), "x": (5, 3, 4)})
    assert {name: one.known for name, one in forms.items()} == {
        "z": Known.OTHER_SHAPE,
        "y": Known.SHAPE_FROM_ABOVE,
        "x": Known.SHAPE_FROM_ABOVE,
    }
    assert forms["y"].roots == forms["x"].roots == ("z",)
    assert heirs({"z": (5, 3, 4), "y": (5, 3, 4), "x": (5, 3, 1)})["x"].known is Known.OTHER_SHAPE


def test_a_wrong_shape_below_a_right_one_is_its_own() -> None:
    assert heirs({"z": (3, 4), "y": (5, 3, 4)})["y"].known is Known.OTHER_SHAPE
    assert heirs({"z": (5, 3, 4), "y": (7, 3, 4)})["y"].known is Known.OTHER_SHAPE
    assert heirs({"z": (5, 3, 4), "y": (3, 4)})["y"].known is None
    assert heirs({"y": (5, 3, 4)})["y"].known is Known.OTHER_SHAPE  # nobody gave dz


def test_a_gradient_on_another_device_is_moved_and_then_judged() -> None:
    """A value on the meta device stands in for one on an accelerator, which not every machine has."""
    value = torch.empty(3, device="meta")
    moved = _fitted("dx", "x", value, torch.ones(3))
    assert moved.known is Known.OTHER_DEVICE and "move it with dx.to(x.device)" in moved.message
    assert moved.gradient is not None and moved.gradient.is_meta
    assert _fitted("dx", "x", value, torch.ones(4)).known is Known.OTHER_SHAPE
    nowhere = _fitted("dx", "x", torch.ones(3), value)  # nothing can be moved from there
    assert nowhere.known is Known.OTHER_DEVICE and nowhere.gradient is None


def test_messages_call_a_gradient_by_its_label_and_a_value_by_its_name() -> None:
    values, graph = small()
    blocked = Graph(**{**vars(graph), "blocked": frozenset({"x"})})
    assert form("unused", None).message.startswith("dunused: the output does not depend on unused, ")
    said = form_of(blocked, "x", values["x"], torch.ones(2, 3), label).message
    assert said.startswith("dx: not judged, since ")
    assert form("x", torch.empty(2, 3, device="meta")).message.startswith("dx is on meta, and x on cpu.")
