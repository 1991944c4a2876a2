"""`dh[h <= 0] = 0`: a gradient that goes one step further back under the same name is right, and is said to be so."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.prove import prove
from backproof.proof.report.rows import Verdict


def network(activation: str = "relu", *, named: bool = False) -> dict[str, Any]:
    torch.manual_seed(3)
    x, target = torch.randn(6, 4), torch.randn(6, 2)
    w1, w2 = torch.randn(4, 5, requires_grad=True), torch.randn(5, 2, requires_grad=True)
    pre = x @ w1
    h = getattr(torch, activation)(pre)
    if not named:
        del pre
    y = h @ w2
    loss = ((y - target) ** 2).sum()
    dy = 2 * (y - target).detach()
    dw2 = h.detach().T @ dy
    dh = dy @ w2.detach().T
    return locals()


def back(names: dict[str, Any], dpre: Tensor) -> dict[str, Any]:
    return names | {"dh": dpre, "dw1": names["x"].T @ dpre}


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("in_place", [False, True])
def test_a_gradient_masked_under_its_own_name_is_right(in_place: bool, named: bool) -> None:
    names = network(named=named)
    dh, h = names["dh"], names["h"].detach()
    if in_place:
        dh[h <= 0] = 0
    else:
        dh = dh * (h > 0)
    report = check(names["loss"], back(names, dh))
    assert report.ok and report["h"].verdict is Verdict.ROUNDING
    assert f"dh is right as the gradient of {'pre' if named else 'what h = relu(x @ w1) takes'}" in " ".join(
        str(report).split()
    )


def test_another_activation_is_no_different() -> None:
    names = network("tanh")
    assert check(names["loss"], back(names, names["dh"] * (1 - names["h"].detach() ** 2))).ok


@pytest.mark.parametrize("wrong", [lambda dh, h: 2 * dh * (h > 0), lambda dh, h: -dh * (h > 0)])
def test_another_factor_is_still_wrong(wrong: Any) -> None:
    names = network()
    report = check(names["loss"], back(names, wrong(names["dh"], names["h"].detach())))
    assert [row.name for row in report.culprits] == ["h"]


def test_a_line_behind_that_does_not_use_it_as_that_shows_the_fault() -> None:
    names = network()
    dh = names["dh"] * (names["h"].detach() > 0)
    wrong = back(names, dh) | {"dw1": names["x"].T @ (2 * dh)}
    assert {row.name for row in check(names["loss"], wrong).culprits} >= {"h"}


def test_without_a_line_behind_nothing_shows_what_is_meant() -> None:
    names = network()
    dh = names["dh"] * (names["h"].detach() > 0)
    assert [row.name for row in check(names["loss"], names | {"dh": dh}).culprits] == ["h"]


def test_beside_a_gradient_of_the_step_before_itself_it_is_wrong() -> None:
    names = network(named=True)
    dh = names["dh"] * (names["h"].detach() > 0)
    assert not check(names["loss"], back(names, dh) | {"dpre": dh})["h"].ok


def test_who_promises_names_keeps_to_them() -> None:
    """`prove` is given names by the author of the functions."""

    class Steps(NamedTuple):
        h: Tensor
        y: Tensor

    names = network()
    x, w1, w2 = (names[name].detach() for name in ("x", "w1", "w2"))

    def forward(w1: Tensor, w2: Tensor) -> Steps:
        h = torch.relu(x @ w1)
        return Steps(h, h @ w2)

    def backward(steps: Steps, dy: Tensor) -> dict[str, Tensor]:
        dh = (dy @ w2.T) * (steps.h > 0)
        return {"h": dh, "w1": x.T @ dh, "w2": steps.h.T @ dy}

    report = prove(forward, backward, {"w1": w1, "w2": w2})
    assert [row.name for row in report.culprits] == ["h"], str(report)
