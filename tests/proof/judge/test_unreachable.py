"""Values that the output does not depend on, and where numbers stop being finite."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.judge.judge import judge
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Verdict


def network() -> dict[str, Tensor]:
    """x -> a -> b is a way to nowhere; the loss reads a alone, where b, of the same shape, was meant."""
    x = torch.linspace(1, 2, 6, dtype=torch.float64).requires_grad_()
    a = x**2
    b = a.exp()
    y = a * 3.0
    return dict(x=x, a=a, b=b, y=y, loss=(y * torch.arange(1.0, 7.0)).sum())


def report(**gradients: Tensor) -> Report:
    names = network()
    return judge(names, gradients, names["loss"])


UP = 3.0 * torch.arange(1.0, 7.0, dtype=torch.float64)


@pytest.mark.parametrize(("off", "fits"), [(0.0, True), (0.9e-3, True), (1.1e-3, False)])
def test_a_gradient_that_would_be_right_if_the_value_were_read(off: float, fits: bool) -> None:
    """To a thousandth: it is a hint, and the numbers came through a wrong network."""
    row = report(b=UP * (1 + off))["b"]
    assert row.verdict is Verdict.UNREACHABLE and row.culprit and row.cause == "F4"
    assert ("your db is what y would send back if it read b, to rounding." in row.message) is fits
    assert ("b is computed from a, has the same shape, and is read by nobody." in row.message) is not fits
    assert "next: see whether y = a * 3 should read b in place of a" in row.message


def test_of_several_lines_that_might_have_read_it_the_one_that_fits_is_named() -> None:
    names = network()
    z = names["x"] * 5.0
    loss = names["loss"] + z.sum()
    message = judge({**names, "z": z, "loss": loss}, {"b": UP}, loss)["b"].message
    assert "your db is what y would send back" in message and "x * 5" not in message


def test_a_line_that_could_not_have_read_it_is_not_named() -> None:
    """It reads a value of another shape, one that the unused value is not computed from, or leads to it."""
    names = network()
    total = names["a"].sum()
    w = torch.ones(6, dtype=torch.float64, requires_grad=True)
    v = w * 2.0
    loss = v.sum() + (names["x"].sum() * 2.0)
    for values, name in (
        (dict(a=names["a"], total=total, y=names["y"], loss=names["loss"]), "total"),
        (dict(w=w, v=v, a=names["a"], b=names["b"], loss=loss), "b"),
    ):
        message = judge(values, {name: torch.ones_like(values[name])}, values["loss"])[name].message
        assert f"nothing on the way to dloss reads {name}." in message


def test_a_parameter_that_was_updated_is_not_said_to_have_been_changed() -> None:
    w, x = torch.ones(6, requires_grad=True), torch.ones(6, requires_grad=True)
    with torch.no_grad():
        w.add_(1)
    row = judge(dict(w=w, x=x), {"w": torch.ones(6)}, (x * 2.0).sum())["w"]
    assert row.cause == "F4" and "changed in place" not in row.message


def test_the_last_of_a_chain_is_the_culprit_and_the_others_follow() -> None:
    names = network()
    c = names["b"].sin()
    values = {**names, "c": c}
    found = judge(values, {"b": UP, "c": UP}, names["loss"])
    assert [row.name for row in found.culprits] == ["c"]
    assert found["b"].inherited_from == ("c",) and found["b"].message == "db: unreachable, since dc is."
    two = {**values, "d": names["b"].cos()}
    found = judge(two, {"b": UP, "c": UP, "d": UP}, names["loss"])
    assert found["b"].message == "db: unreachable, since dd and dc are."
    assert {row.name for row in found.culprits} == {"c", "d"}


def test_a_value_whose_readers_have_no_gradient_is_the_last_of_its_chain() -> None:
    names = network()
    values = {**names, "c": names["b"].sin()}  # a way to nowhere that nobody gave a gradient of
    found = judge(values, {"b": UP}, names["loss"])
    assert found["b"].culprit and not found["b"].inherited_from


def test_nobody_reads_anything_like_it() -> None:
    names = network()
    stray = torch.ones(2, requires_grad=True)
    message = judge({**names, "stray": stray}, {"stray": torch.ones(2)}, names["loss"])["stray"].message
    assert "nothing on the way to dloss reads stray." in message
    assert "next: use stray in the forward pass, or leave dstray out" in message


def test_a_value_changed_in_place_is_no_longer_the_one_that_was_used() -> None:
    x = torch.linspace(1, 2, 6, requires_grad=True)
    a = x * 2.0
    loss = (a * 3.0).sum()
    with torch.no_grad():
        old = a
    a = a.clone()
    b = x * 5.0
    b.mul_(2.0)
    row = judge(dict(x=x, b=b, old=old), {"b": torch.ones(6)}, loss)["b"]
    assert row.cause == "F3" and "b was changed in place after it was used" in row.message


def test_where_the_forward_pass_stops_being_finite() -> None:
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    a = x.log()
    y = a * 2.0
    names = dict(x=x, a=a, y=y, loss=y.sum())
    right = torch.autograd.grad(names["loss"], x, retain_graph=True)[0]
    row = judge(names, {"x": right}, names["loss"])["x"]
    assert row.verdict is Verdict.NOT_FINITE and not row.culprit and row.cause == "F17"
    assert row.message.endswith("the forward pass is not, from a on.")


def test_where_only_the_gradients_stop_being_finite() -> None:
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    a = x * 1.0
    y = a.sqrt()
    names = dict(x=x, a=a, y=y, loss=y.sum())
    right = torch.autograd.grad(names["loss"], [x, a], retain_graph=True)
    found = judge(names, {"x": right[0], "a": right[1], "y": torch.ones(2)}, names["loss"])
    assert found["x"].message.endswith("its gradients are not, from da on.")
    assert found["y"].verdict is Verdict.EXACT
