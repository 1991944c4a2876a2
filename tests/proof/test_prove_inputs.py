"""Values, gradients and inputs of `prove` within lists and mappings, and leaves that are none of its inputs."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from backproof.proof.prove import prove
from backproof.proof.user.calls import CannotProveError


def forward(x: Tensor, layers: dict[str, list[Tensor]]) -> dict[str, Any]:
    """Layers h w^T with a rectifier in between, kept in lists."""
    before, h = [], [x]
    for w in layers["w"]:
        before.append(h[-1] @ w.T)
        h.append(before[-1].clamp(min=0))
    return {"x": x, "layers": layers, "before": before, "y": (h[-1] * h[-1]).sum(1)}


def backward(values: dict[str, Any], dy: Tensor, wrong: int | None = None) -> dict[str, Any]:
    before, ws = values["before"], values["layers"]["w"]
    h = [values["x"], *(one.clamp(min=0) for one in before)]
    dh = 2 * h[-1] * dy[:, None]
    dbefore, dws = [], []
    for i in reversed(range(len(ws))):
        dz = dh * (before[i] > 0)
        dbefore.insert(0, dz)
        dws.insert(0, (1 if i != wrong else -1) * dz.T @ h[i])
        dh = dz @ ws[i]
    return {"x": dh, "layers": {"w": dws}, "before": dbefore}


def inputs(n: int = 6) -> dict[str, Any]:
    return {"x": torch.randn(n, 4), "layers": {"w": [torch.randn(5, 4), torch.randn(3, 5)]}}


def test_values_within_structures_are_proved() -> None:
    report = prove(forward, backward, inputs)
    assert report.ok, report
    names = {"x", "layers['w'][0]", "layers['w'][1]", "before[0]", "before[1]"}
    assert {row.name for row in report.rows} == names


@pytest.mark.parametrize("wrong", [0, 1])
def test_the_wrong_one_of_them_is_named(wrong: int) -> None:
    report = prove(forward, lambda values, dy: backward(values, dy, wrong), inputs)
    assert [(row.name, row.cause) for row in report.culprits] == [(f"layers['w'][{wrong}]", "F13")]


def test_a_gradient_that_is_missing_within() -> None:
    def short(values: dict[str, Any], dy: Tensor) -> dict[str, Any]:
        found = backward(values, dy)
        return {**found, "layers": {"w": [found["layers"]["w"][0], None]}}

    report = prove(forward, short, inputs)
    assert [(row.name, row.cause) for row in report.culprits] == [("layers['w'][1]", "F4")]
    assert prove(forward, short, inputs, constants=["layers['w'][1]"]).ok
    assert prove(forward, lambda v, dy: {"x": backward(v, dy)["x"]}, inputs, constants=["layers"]).ok


def test_arguments_within_must_not_be_written_into() -> None:
    def damages(values: dict[str, Any], dy: Tensor) -> dict[str, Any]:
        found = backward(values, dy)
        values["layers"]["w"][0].mul_(2)
        return found

    report = prove(forward, damages, inputs)
    assert "F3" in {row.cause for row in report.culprits}


def test_leaves_that_are_none_of_the_inputs_are_named() -> None:
    net = nn.Linear(4, 2)

    def through(x: Tensor) -> dict[str, Tensor]:
        return {"y": net(x)}

    report = prove(through, lambda values, dy: {"x": dy @ net.weight}, (torch.randn(3, 4),))
    assert report.ok
    said = "which is none of its inputs, so its gradient is not compared; pass it as an input."
    assert sorted(report.notes) == [f"forward depends on net.{name}, {said}" for name in ("bias", "weight")]
    assert not prove(lambda x: {"y": x * 2}, lambda values, dy: {"x": 2 * dy}, (torch.randn(3),)).notes


def test_what_cannot_be_proved_within() -> None:
    with pytest.raises(CannotProveError, match=r"The input layers\['w'\]\[0\] is on the meta device"):
        prove(forward, backward, {"x": torch.randn(2, 4), "layers": {"w": [torch.empty(3, 4, device="meta")]}})
    with pytest.raises(CannotProveError, match=r"constants names 'w', and the inputs are x, layers\['w'\]\[0\]"):
        prove(forward, backward, inputs, constants=["w"])
