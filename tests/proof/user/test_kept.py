"""Gradients kept step by step beside values kept so: lists, and dictionaries by whole numbers."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from backproof.proof.check import check
from backproof.proof.user.kept import kept_in


def over_time(steps: int = 4, *, factor: float = 1.0) -> dict[str, Any]:
    torch.manual_seed(5)
    w = (torch.randn(3, 3) / 2).requires_grad_()
    hs = [torch.zeros(3) + 0.3]
    for _ in range(steps):
        hs.append(torch.tanh(hs[-1] @ w))
    loss = (hs[-1] ** 2).sum()
    dhs = [torch.zeros(3)] * (steps + 1)
    dhs[steps] = 2 * hs[steps].detach()
    dw = torch.zeros(3, 3)
    for t in range(steps, 0, -1):
        dz = dhs[t] * (1 - hs[t].detach() ** 2)
        dw += torch.outer(hs[t - 1].detach(), dz)
        dhs[t - 1] = factor * (dz @ w.detach().T)
    del dz, t
    return {"w": w, "hs": hs, "loss": loss, "dhs": dhs, "dw": dw}


def as_dictionaries(names: dict[str, Any]) -> dict[str, Any]:
    return names | {name: dict(enumerate(names[name])) for name in ("hs", "dhs")}


@pytest.mark.parametrize("made", [lambda names: names, as_dictionaries])
def test_every_step_is_judged_by_its_own(made: Any) -> None:
    names = made(over_time())
    report = check(names["loss"], names)
    assert report.ok
    assert {row.name for row in report.rows} == {"w", "hs[1]", "hs[2]", "hs[3]", "hs[4]"}  # the first is a constant
    assert "gradients are taken from dhs, step by step as in hs." in report.notes


@pytest.mark.parametrize("made", [lambda names: names, as_dictionaries])
def test_a_wrong_step_is_found(made: Any) -> None:
    names = made(over_time(factor=0.5))
    report = check(names["loss"], names)
    assert {row.name for row in report.culprits} == {"hs[1]", "hs[2]", "hs[3]"}


def test_a_gradient_of_a_step_that_is_not_there_is_said() -> None:
    names = over_time()
    names["dhs"].append(torch.ones(3))
    report = check(names["loss"], names)
    assert report.ok and report.unjudged == ("dhs[5] (there is no tensor hs[5])",)


def test_lists_of_other_names_and_of_other_things_are_nobodys() -> None:
    names = over_time()
    assert not kept_in({"hs": names["hs"], "ds": names["dhs"]}).settled
    assert not kept_in({"hs": names["hs"], "dhs": [1.0, 2.0]}).settled
    assert not kept_in({"hs": names["hs"], "dhs": dict.fromkeys("ab", names["hs"][1])}).settled


def test_a_list_that_belongs_to_another_by_its_kind_and_by_its_name_is_judged_once() -> None:
    x = torch.ones(3, 2)
    params = [torch.ones(2, 2, requires_grad=True), torch.ones(2, requires_grad=True)]
    loss = (x @ params[0] + params[1]).sum()
    dparams = [torch.full((2, 2), 3.0), torch.full((2,), 3.0)]
    report = check(loss, {"params": params, "dparams": dparams})
    assert report.ok and [row.name for row in report.rows] == ["params[1]", "params[0]"]
