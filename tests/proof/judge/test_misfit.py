"""Gradients that are missing, or of another shape or dtype than their value."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.judge.judge import judge
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.rows import Row, Verdict


def scaled() -> dict[str, Tensor]:
    """y = x * g, with g of one row."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(3, 4, generator=generator).requires_grad_()
    g = torch.randn(1, 4, generator=generator).requires_grad_()
    y = x * g
    up = torch.randn(3, 4, generator=generator)
    return dict(x=x, g=g, y=y, up=up, loss=(y * up).sum())


def judged(name: str, change: Callable[[Tensor, dict[str, Tensor]], Tensor]) -> Row:
    names = scaled()
    own = torch.autograd.grad(names["loss"], names[name], retain_graph=True)[0]
    plain = {key: value.detach() for key, value in names.items()}
    return judge(names, {name: change(own, plain), "y": names["up"]}, names["loss"])[name]


@pytest.mark.parametrize(
    ("name", "change", "cause", "said", "mends"),
    [
        ("g", lambda d, v: d[0], "F9", "a dimension of size 1 is lost", True),
        ("g", lambda d, v: d[None], "F9", "a dimension of size 1 is too many", True),
        ("x", lambda d, v: d.reshape(4, 3), "F9", "its numbers are right, in another shape", True),
        ("x", lambda d, v: d.T, "F10", "it is transposed", True),
        ("g", lambda d, v: v["up"] * v["x"], "F9", "it is not summed over dimension 0", True),
        ("g", lambda d, v: (v["up"] * v["x"])[None], "F9", "it is not summed over the broadcast dimensions", True),
        ("g", lambda d, v: v["up"].clone(), "F9", "dy is handed on as it is", False),
        ("g", lambda d, v: (v["up"] * v["x"]).sum(1), "F9", "it is summed over dimension 1", True),
        ("g", lambda d, v: torch.full((2, 5), 3.0), None, "its numbers fit no other shape either", False),
    ],
)
def test_what_may_have_happened_to_a_shape(
    name: str, change: Callable, cause: str | None, said: str, mends: bool
) -> None:
    row = judged(name, change)
    assert row.verdict is Verdict.SHAPE and row.culprit
    assert row.cause == cause and said in row.message, row.message
    assert row.certainty is (Certainty.FITS if cause else None)
    assert row.applicability is (Applicability.MENDS if mends else Applicability.LOOK)


def test_a_gradient_of_one_number_that_is_not_spread() -> None:
    x = torch.ones(3, 4, requires_grad=True)
    names = dict(x=x, loss=(x * 2.0).sum())
    row = judge(names, {"x": torch.tensor([[2.0]])}, names["loss"])["x"]
    assert row.cause == "F9" and "not spread over the whole value" in row.message


def test_what_a_comparison_that_broadcasts_does_not_see() -> None:
    hidden = "a comparison that broadcasts does not see it"
    assert hidden in judged("g", lambda d, v: d[0]).message
    assert hidden not in judged("x", lambda d, v: d.reshape(4, 3)).message


def test_numbers_that_are_wrong_as_well_are_not_said_to_be_right() -> None:
    row = judged("g", lambda d, v: d[0] * 1.01)
    assert row.cause is None and "cause unknown" in row.message


def test_a_missing_gradient_says_from_what_to_compute_it() -> None:
    names = scaled()
    row = judge(names, {"g": None}, names["loss"])["g"]
    assert row.verdict is Verdict.MISSING and row.cause == "F4" and row.culprit
    assert "the output depends on g, through y." in row.message and "next: compute it from y = x * g" in row.message


@pytest.mark.parametrize(
    ("change", "cause", "said", "mends"),
    [
        (lambda d: d.double(), None, "its numbers are right as far as that dtype goes", True),
        (lambda d: d.double() * (1 + 5e-7), None, "its numbers are right as far as that dtype goes", True),
        (lambda d: d.bfloat16(), "F5", "its numbers are right as far as that dtype goes", False),
        (lambda d: d.double() * 1.001, None, "its numbers are wrong as well", False),
        (lambda d: (d * 5).bfloat16(), None, "its numbers are wrong as well", False),
        (lambda d: (d * 7).long(), None, "its numbers are wrong as well", False),
    ],
)
def test_another_dtype(change: Callable, cause: str | None, said: str, mends: bool) -> None:
    row = judged("x", lambda d, v: change(d))
    assert row.verdict is Verdict.DTYPE and row.culprit
    assert row.cause == cause and said in row.message
    assert ("largest difference" in row.message) is ("wrong" in said)
    assert row.applicability is (Applicability.MENDS if mends else Applicability.LOOK)


@pytest.mark.parametrize(("roundings", "right"), [(40, True), (75, False)])
def test_a_gradient_of_a_narrower_dtype_is_allowed_that_dtypes_rounding(roundings: float, right: bool) -> None:
    """As many of its roundings as the value's own dtype is allowed of its."""
    x = torch.full((4,), 1.0, requires_grad=True)
    names = dict(x=x, loss=x.sum())
    got = torch.full((4,), 1.0 + roundings * torch.finfo(torch.float16).eps).half()
    row = judge(names, {"x": got}, names["loss"])["x"]
    assert ("its numbers are right" in row.message) is right


@pytest.mark.parametrize(
    ("change", "cause"), [(lambda d: d, "F10"), (lambda d: d * 1.001, None), (lambda d: d * 0, None)]
)
def test_the_gradient_of_another_value_of_another_shape(change: Callable, cause: str | None) -> None:
    """A list of gradients in the order in which they were computed, beside a list of values."""
    a, b = torch.randn(3, 4).requires_grad_(), torch.randn(4, 2).requires_grad_()
    loss = torch.tanh(a @ b).square().sum()
    da, db = torch.autograd.grad(loss, (a, b), retain_graph=True)
    row = judge(dict(a=a, b=b, loss=loss), {"a": change(db), "b": da}, loss)["a"]
    assert row.verdict is Verdict.SHAPE and row.cause == cause
    assert ("it is the gradient of b" in row.message) is (cause is not None)
