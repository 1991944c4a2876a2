"""Gradients beside the `.grad` that backward() left, where the graph is gone."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof import check
from backproof.proof.judge.judge import CannotJudgeError
from backproof.proof.report.rows import Verdict
from backproof.proof.verdict.decide import Known, of_retained

EPS = torch.finfo(torch.float32).eps


def trained(*, retain: bool = True) -> dict[str, Tensor]:
    """A notebook in which backward() was called first, and right gradients."""
    generator = torch.Generator().manual_seed(1)
    x, w = torch.randn(6, 4, generator=generator), torch.randn(4, 3, generator=generator).requires_grad_()
    h = torch.tanh(x @ w)
    if retain:
        h.retain_grad()
    loss = (h**3).mean()
    loss.backward()
    dh = 3 * h.detach() ** 2 / h.numel()
    return dict(x=x, w=w, h=h, loss=loss, dh=dh, dw=x.T @ (dh * (1 - h.detach() ** 2)))


def test_right_gradients_are_compared_with_what_is_left_and_it_is_said() -> None:
    names = trained()
    report = check(names["loss"], names)
    assert report.ok and report.proved == 2
    assert "Run the forward pass again before the check" in report.notes[0]
    assert "by value alone, so no line is blamed" in report.notes[1]


def test_a_wrong_one_is_not_ok_and_nobody_is_blamed() -> None:
    names = trained()
    report = check(names["loss"], {**names, "dh": 2 * names["dh"]})
    assert not report.ok and report.culprits == ()
    assert report["h"].verdict is Verdict.WRONG and report["w"].ok
    assert ".grad adds up over calls of backward(); set it to None before." in report["h"].message


def test_what_has_kept_none_is_named() -> None:
    names = trained(retain=False)
    report = check(names["loss"], names)
    assert report.unjudged == ("dh (h has kept no .grad)",) and report.proved == 1
    names["w"].grad = None
    with pytest.raises(CannotJudgeError, match="the graph of the loss is gone"):
        check(names["loss"], names)


def test_shape_and_dtype_are_strict() -> None:
    names = trained()
    report = check(names["loss"], {**names, "dh": names["dh"][:1], "dw": names["dw"].double()})
    assert (report["h"].verdict, report["w"].verdict) == (Verdict.SHAPE, Verdict.DTYPE)


@pytest.mark.parametrize(
    ("off", "largest", "known"),
    [
        (60 * EPS, 1.0, Known.EQUAL),
        (70 * EPS, 1.0, Known.NEAR_WHAT_IS_LEFT),
        (0.9e-3, 1.0, Known.NEAR_WHAT_IS_LEFT),
        (1.1e-3, 1.0, Known.NOT_WHAT_IS_LEFT),
        (1.1e-3, 1.1e-3 / (60 * EPS), Known.NEAR_WHAT_IS_LEFT),  # no larger than the rounding of other gradients
        (1.1e-3, 1.1e-3 / (70 * EPS), Known.NOT_WHAT_IS_LEFT),
    ],
)
def test_how_near_is_near(off: float, largest: float, known: Known) -> None:
    kept = torch.tensor([1.0, -0.5])
    assert of_retained(kept + torch.tensor([0.0, off]), kept, largest) is known


def test_rounding_left_of_a_zero_is_not_held_against_anybody() -> None:
    """b before batch normalisation: its gradient is zero, and what is left of it is anybody's."""
    generator = torch.Generator().manual_seed(2)
    x, b = torch.randn(40, 5, generator=generator), torch.zeros(5, requires_grad=True)
    gain = torch.ones(5, requires_grad=True)
    z = x + b
    y = (z - z.mean(0)) * gain
    loss = (y**3).sum()
    loss.backward()
    assert b.grad is not None and gain.grad is not None
    report = check(loss, dict(b=b, gain=gain, db=torch.zeros(5), dgain=gain.grad.clone()))
    assert report.ok and report["b"].verdict is Verdict.NOT_TESTABLE
