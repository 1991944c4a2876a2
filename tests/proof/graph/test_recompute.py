"""Forward lines computed once more from today's tensors."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof import check
from backproof.proof.graph.graph import trace
from backproof.proof.graph.recompute import changed_since, names_of
from backproof.proof.report.rows import Verdict


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


LINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "matrices": lambda x, w: x @ w,
    "affine": lambda x, w: x @ w + 1.5 * x.tanh() - x,
    "addmm": lambda x, w: torch.addmm(x, x, w, alpha=0.5, beta=2),
    "elements": lambda x, w: x * w,
    "activation": lambda x, w: torch.sigmoid(x @ w.T).relu(),
    "transposed": lambda x, w: x.transpose(-1, -2) @ w,
    "batched": lambda x, w: torch.bmm(x.expand(2, 4, 4), w.expand(2, 4, 4)),
    "vector": lambda x, w: torch.mv(x, w[0]),
}


@pytest.mark.parametrize("line", LINES)
def test_an_update_without_a_trace_is_seen(line: str) -> None:
    x, w = draw(4, 4, seed=1).requires_grad_(), draw(4, 4, seed=2).requires_grad_()
    h = x.sin()
    y = LINES[line](h, w)
    graph = trace(dict(x=x, w=w, h=h, y=y), y.sum())
    assert changed_since(graph) == {}
    w.data += 1e-3
    changed = changed_since(graph)
    assert set(changed) == {"y"} and list(names_of(changed, graph)) == ["w"]


def test_of_an_operation_that_is_not_known_nothing_is_said() -> None:
    x, w = draw(4, 4, seed=1).requires_grad_(), draw(4, 4, seed=2).requires_grad_()
    y = (x * w).cumsum(0)
    graph = trace(dict(x=x, w=w, y=y), y.sum())
    w.data += 1
    assert changed_since(graph) == {}


@pytest.mark.parametrize(("off", "seen"), [(1.8e-6, False), (4e-6, True)])
def test_sixteen_roundings_of_the_terms_are_none(off: float, seen: bool) -> None:
    x, w = torch.ones(1, 1, requires_grad=True), torch.ones(1, 1, requires_grad=True)
    y = x @ w
    graph = trace(dict(x=x, w=w, y=y), y.sum())
    w.data += off
    assert bool(changed_since(graph)) is seen


def trained(update: Callable[[Tensor, Tensor], object], wrong: float = 1.0) -> dict[str, Tensor]:
    x, W, V = draw(6, 5, seed=1), draw(5, 4, seed=2).requires_grad_(), draw(4, 2, seed=3).requires_grad_()
    h = torch.sigmoid(x @ W)
    y = h @ V
    loss = (y**2).mean()
    with torch.no_grad():
        dy = 2 * y / y.numel()
        dV = h.T @ dy
        dh = wrong * dy @ V.T
        dW = x.T @ (dh * h * (1 - h))
    names = dict(x=x, W=W, V=V, h=h, y=y, loss=loss, dy=dy, dV=dV, dh=dh, dW=dW)
    for p, g in ((W, dW), (V, dV)):
        update(p, g)
    return names


def through_data(p: Tensor, g: Tensor) -> None:
    p.data -= 0.3 * g


def test_a_check_after_the_update_accuses_nobody_and_says_why() -> None:
    names = trained(through_data)
    report = check(names["loss"], names)
    assert report.culprits == ()
    assert report["h"].verdict is report["W"].verdict is Verdict.NOT_TESTABLE
    assert "V and W changed after the loss was computed" in report["h"].message
    assert "y = h @ V no longer gives what it gave" in report.notes[-1]
    assert report["V"].ok and report["y"].ok


def test_without_an_update_a_wrong_line_is_still_accused() -> None:
    names = trained(lambda p, g: None, wrong=1.7)
    assert [row.name for row in check(names["loss"], names).culprits] == ["h"]


@pytest.mark.parametrize(("roundings", "changed"), [(14, False), (18, True)])
def test_a_value_as_far_off_as_another_order_of_its_terms_is_the_same(roundings: int, changed: bool) -> None:
    x = torch.ones(3, requires_grad=True)
    y = x * torch.full((3,), 2.0)
    y.detach().add_(roundings * torch.finfo(torch.float32).eps * 2)
    loss = y.sum()
    assert (list(changed_since(trace({"x": x, "y": y}, loss))) == ["y"]) == changed
