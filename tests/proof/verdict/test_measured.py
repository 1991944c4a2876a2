"""Rounding along a long way is measured: wrong gradients are seen at any depth, right ones are not accused there."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.graph.graph import trace
from backproof.proof.graph.node import place
from backproof.proof.graph.passes import forced
from backproof.proof.report.rows import PROVED, Verdict
from backproof.proof.verdict import yardstick as module
from backproof.proof.verdict.glance import glance
from backproof.proof.verdict.measured import REPLAYS, _after, _before, _Chance, measured
from backproof.proof.verdict.yardstick import yardsticks

EPS = torch.finfo(torch.float32).eps


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def elman(steps: int, size: float) -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor]], Tensor]]:
    """h = tanh(h W + x U) from `h0`, by a W of spectral radius about `size`."""
    x = draw(steps, 3, 4, seed=1)

    def loss(p: dict[str, Tensor]) -> Tensor:
        h = p["h0"]
        for t in range(steps):
            h = torch.tanh(h @ p["W"] + x[t].to(h.dtype) @ p["U"])
        return (h**2).sum()

    return {"W": size * draw(7, 7, seed=2) / 7**0.5, "U": draw(4, 7, seed=3) / 4, "h0": draw(3, 7, seed=4)}, loss


def gated(steps: int, size: float) -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor]], Tensor]]:
    """h = z h + (1 - z) tanh(h W + x), z = σ(h V): a minimal gated unit."""
    x = draw(steps, 3, 6, seed=1)

    def loss(p: dict[str, Tensor]) -> Tensor:
        h = torch.zeros_like(x[0], dtype=p["W"].dtype)
        for t in range(steps):
            z = torch.sigmoid(h @ p["V"])
            h = z * h + (1 - z) * torch.tanh(h @ p["W"] + x[t].to(h.dtype))
        return (h**2).mean()

    return {"W": size * draw(6, 6, seed=2) / 6**0.5, "V": draw(6, 6, seed=3)}, loss


def residual(steps: int, size: float) -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor]], Tensor]]:
    def loss(p: dict[str, Tensor]) -> Tensor:
        h = p["x"]
        for _ in range(steps):
            h = h + size * torch.relu(torch.nn.functional.layer_norm(h, h.shape[1:]) @ p["W"])
        return (h**2).mean()

    return {"W": draw(5, 5, seed=2) / 5**0.5, "x": draw(6, 5, seed=1)}, loss


def product(steps: int, size: float) -> tuple[dict[str, Tensor], Callable[[dict[str, Tensor]], Tensor]]:
    """∏ x: each gradient is the product of all others."""

    def loss(p: dict[str, Tensor]) -> Tensor:
        total = torch.ones_like(p["x"][0])
        for t in range(steps):
            total = total * p["x"][t]
        return total

    return {"x": size + 0.1 * draw(steps, seed=1)}, loss


LONG = [
    pytest.param(elman, 230, 1.0, id="vanishing"),
    pytest.param(gated, 40, 1.5, id="gated"),
    pytest.param(residual, 40, 0.1, id="residual"),
    pytest.param(product, 100, 1.2, id="exploding product"),
    pytest.param(product, 100, 0.8, id="vanishing product"),
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("make", "steps", "size"), LONG)
def test_right_gradients_of_long_ways_are_proved_and_wrong_ones_seen(
    make: Callable, steps: int, size: float, dtype: torch.dtype
) -> None:
    start, loss_of = make(steps, size)
    leaves = {name: one.to(dtype).requires_grad_() for name, one in start.items()}
    loss = loss_of(leaves)
    own = dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()), retain_graph=True), strict=True))
    finer = {name: one.detach().double().requires_grad_() for name, one in leaves.items()}
    other = torch.autograd.grad(loss_of(finer), list(finer.values()))  # rounded in other places than autograd's
    right = {f"d{name}": gradient.to(dtype) for name, gradient in zip(leaves, other, strict=True)}
    report = check(loss, {**leaves, **right})
    assert report.ok, report
    for row in report.rows:  # what has vanished altogether, as dh0 does in float32, proves nothing
        assert row.verdict in PROVED or not bool(own[row.name].abs().max() > 1e-37), report
    name = next(iter(leaves))
    for factor in (1.1, -3.0, 0.0):
        found = glance(leaves, {**own, name: factor * own[name]}, loss, None)
        assert found.faults == {name}, factor


def test_a_zero_of_terms_that_cancel_stays_untestable_at_the_end_of_a_long_way() -> None:
    """The bias before a normalisation, which takes it away again."""
    x, b, W = draw(8, 5), draw(5, seed=1).requires_grad_(), draw(5, 5, seed=2) / 2
    h = x @ W + b
    h = h - h.mean(0)
    h = h / h.std(0)
    for _ in range(40):
        h = torch.tanh(h @ W) + 0.1 * h
    loss = (h**2).sum()
    for noise in (torch.zeros(5), 1e-10 * draw(5, seed=3)):
        report = check(loss, dict(b=b, db=noise))
        assert report["b"].verdict is Verdict.NOT_TESTABLE and not report.culprits, report
    assert not check(loss, dict(b=b, db=0.1 * draw(5, seed=3))).ok


def doublings(count: int, *, taken_back: bool) -> tuple[dict[str, Tensor], Tensor]:
    """(x + x) / 2, over and over: signs at every operation make no sum of it, and no more does rounding."""
    x = draw(40).requires_grad_()
    y = x
    for _ in range(count):
        y = (y * 3.0 - y * 2.0) if taken_back else y * 1.0
    return dict(x=x), y.sum()


def test_rounding_that_really_grows_is_found_to_grow() -> None:
    """3 y - 2 y loses a few digits each time, for right code as for autograd; y · 1 loses none to speak of."""
    moved = {}
    for taken_back in (False, True):
        names, loss = doublings(60, taken_back=taken_back)
        graph = trace(names, loss)
        expected = {"x": torch.ones(40)}
        moved[taken_back] = float(measured(graph, {}, expected, ["x"], EPS)["x"].square().mean().sqrt())
    assert 60**0.5 < moved[False] < 4 * 60**0.5  # a random walk of sixty roundings, each of one or two terms
    assert moved[True] > 2 * moved[False]


def test_a_value_that_was_given_starts_anew() -> None:
    """Rounding above a gradient that the user gave is none of what follows from it."""
    x = draw(40).requires_grad_()
    y = x
    for _ in range(50):
        y = y * 1.0
    a, z = y, y
    for _ in range(50):
        z = z * 1.0
    graph = trace(dict(x=x, a=a), z.sum())
    ones = torch.ones(40)
    whole = measured(graph, {}, {"x": ones}, ["x"], EPS)["x"].mean()
    part = measured(graph, {"a": ones}, {"x": ones}, ["x"], EPS)["x"].mean()
    assert 1.2 < float(whole / part) < 1.7  # √2 for twice as many


def test_it_costs_a_few_passes_and_leaves_the_users_random_state() -> None:
    passes: list[int] = []
    x = draw(40).requires_grad_()
    y = x * 2.0
    y.register_hook(lambda gradient: passes.append(1))
    graph = trace(dict(x=x, y=y), y.sum())
    passes.clear()
    torch.manual_seed(1)
    state = torch.get_rng_state()
    measured(graph, {}, {"x": torch.full((40,), 2.0)}, ["x"], EPS)
    assert len(passes) == REPLAYS
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(("count", "times"), [(11, 0), (13, 1)])
def test_only_long_ways_are_measured(count: int, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve operations, of which the sum is one; and only where the bound is large against the gradient."""
    calls: list[list[str]] = []

    def seen(graph, handed, expected, names, eps):  # type: ignore[no-untyped-def]
        calls.append(list(names))
        return measured(graph, handed, expected, names, eps)

    monkeypatch.setattr(module, "measured", seen)
    W = torch.tensor([[1.0, 1.2], [-1.2, -1.0]])  # turns and shrinks, where the terms of its products grow
    x = draw(3, 2).requires_grad_()
    y = x
    for _ in range(count):
        y = y @ W
    graph = trace(dict(x=x), y.sum())
    expected = forced(graph, {})["x"]
    assert expected is not None
    yardsticks(graph, {}, {"x": expected})
    assert len(calls) == times
    calls.clear()
    easy = x
    for _ in range(count):
        easy = easy * 1.0
    yardsticks(trace(dict(x=x), easy.sum()), {}, {"x": torch.ones(3, 2)})
    assert not calls


def test_thousands_of_steps() -> None:
    """Random signs overflow on the way; nothing recurses."""
    W, h0 = (2.0 * draw(3, 3, seed=1)).requires_grad_(), draw(2, 3)
    h = h0
    for _ in range(1500):
        h = torch.sin(h @ W)
    loss = (h**2).sum()
    right = torch.autograd.grad(loss, W, retain_graph=True)[0]
    names = dict(W=W)
    assert not glance(names, {"W": right * (1 + 1e-6)}, loss, None).faults
    assert glance(names, {"W": -2 * right}, loss, None).faults == {"W"}


def spread(hook: Callable, sent: Tensor) -> float:
    """How far, in the root mean square, a hook moves what arrives, relative to that."""
    (moved,) = hook((sent,))
    return float(((moved - sent) / sent).double().square().mean().sqrt())


def test_what_arrives_is_off_by_the_root_of_the_roundings_to_come_and_made() -> None:
    x = torch.randn(30, 8, requires_grad=True)
    y = x @ draw(8, 400)  # going back, 400 terms are summed
    (node, _), sent = place(y), torch.ones(30, 400, dtype=torch.float64)
    chance, onwards = _Chance(torch.Generator().manual_seed(0)), 400
    for last, given, sums in (({}, {}, 1.0), ({(node, 0): 500.0}, {}, 500.0), ({(node, 0): 500.0}, {0: sent}, 0.0)):
        got = spread(_before(node, given, last, 1e-4, chance), sent)
        assert got == pytest.approx(1e-4 * (sums + onwards) ** 0.5, rel=0.05)


def test_what_an_operation_subtracts_inside_is_off_by_its_own_terms() -> None:
    x = torch.full((2000,), 3.0, dtype=torch.float64, requires_grad=True)
    node, _ = place(torch.tanh(x))  # 1 - h² is 0.0099, of terms that are 1
    arriving = torch.ones(2000, dtype=torch.float64)
    leaving = arriving * (1 - torch.tanh(x.detach()) ** 2)
    hook = _after(node, (), 1e-6, _Chance(torch.Generator().manual_seed(0)))
    (moved,) = hook((leaving,), (arriving,))
    assert float((moved - leaving).square().mean().sqrt()) == pytest.approx(1e-6 * 2**0.5, rel=0.05)
    (kept,) = hook((leaving[:5],), (arriving,))  # terms of another shape say nothing of it
    assert torch.equal(kept, leaving[:5])
