"""Places overwritten: what meets, and what of it is left."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes import by_places
from backproof.proof.causes.by_places import _writers, overwritten, overwritten_share
from backproof.proof.causes.fault import Fault

Make = Callable[..., Fault]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def table() -> dict[str, Tensor]:
    C = draw(6, 3).requires_grad_()
    rows = torch.tensor([1, 4, 1, 2, 4, 1])
    emb = C[rows]
    return dict(C=C, rows=rows, emb=emb, loss=(emb * draw(6, 3, seed=1)).sum())


def linear(rows: int) -> dict[str, Tensor]:
    x, W = draw(rows, 4), draw(4, 3, seed=1).requires_grad_()
    y = x @ W
    return dict(x=x, W=W, y=y, loss=(y * draw(rows, 3, seed=2)).sum())


def own(values: dict[str, Tensor], name: str = "x") -> Tensor:
    return torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0].clone()


def test_a_share_that_overwrites_what_is_there(fault_of: Make) -> None:
    x = draw(6, 3).requires_grad_()
    a, b = x.sin(), x[2:5].exp()
    values = dict(x=x, a=a, b=b, loss=a.sum() + b.sum())
    got = own(values)
    got[2:5] = x.detach()[2:5].exp()
    (found,) = overwritten_share(fault_of(values, "x", got))
    assert found.cause == "F11" and found.headline.endswith("overwrites what is there, in 9 of 18 elements")
    assert found.mended is not None and torch.allclose(found.mended, own(values))
    whole = own(values)
    whole[:] = x.detach().cos()
    assert not list(overwritten_share(fault_of(values, "x", whole)))  # everywhere: a share is missing


def test_a_share_that_overwrites_one_of_several(fault_of: Make) -> None:
    """What had been added up by then, and not what came later."""
    x = draw(6, 3).requires_grad_()
    a, b, c = x.sin(), x[2:5].exp(), x**2
    values = dict(x=x, a=a, b=b, c=c, loss=a.sum() + b.sum() + c.sum())
    got = own(values)
    got[2:5] -= x.detach()[2:5].cos()  # b stands where a was; c was added afterwards
    (found,) = overwritten_share(fault_of(values, "x", got))
    assert found.headline.startswith("what comes back through b = ")


@pytest.mark.parametrize(("which", "kept"), [("last", {1: 5, 4: 4, 2: 3}), ("first", {1: 0, 4: 1, 2: 3})])
def test_repeated_indices_overwrite_each_other(fault_of: Make, which: str, kept: dict[int, int]) -> None:
    values = table()
    up = own(values, "emb")
    got = torch.zeros(6, 3, dtype=torch.float64)
    for row, source in kept.items():
        got[row] = up[source]
    (found,) = overwritten(fault_of(values, "C", got))
    assert found.cause == "F11" and f"the {which} one is left" in found.headline
    assert "at index 1 and 4 of dimension 0" in found.why
    assert found.mended is not None and torch.allclose(found.mended, own(values, "C"))


def test_indices_of_their_own_in_every_column_overwrite_each_other(fault_of: Make) -> None:
    """Only in the first column do two terms meet, in row 3."""
    C = draw(5, 3).requires_grad_()
    rows = torch.tensor([[3, 0, 4], [3, 1, 2], [1, 2, 1], [2, 3, 0]])
    emb = C.gather(0, rows)
    values = dict(C=C, emb=emb, loss=(emb * draw(4, 3, seed=1)).sum())
    got = own(values, "C")
    got[3, 0] = own(values, "emb")[1, 0]
    (found,) = overwritten(fault_of(values, "C", got))
    assert "holds one term at index 3 of dimension 0" in found.why


def test_a_weighted_sum_is_not_written_to_places(fault_of: Make) -> None:
    values = linear(6)
    last_row_only = values["x"][5:].T @ own(values, "y")[5:]
    assert not list(overwritten(fault_of(values, "W", last_row_only)))


@pytest.mark.parametrize(
    ("upstream", "elements", "cuts"),
    [
        ((100, 4), 20_000, 2),  # by rows, and by columns
        ((100, 4), 20_001, 1),  # a hundred times 20,001 numbers are too many to keep; four times are not
        ((160, 4), 10, 2),
        ((161, 4), 10, 1),
        ((8, 5, 4), 10, 5),  # 8, 8 · 5 and 8 · 5 · 4 leading writes, and along the two other dimensions
        ((8, 21, 4), 10, 3),
        ((1, 4), 10, 2),
        ((3, 4), 2_000_000 // 4, 2),
        ((3, 4), 2_000_000 // 4 + 1, 1),
    ],
)
def test_how_a_gradient_is_cut_into_single_writes(
    fault_of: Make, monkeypatch: pytest.MonkeyPatch, upstream: tuple[int, ...], elements: int, cuts: int
) -> None:
    """Of 160 pieces at most, and two million numbers in all of them: 16 megabytes."""
    made: list[tuple[int, int]] = []
    monkeypatch.setattr(by_places, "_written", lambda fault, part, view, dim: made.append((view.shape[dim], dim)) or ())
    values = linear(3)
    fault = fault_of(values, "W", own(values, "W") + 1)
    list(_writers(fault, fault.parts[0]._replace(upstream=torch.empty(upstream), expected=torch.empty(elements))))
    assert len(made) == cuts
