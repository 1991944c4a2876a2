"""The message of every row that is not simply right."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.judge.judge import judge
from backproof.proof.report.rows import Row, Verdict


def small() -> dict[str, Tensor]:
    x = torch.linspace(-1, 1, 6, dtype=torch.float64).reshape(2, 3).requires_grad_()
    a = x * 2.0
    y = a.exp()
    return dict(x=x, a=a, y=y, loss=(y * torch.arange(1.0, 7.0).reshape(2, 3)).sum())


def judged(names: dict[str, Tensor], **changes: Callable[[Tensor], Tensor]) -> dict[str, Row]:
    chosen = [name for name in names if name != "loss"]
    own = dict(
        zip(chosen, torch.autograd.grad(names["loss"], [names[n] for n in chosen], retain_graph=True), strict=True)
    )
    own |= {name: change(own[name]) for name, change in changes.items()}
    return {row.name: row for row in judge(names, own, names["loss"]).rows}


def test_an_heir_names_the_culprits() -> None:
    names = small()
    rows = judged(names, a=lambda d: d * 3, x=lambda d: d * 3)
    assert rows["x"].message == "dx: inherited from da; this line is right."
    assert rows["x"].inherited_from == ("a",) and rows["y"].message == ""


def test_zeros_and_rounding_prove_nothing() -> None:
    x = torch.ones(3, requires_grad=True)
    names = dict(x=x, loss=(x * 0.0).sum())
    assert "a zero proves nothing" in judged(names)["x"].message
    m = torch.ones(4, 1, requires_grad=True)
    logits = torch.linspace(-1, 1, 20).reshape(4, 5) ** 2
    names = dict(m=m, loss=torch.nn.functional.cross_entropy(logits - m, torch.tensor([0, 1, 2, 3])))
    row = judged(names, m=lambda d: d + 1e-9)["m"]
    assert row.verdict is Verdict.NOT_TESTABLE and "all its terms cancel, and what is left" in row.message


@pytest.mark.parametrize(
    ("bad", "said"),
    [(float("nan"), "it holds NaN in 1 of 6 elements"), (float("inf"), "it holds infinity in 1 of 6 elements")],
)
def test_numbers_that_are_none(bad: float, said: str) -> None:
    def change(d: Tensor) -> Tensor:
        d = d.clone()
        d[0, 1] = bad
        return d

    rows = judged(small(), a=change, x=change)
    assert rows["a"].verdict is Verdict.NOT_FINITE and rows["a"].cause == "F17" and said in rows["a"].message
    assert "holds zeros" not in rows["a"].message
    zeros = small()
    with torch.no_grad():
        zeros["x"][0, 0] = 0.0
    names = dict(zeros, a=zeros["x"] * 2.0)
    names["y"] = names["a"].exp()
    names["loss"] = names["y"].sum()
    assert "a holds zeros: dividing by them gives infinity" in judged(names, a=change)["a"].message


def test_a_gradient_changed_after_its_use_is_told_so() -> None:
    names = small()
    own = torch.autograd.grad(names["loss"], [names["x"], names["a"], names["y"]], retain_graph=True)
    changed = own[1].clone()
    changed.mul_(3)
    rows = {row.name: row for row in judge(names, {"x": own[0], "a": changed, "y": own[2]}, names["loss"]).rows}
    assert rows["a"].cause == "F3" and "it was changed in place after it was used" in rows["a"].message
    assert "dx was computed from the right da, before the change." in rows["a"].message


def test_several_causes_that_fit_alike_are_all_said_and_none_is_named() -> None:
    """Of two shares that are equal, the gradient may lack one, or be halved."""
    x = torch.ones(6, requires_grad=True)
    a, b = x * 2.0, x * 2.0
    names = dict(x=x, a=a, b=b, loss=(a + b).sum())
    row = judged(names, x=lambda d: d / 2)["x"]
    assert row.cause is None and row.candidates
    assert "these explain your gradient equally well" in row.message and "; or " in row.message


def test_a_part_of_a_tensor_with_two_names_is_not_judged() -> None:
    x = torch.linspace(1, 2, 6).requires_grad_()
    y = x**2
    also = y
    loss = (y.sin() + also.exp()).sum()
    dy = (y.cos() + y.exp()).detach()
    rows = {
        row.name: row
        for row in judge(
            dict(x=x, y=y, also=also), {"y": dy, "also": y.exp().detach(), "x": 2 * x.detach() * dy}, loss
        ).rows
    }
    assert rows["also"].verdict is Verdict.NOT_TESTABLE and not rows["also"].culprit
    assert "also and y are one tensor" in rows["also"].message


def test_the_rounding_of_tanh_and_that_of_the_gradients_above() -> None:
    x = torch.linspace(-1, 1, 50).requires_grad_()
    h = torch.tanh(x)
    names = dict(x=x, h=h, loss=(h * torch.linspace(1, 2, 50)).sum())
    row = judged(names, x=lambda d: d * (1 + 1e-7))["x"]
    assert row.verdict is Verdict.ROUNDING and "differs by a fused multiply-add" in row.message
    up = torch.linspace(1, 2, 50) * (1 + 1e-7)
    exact = torch.autograd.grad(h, x, up, retain_graph=True)[0]
    row = judged(names, h=lambda d: up, x=lambda d: exact)["x"]
    assert row.message == "dx: exact, given the rounding of the gradients above."
    y = x.exp()
    names = dict(x=x, y=y, loss=y.sum())
    assert judged(names, x=lambda d: d * (1 + 1e-7))["x"].message == ""


def test_errors_of_float16s_size_are_told_as_a_hint_and_no_cause() -> None:
    x, y = torch.randn(6, 5), torch.randn(6, 5)
    w = torch.randn(6, 5, requires_grad=True)
    h = torch.tanh(w * x)
    loss = (h * y).sum()
    slope = 1 - torch.tanh((w * x).detach()) ** 2
    halved = check(loss, dict(w=w, dw=y * x * slope.half().float()))["w"]
    assert halved.cause is None and "all by no more than float16 rounds" in halved.message
    coarser = check(loss, dict(w=w, dw=y * x * slope.bfloat16().float()))["w"]
    assert coarser.culprit and "float16 rounds" not in coarser.message.replace("bfloat16", "")
