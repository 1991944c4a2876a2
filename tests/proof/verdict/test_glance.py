"""The same verdicts without a diagnosis, for the replays."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.report.rows import Row, Verdict
from backproof.proof.verdict.glance import Glance, glance

X = torch.linspace(1, 2, 6).requires_grad_()


def values() -> dict[str, Tensor]:
    x = X.detach().clone().requires_grad_()
    unused, data, counts = torch.ones(2, requires_grad=True), torch.ones(6), torch.arange(6)
    y = x**2
    return dict(x=x, y=y, unused=unused, data=data, counts=counts, loss=y.sum())


def glanced(gradients: dict[str, Tensor | None]) -> Glance:
    names = values()
    return glance(names, gradients, names["loss"], None)


RIGHT = {"x": 2 * X.detach(), "y": torch.ones(6)}


def test_right_gradients_have_their_verdicts() -> None:
    seen = glanced({**RIGHT, "x": RIGHT["x"] * (1 + 1e-7)})
    assert seen == (frozenset(), {"x": Verdict.ROUNDING, "y": Verdict.EXACT})
    assert seen.rows() == [Row("y", Verdict.EXACT), Row("x", Verdict.ROUNDING)]


def test_a_wrong_line_is_a_fault_and_its_heir_is_right() -> None:
    seen = glanced({"y": 3 * RIGHT["y"], "x": 3 * RIGHT["x"]})
    assert seen.faults == {"y"}
    assert seen.right == {"x": Verdict.INHERITED}


@pytest.mark.parametrize("wrong", [None, RIGHT["x"].double(), torch.ones(6, 6), torch.empty(6, device="meta")], ids=str)
def test_what_cannot_be_compared_is_a_fault_where_there_should_be_a_gradient(wrong: Tensor | None) -> None:
    seen = glanced({**RIGHT, "x": wrong})
    assert seen.faults == {"x"}
    assert set(seen.right) == {"y"}


def test_behind_a_wrong_shape_nobody_is_accused() -> None:
    seen = glanced({"y": torch.ones(6, 6), "x": 5 * RIGHT["x"]})
    assert seen.faults == {"y"}


def test_what_needs_no_gradient_is_passed_over() -> None:
    odd: dict[str, Tensor | None] = {name: torch.full((6,), 9.0) for name in ("unused", "data", "counts", "nobody")}
    assert glanced({**RIGHT, **odd}) == glanced(dict(RIGHT))
    assert glanced(odd) == (frozenset(), {})


def test_zeros_prove_nothing_and_are_no_fault() -> None:
    names = values()
    loss = names["y"].sum() * 0.0
    seen = glance(names, {"x": torch.zeros(6)}, loss, None)
    assert seen == (frozenset(), {})


def test_no_gradient_stays_behind() -> None:
    names = values()
    names["y"].retain_grad()
    glance(names, dict(RIGHT), names["loss"], None)
    assert names["y"].grad is None and names["x"].grad is None
