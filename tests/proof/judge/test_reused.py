"""Names that a loop uses again."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof import check
from backproof.proof.judge import reused as module
from backproof.proof.report.rows import Verdict


def recurrence(steps: int, wrong: float = 1.0) -> tuple[Tensor, dict[str, Tensor]]:
    """A GRU-like loop in which every name is used again, and its backward pass, the last h's line off by `wrong`."""
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(steps, 2, generator=generator)
    W, U = (torch.randn(*shape, generator=generator).div(2).requires_grad_() for shape in ((2, 3), (3, 3)))
    kept = [torch.zeros(3)]
    for t in range(steps):
        gate = torch.sigmoid(x[t] @ W + kept[-1] @ U)
        h = kept[-1] + gate * 0.5
        kept.append(h)
    loss = (kept[-1] ** 2).sum()
    with torch.no_grad():
        dW, dU = torch.zeros_like(W), torch.zeros_like(U)
        dh = 2 * kept[-1]
        for t in reversed(range(steps)):
            gate_t = (kept[t + 1] - kept[t]) * 2
            dgate = 0.5 * dh * wrong
            dpre = dgate * gate_t * (1 - gate_t)
            dW += torch.outer(x[t], dpre)
            dU += torch.outer(kept[t], dpre)
            dh = dh + dpre @ U.T
    return loss, dict(W=W, U=U, gate=gate, h=h, dW=dW, dU=dU, dh=dh, dgate=dgate)


def test_the_gradient_of_the_first_step_is_not_held_against_the_value_of_the_last() -> None:
    loss, names = recurrence(4)
    report = check(loss, names)
    assert report.culprits == () and report["W"].ok and report["U"].ok
    assert report["gate"].verdict is Verdict.NOT_TESTABLE
    assert "it is the gradient of an earlier gate, since the name is used again" in report["gate"].message


def test_a_wrong_parameter_is_found_all_the_same() -> None:
    loss, names = recurrence(4, wrong=-1.5)
    report = check(loss, names)
    assert {"W", "U"} <= {row.name for row in report.culprits}


def test_where_nothing_is_used_again_the_line_is_accused() -> None:
    x = torch.randn(6, generator=torch.Generator().manual_seed(4)).requires_grad_()
    a = torch.sin(x)
    b = torch.tanh(a)
    noise = torch.rand(6, generator=torch.Generator().manual_seed(5))
    report = check((b**2).sum(), dict(x=x, a=a, b=b, db=2 * b.detach(), da=noise))
    assert [row.name for row in report.culprits] == ["a"]


@pytest.mark.parametrize(("depth", "judged"), [(2, False), (3, True)])
def test_three_operations_have_to_be_alike(monkeypatch: pytest.MonkeyPatch, depth: int, judged: bool) -> None:
    """tanh of a product with a cosine and tanh of a product with a sine are alike in two operations."""
    monkeypatch.setattr(module, "_DEPTH", depth)
    x = torch.linspace(0.1, 0.9, 4).requires_grad_()
    h = torch.tanh(torch.tanh(x.cos() * 2).sin() * 2)
    given = torch.tensor([1.0, 3.0, -2.0, 0.5])
    report = check((h**3).sum(), dict(x=x, h=h, dh=given, dx=torch.ones(4)))
    assert report["h"].culprit is judged


@pytest.mark.parametrize(
    ("off", "alike"), [(0.9e-4, True), (1.2e-4, False), (-0.9e-4, True), (-1.2e-4, False), (1.0, False)]
)
def test_the_gradient_of_an_earlier_step_is_known_by_four_digits(off: float, alike: bool) -> None:
    gradient = torch.tensor([1.0, -2.0, 3.0], dtype=torch.float64)
    assert module._same(gradient * (1 + off), gradient) == alike


@pytest.mark.parametrize(("least", "alike"), [(0.9e-7, True), (1.2e-7, False)])
def test_beside_a_zero_what_is_smaller_than_rounding_is_one(least: float, alike: bool) -> None:
    gradient = torch.tensor([1.0, 0.0], dtype=torch.float64)
    assert module._same(gradient + torch.tensor([0.0, least], dtype=torch.float64), gradient) == alike


@pytest.mark.parametrize(("times", "judged"), [(1.0, False), (1.01, True)])
def test_the_first_step_is_made_of_a_leaf_and_told_by_its_gradient(times: float, judged: bool) -> None:
    """h = h * w over and over: its first h is a product of two leaves, as no other is."""
    w, start, c = torch.rand(3, 4, 5, generator=torch.Generator().manual_seed(1)).unbind(0)
    w, h = w.clone().requires_grad_(), start
    for _ in range(3):
        h = h * w
    loss = (h * c).sum()
    dh = c * w.detach() ** 2 * times
    row = check(loss, dict(loss=loss, w=w, h=h, c=c, dh=dh))["h"]
    assert row.culprit is judged
    assert ("it is the gradient of an earlier h" in row.message) is not judged
