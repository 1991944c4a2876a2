"""Pieces of large tensors: views of all of it, each element once, whatever its layout."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.graph.graph import trace
from backproof.proof.report.rows import Verdict
from backproof.proof.verdict import blame as blame_module
from backproof.proof.verdict import blocks as module
from backproof.proof.verdict.blame import Measures
from backproof.proof.verdict.blocks import blocks
from backproof.proof.verdict.yardstick import yardsticks


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if a thousand elements were a large tensor."""
    monkeypatch.setattr(module, "PIECE", 100)
    monkeypatch.setattr(blame_module, "LARGE", 400)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(1000),
        torch.zeros(1, 1, 1007),
        torch.zeros(30, 40).T,
        torch.zeros(3, 7, 11, 13)[:, ::2],
        torch.zeros(1, 101, 1).expand(9, 101, 1).clone(),
    ],
    ids=lambda one: str(tuple(one.shape)),
)
def test_every_element_is_in_one_piece(tensor: Tensor) -> None:
    other = torch.ones(()).expand_as(tensor)
    for part, ones in blocks(tensor, other):
        assert part.numel() <= 100 and part.shape == ones.shape
        part.add_(ones)
    assert bool((tensor == 1).all())


def test_a_small_tensor_is_left_whole() -> None:
    tensor = torch.zeros(7, 3)
    ((part,),) = blocks(tensor)
    assert part is tensor
    ((empty,),) = blocks(torch.zeros(0, 3))
    assert empty.numel() == 0


def network() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, w = torch.randn(60, 20, generator=generator).requires_grad_(), torch.randn(20, generator=generator)
    y = torch.tanh(x * w.requires_grad_())
    loss = (y**2).sum()
    dy = (2 * y).detach()
    dz = dy * (1 - (y * y).detach())
    return dict(x=x, w=w, y=y, loss=loss, dy=dy, dx=dz * w.detach(), dw=(dz * x.detach()).sum(0))


@pytest.mark.usefixtures("small")
def test_large_values_are_judged_as_small_ones_are() -> None:
    names = network()
    report = check(names["loss"], names)
    assert report.ok and len(report.rows) == 3, report
    for name in ("x", "y", "w"):
        wrong = {**names, f"d{name}": names[f"d{name}"].roll(1)}
        assert [row.name for row in check(names["loss"], wrong).culprits] == [name]
    spoilt = names["dx"].clone()
    spoilt[59, 19] = float("nan")
    assert check(names["loss"], {**names, "dx": spoilt})["x"].verdict is Verdict.NOT_FINITE
    x = torch.ones(1000, requires_grad=True)
    nothing = x - x
    assert check((nothing * 3.0).sum(), dict(x=x, dx=torch.zeros(1000)))["x"].verdict is Verdict.NOT_TESTABLE


@pytest.mark.usefixtures("small")
def test_the_yardstick_of_a_large_value_is_worked_out_when_asked_for_and_kept_where_it_was_widened() -> None:
    names = network()
    graph = trace({name: names[name] for name in ("x", "w", "y")}, names["loss"])
    given = {name: names[f"d{name}"] for name in ("x", "w", "y")}
    measures = Measures(graph, given, given)
    assert list(measures) == ["x", "w", "y"] and len(measures) == 3 and "x" in measures and "z" not in measures
    assert measures.is_large("x") and not measures.is_large("w")
    assert measures["w"] is measures["w"] and measures["x"] is not measures["x"]
    alone = yardsticks(graph, given, {"x": given["x"]})["x"]
    torch.testing.assert_close(measures["x"].allowed, alone.allowed)
    measures.keep("x", alone)
    assert measures["x"] is alone
    short = alone.in_short()
    assert torch.equal(short.allowed, alone.allowed.max().expand(60, 20)) and short.allowed.stride() == (0, 0)
