"""Rows and terms left out: how many are looked at, and how exactly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes import by_omission
from backproof.proof.causes.by_omission import _masks, _subsets, some_rows, terms_left_out
from backproof.proof.causes.fault import Fault

Make = Callable[..., Fault]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def linear(rows: int, width: int = 4) -> dict[str, Tensor]:
    """y = x @ W, so that dW is a sum over the rows."""
    x, W = draw(rows, width), draw(width, 3, seed=1).requires_grad_()
    y = x @ W
    return dict(x=x, W=W, y=y, loss=(y * draw(rows, 3, seed=2)).sum())


def without(values: dict[str, Tensor], left_out: list[int]) -> Tensor:
    """dW with the terms of some rows left out."""
    up = torch.autograd.grad(values["loss"], values["y"], retain_graph=True)[0].clone()
    up[left_out] = 0
    return values["x"].T @ up


def left_out(make: Make, values: dict[str, Tensor], rows: list[int]) -> str | None:
    found = next(terms_left_out(make(values, "W", without(values, rows))), None)
    return None if found is None else f"{found.cause}: {found.headline}"


def rows_of(shape: tuple[int, ...]) -> dict[str, Tensor]:
    x = draw(*shape).requires_grad_()
    y = x.sin()
    return dict(x=x, y=y, loss=(y * draw(*shape, seed=1)).sum())


def own(values: dict[str, Tensor], name: str = "x") -> Tensor:
    return torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0].clone()


@pytest.mark.parametrize(("rows", "found"), [(2, True), (160, True), (161, False)])
def test_a_hundred_and_sixty_slices_are_sent_back_one_by_one(fault_of: Make, rows: int, found: bool) -> None:
    """Each is a backward pass; 160 hold the second replay of a batch and most loops over tiles."""
    assert (left_out(fault_of, linear(rows), [rows - 1]) is not None) is found


@pytest.mark.parametrize(
    ("rows", "which", "said"),
    [
        (20, [19], "F7: index 19 of dimension 0 of dy is left out of the sum"),
        (20, [17, 18, 19], "F7: index 17 to 19 of dimension 0 of dy is left out of the sum"),
        (20, [0, 1], "F7: index 0 and 1 of dimension 0 of dy is left out of the sum"),
        (20, [7], "F7: index 7 of dimension 0 of dy is left out of the sum"),
        (20, [3, 15], "F7: index 3 and 15 of dimension 0 of dy is left out of the sum"),
        (20, [1, 5, 9, 13, 17], "F7: index 1 to 17 in steps of 4 of dimension 0 of dy is left out of the sum"),
        (5, [1, 2, 3, 4], "F7: only index 0 of dimension 0 of dy is in the sum"),
        (3, [0, 2], "F7: only index 1 of dimension 0 of dy is in the sum"),
        (20, list(range(19)), "F11: only the last 1 of 20 indices of dimension 0 of dy are in the sum"),
        (20, list(range(11)), "F11: only the last 9 of 20 indices of dimension 0 of dy are in the sum"),
        (20, list(range(10)), "F7: index 0 to 9 of dimension 0 of dy is left out of the sum"),
    ],
)
def test_which_terms_of_a_sum_are_left_out(fault_of: Make, rows: int, which: list[int], said: str) -> None:
    assert left_out(fault_of, linear(rows), which) == said


@pytest.mark.parametrize(("step", "found"), [(2, True), (32, True), (33, False)])
def test_every_kth_up_to_the_thirty_second(fault_of: Make, step: int, found: bool) -> None:
    """The last row of each tile of up to 32; the value has fewer elements than rows, so that no other way is open."""
    which = list(range(step - 1, 128, step))
    assert (left_out(fault_of, linear(128), which) is not None) is found


@pytest.mark.parametrize(("rows", "found"), [(64, True), (65, False)])
def test_any_two_of_up_to_sixty_four(fault_of: Make, rows: int, found: bool) -> None:
    """There are 2016 pairs of 64."""
    assert (left_out(fault_of, linear(rows), [3, 40]) is not None) is found


def test_any_set_where_the_value_has_as_many_elements_as_there_are_slices(fault_of: Make) -> None:
    scattered = [3, 8, 11, 25, 26, 70, 101, 149]
    assert left_out(fault_of, linear(150, width=50), scattered) is not None  # 150 elements
    assert left_out(fault_of, linear(150, width=49), scattered) is None  # 147
    assert left_out(fault_of, linear(10, width=20), [0, 2, 3, 7, 8]) is not None
    assert left_out(fault_of, linear(10, width=20), [0, 2, 3, 5, 7, 8]) is None  # more than half: another fault


def test_three_hundred_and_twenty_elements_are_looked_at(fault_of: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice as many as there are slices at most, so that any set of slices can be told; those with most missing."""
    seen: list[tuple[Tensor, Tensor]] = []
    monkeypatch.setattr(by_omission, "_subsets", lambda sent, missing, allowed: seen.append((sent, missing)) or ())
    values = linear(5, width=200)
    got = torch.autograd.grad(values["loss"], values["W"], retain_graph=True)[0].clone()
    got[150] += 7
    list(terms_left_out(fault_of(values, "W", got)))
    sent, missing = seen[0]
    assert sent.shape == (5, 320) and missing[:3].tolist() == pytest.approx([-7.0] * 3)
    values = linear(5, width=3)
    list(terms_left_out(fault_of(values, "W", torch.ones(3, 3, dtype=torch.float64))))
    assert [sent.shape for sent, _ in seen[2:]] == [(5, 9), (3, 9)]


SENT = draw(10, 40, seed=5)
SCATTERED = torch.tensor([0, 3, 4, 8])


@pytest.mark.parametrize(("weight", "found"), [(1.0, True), (1.04, True), (1.06, False), (0.96, True), (2.0, False)])
def test_a_slice_is_left_out_whole(weight: float, found: bool) -> None:
    """By least squares each slice has a weight: a twentieth may be rounding, and half a slice is another fault."""
    sets = list(_subsets(SENT, weight * SENT[SCATTERED].sum(0), torch.zeros(40, dtype=torch.float64)))
    assert bool(sets) is found
    assert all(torch.equal(one, SCATTERED) for one in sets)


@pytest.mark.parametrize(("off", "found"), [(3.9, True), (4.1, False)])
def test_what_is_missing_may_be_off_by_four_times_what_is_allowed(off: float, found: bool) -> None:
    """By the rounding of the gradient, of the right one, and of the slices."""
    few = SENT[:, :5]
    allowed = torch.full((5,), 1e-3, dtype=torch.float64)
    sets = [one.tolist() for one in _subsets(few, few[7] + off * 1e-3, allowed)]
    assert ([7] in sets) is found


def test_not_a_number_is_nowhere_looked_for() -> None:
    none = torch.zeros(40, dtype=torch.float64)
    missing, sent = SENT[SCATTERED].sum(0), SENT.clone()
    assert list(_subsets(SENT, missing, none))
    missing[3] = float("nan")
    sent[2, 5] = float("nan")
    assert not list(_subsets(SENT, missing, none)) and not list(_subsets(sent, SENT[SCATTERED].sum(0), none))


def test_the_sets_that_are_tried() -> None:
    sets = {tuple(row.nonzero().flatten().tolist()) for masks in _masks(6, torch.device("cpu")) for row in masks}
    runs = {tuple(range(n)) for n in range(1, 6)} | {tuple(range(n, 6)) for n in range(1, 6)}
    steps = {tuple(range(first, 6, step)) for step in range(2, 6) for first in range(step)}
    pairs = {(a, b) for a in range(6) for b in range(a + 1, 6)}
    assert sets == runs | {(n,) for n in range(6)} | steps | pairs


@pytest.mark.parametrize(("count", "found"), [(1, True), (4, True), (5, False)])
def test_up_to_half_of_the_rows_may_be_left_out(fault_of: Make, count: int, found: bool) -> None:
    values = rows_of((8, 5))
    got = own(values)
    got[8 - count :] = 0
    said = list(some_rows(fault_of(values, "x", got)))
    assert bool(said) is found
    if found:
        assert said[0].cause == "F7" and said[0].why.endswith(f"{count} of 8 indices are left out, the last of them.")


def test_rows_are_left_out_anywhere_and_along_any_dimension(fault_of: Make) -> None:
    values = rows_of((4, 6))
    got = own(values)
    got[:, 2] = 0
    (found,) = some_rows(fault_of(values, "x", got))
    assert found.headline == "it is zero at index 2 of dimension 1" and "the last" not in found.why
    got = own(values)
    got[1] = float("nan")
    assert not list(some_rows(fault_of(values, "x", got)))  # not zero: something else
    got = own(values)
    got[1] *= 2
    assert not list(some_rows(fault_of(values, "x", got)))


def test_a_row_that_is_partly_right_may_be_partly_unwritten(fault_of: Make) -> None:
    values = rows_of((4, 6))
    got = own(values)
    got[3, 2:] = 0
    (found,) = some_rows(fault_of(values, "x", got))
    assert found.headline == "it is zero at index 3 of dimension 0"


def test_rows_left_out_are_told_by_two_others_that_are_not_zero(fault_of: Make) -> None:
    x = draw(4).requires_grad_()
    for up, found in (([0.0, 1.0, 1.0, 1.0], 1), ([0.0, 0.0, 1.0, 1.0], 0)):
        y = x.sin()
        values = dict(x=x, y=y, loss=(y * torch.tensor(up)).sum())
        got = own(values)
        got[3] = 0
        assert len(list(some_rows(fault_of(values, "x", got)))) == found
