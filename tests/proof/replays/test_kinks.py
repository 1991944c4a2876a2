"""Kinks, ties and symmetric matrices: other right gradients are no faults, and faults there stay faults."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from backproof.proof.function import prove_function
from backproof.proof.replays.kinks import Bench, Kink, _moved, _shifts, _sums_fit, _symmetric, kink_of
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Verdict
from backproof.proof.report.words import number

FEW = ["state", "sizes"]


def kernel(forward: Callable, backward: Callable) -> type[Function]:
    """A Function that saves its inputs, with `backward(g, *inputs)`."""

    class Kernel(Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Tensor) -> Tensor:
            ctx.save_for_backward(*inputs)
            return forward(*inputs)

        @staticmethod
        def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return backward(g, *ctx.saved_tensors)

    return Kernel


def whole(n: int = 6) -> tuple[Tensor]:
    """Small whole numbers, many of them 0 and many equal."""
    return (torch.randint(-2, 3, (n, 5)).float(),)


def proved(forward: Callable, backward: Callable, reference: Callable, inputs: Any, **options: Any) -> Report:
    return prove_function(kernel(forward, backward), reference, inputs, skip=FEW, **options)


@pytest.mark.parametrize(("slope", "right"), [(0.0, True), (0.3, True), (1.0, True), (1.2, False), (-0.2, False)])
def test_every_subgradient_of_a_ramp_is_right_where_the_data_lie_on_its_kink(slope: float, right: bool) -> None:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        return g * torch.where(x == 0, slope, (x > 0).float())

    report = proved(torch.relu, backward, lambda x: x * (x > 0), whole)
    assert report.ok is right, report
    if right and slope:
        assert "all where x is 0, at kinks or ties" in report["x"].message
        assert report["x"].verdict is Verdict.ROUNDING and report.notes == ()


def test_a_fault_at_zeros_of_a_smooth_function_is_a_fault() -> None:
    """Every zero of x loses its gradient, and a shift mends it; but the function has no kink there."""
    report = proved(torch.sin, lambda g, x: g * x.cos() * (x != 0), torch.sin, whole, dtypes=())
    assert [row.name for row in report.culprits] == ["x0"]


def test_a_kink_that_rounding_to_bfloat16_hits_is_no_lack_of_precision() -> None:
    def clipped(x: Tensor) -> Tensor:
        return x.clamp(-0.5, 0.5)

    def backward(g: Tensor, x: Tensor) -> Tensor:
        return g * (x.abs() < 0.5)  # PyTorch's is closed at the ends

    def inputs(n: int = 24) -> tuple[Tensor]:
        x = torch.randn(n, 4)
        x[3, :] = torch.tensor([0.50001, -0.50001, 0.49999, -0.49999])
        return (x,)

    report = proved(clipped, backward, clipped, inputs)
    assert report.ok and any("x is -0.500" in note or "at kinks" in note for note in report.notes), report
    coarse = proved(clipped, lambda g, x: g * _coarse(g) * (x.abs() < 0.5), clipped, inputs)
    assert [(row.name, row.cause, row.replay) for row in coarse.culprits] == [("x", "F5", "bfloat16")]


def test_ties_that_a_replay_makes_may_be_broken_in_another_way() -> None:
    def last(x: Tensor) -> Tensor:
        return (x.shape[1] - 1 - x.flip(1).argmax(1)).unsqueeze(1)

    def smallest(x: Tensor) -> Tensor:
        return x.max(1).values

    def backward(g: Tensor, x: Tensor) -> Tensor:
        return torch.zeros_like(x).scatter(1, last(x), g.unsqueeze(1))

    report = proved(smallest, backward, smallest, lambda n=6: (torch.randn(n, 7),), dtypes=())
    assert report.ok and "(replay: inputs expanded)" in report.notes[0] and report["x"].verdict is Verdict.EXACT


@pytest.mark.parametrize("shared", [True, False])
def test_at_ties_of_the_users_own_data_the_gradient_is_shared_out_and_not_sent_to_each(shared: bool) -> None:
    def backward(g: Tensor, x: Tensor) -> Tensor:
        ties = (x == x.amax(1, keepdim=True)).to(g.dtype)
        return g.unsqueeze(1) * (ties / ties.sum(1, keepdim=True) if shared else ties)

    def first(x: Tensor) -> Tensor:
        return x.max(1).values

    report = proved(first, backward, first, whole, dtypes=())
    assert report.ok is shared, report


def _coarse(g: Tensor) -> float:
    return 1.03 if g.dtype is torch.bfloat16 else 1.0


def spd(n: int = 3) -> tuple[Tensor]:
    a = torch.randn(n, 4, 4)
    return (a @ a.mT + torch.eye(4),)


def logarithm(a: Tensor) -> Tensor:
    w, v = torch.linalg.eigh(a)
    return (v * w.log().unsqueeze(-2)) @ v.mT


def divided_differences(g: Tensor, a: Tensor, factor: float = 1.0) -> Tensor:
    w, v = torch.linalg.eigh(a)
    apart = w.unsqueeze(-1) - w.unsqueeze(-2) + torch.eye(4, dtype=a.dtype)
    slopes = torch.where(
        torch.eye(4, dtype=torch.bool), 1 / w.unsqueeze(-1), (w.log().unsqueeze(-1) - w.log().unsqueeze(-2)) / apart
    )
    return factor * v @ (slopes * (v.mT @ g @ v)) @ v.mT


@pytest.mark.parametrize(("factor", "right"), [(1.0, True), (1.5, False)])
def test_a_gradient_that_is_right_for_symmetric_changes_of_a_symmetric_matrix(factor: float, right: bool) -> None:
    report = proved(logarithm, lambda g, a: divided_differences(g, a, factor), logarithm, spd, dtypes=())
    assert report.ok is right, report
    if right:
        assert "right for symmetric changes of a" in report["a"].message


def test_a_transposed_gradient_of_a_matrix_that_happens_to_be_symmetric_is_wrong() -> None:
    def inputs(n: int = 3) -> tuple[Tensor, Tensor]:
        return (*spd(n), torch.randn(n, 4, 2))

    report = proved(torch.matmul, lambda g, a, b: (b @ g.mT, a.mT @ g), torch.matmul, inputs, dtypes=())
    assert [row.name for row in report.culprits] == ["x0"]


EPS = 2.0**-23
AT = torch.tensor([0.0, 0.0, 1.0, -1.0], dtype=torch.float64)  # two elements at the kink of a ramp, two beside it


def step(x: Tensor, high: float = 1.0) -> Tensor:
    """The gradient of a ramp, 0 at its kink."""
    return high * (x > 0).double()


def at_kink(
    got: Tensor, *, high: float = 1.0, own: Tensor | None = None, noise: float = 0.0, x: Tensor = AT, eps: float = EPS
) -> Kink | None:
    """What is said of `got` where the reference is a ramp of slope `high`; beside the kink, `got` is off by `noise`."""
    right = step(x, high) if own is None else own
    bench = Bench(
        lambda values: {"x": step(values["x"], high) + noise},
        lambda values: {"x": step(values["x"], high)},
        lambda _: 0.0,
    )
    return kink_of("x", got, right, {"x": x}, bench, eps)


def with_zeros(at_zero: float, beside: float = 0.0, high: float = 1.0) -> Tensor:
    return step(AT, high) + at_zero * (AT == 0) + beside * (AT == -1)


@pytest.mark.parametrize(
    ("at_zero", "valid"), [(0.5, True), (1.0, True), (1.03, True), (1.05, False), (-0.015, True), (-0.03, False)]
)
def test_at_a_kink_a_gradient_lies_between_those_around_to_a_fiftieth(at_zero: float, valid: bool) -> None:
    kink = at_kink(with_zeros(at_zero))
    assert kink is not None and kink.valid is valid and kink.shifted
    assert f"differs in 2 of 4 elements, all where x is {number(0.0)}, at kinks or ties" in kink.said


def test_the_first_shift_is_of_eight_roundings() -> None:
    """Large enough to leave a kink that rounding has hit; a larger one is tried where that one mends nothing."""
    kink = at_kink(with_zeros(0.5))
    assert kink is not None and f"shifted by {number(8 * EPS)} of their size" in kink.said
    near = torch.where(AT == 0, -100 * EPS, AT)  # beside the kink, farther than eight roundings
    far = at_kink(with_zeros(0.5), x=near)
    assert far is not None and f"shifted by {number(EPS**0.5)} of their size" in far.said


@pytest.mark.parametrize(("high", "kink"), [(0.09, False), (0.11, True)])
def test_where_the_gradient_changes_by_less_than_a_tenth_of_the_fault_there_is_no_kink(high: float, kink: bool) -> None:
    found = at_kink(with_zeros(1.0, high=high), high=high)
    assert (found is not None) is kink
    assert found is None or not found.valid


@pytest.mark.parametrize(("beside", "kink"), [(0.009, True), (0.011, False)])
def test_what_differs_by_a_fiftieth_of_the_fault_has_to_agree_beside_the_kink_too(beside: float, kink: bool) -> None:
    assert (at_kink(with_zeros(0.5, beside)) is not None) is kink


@pytest.mark.parametrize(("noise", "kink"), [(0.115, True), (0.135, False)])
def test_beside_a_kink_sixteen_roundings_of_the_largest_number_may_be_left(noise: float, kink: bool) -> None:
    """In bfloat16 that is an eighth; in float32 a fiftieth of the fault is more."""
    assert (at_kink(with_zeros(0.5), noise=noise, eps=2.0**-7) is not None) is kink


@pytest.mark.parametrize(("noise", "kink"), [(0.009, True), (0.011, False)])
def test_beside_a_kink_a_fiftieth_of_the_fault_may_be_left(noise: float, kink: bool) -> None:
    assert (at_kink(with_zeros(0.5), noise=noise) is not None) is kink


@pytest.mark.parametrize(("size", "singular"), [(95.0, False), (105.0, True)])
def test_a_hundred_times_larger_than_beside_it_a_gradient_is_singular(size: float, singular: bool) -> None:
    kink = at_kink(step(AT), own=torch.where(AT == 0, size, step(AT)))
    assert kink is not None and ("the reference's gradient of x is singular here" in kink.said) is singular
    assert kink.valid is not singular


def test_what_is_equal_or_not_finite_or_empty_or_of_another_shape_is_at_no_kink() -> None:
    right = with_zeros(0.0)
    assert at_kink(right) is None and at_kink(torch.ones(3)) is None
    assert at_kink(with_zeros(float("inf"))) is None and at_kink(with_zeros(0.5), own=right * float("nan")) is None
    assert at_kink(torch.empty(0), x=torch.empty(0).double()) is None


@pytest.mark.parametrize(("values", "told"), [(3, True), (4, False)])
def test_up_to_three_numbers_are_named_at_which_the_kinks_are(values: int, told: bool) -> None:
    """A staircase, with a kink at every whole number."""
    x = torch.arange(1.0, values + 1, dtype=torch.float64)
    bench = Bench(lambda v: {"x": v["x"].floor()}, lambda v: {"x": v["x"].floor()}, lambda _: 0.0)
    kink = kink_of("x", x - 0.5, x, {"x": x}, bench, EPS)
    assert kink is not None and ("all where x is" in kink.said) is told


def test_all_or_a_share_of_the_elements_move_back_and_forth() -> None:
    """Among many equal numbers each has to be the largest once, so fewer move at a time."""
    x = torch.ones(20_000, dtype=torch.float64)
    shifts = list(_shifts({"x": x}, "x", torch.zeros(20_000, dtype=torch.bool), 1e-3))[:16]
    shares = [float((moved["x"] != x).double().mean()) for moved in shifts]
    wanted = [share for share in (1.0, 0.25, 0.06, 0.015) for _ in range(4)]
    assert all(abs(share - one) <= 0.15 * one for share, one in zip(shares, wanted, strict=True))
    for back, forth in zip(shifts[::2], shifts[1::2], strict=True):
        assert torch.allclose(back["x"] + forth["x"], 2 * x, atol=1e-12, rtol=0)
    assert not torch.equal(shifts[0]["x"], shifts[2]["x"])


@pytest.mark.parametrize(
    ("size", "differ", "count"), [(10, 1, 38), (16, 16, 80), (17, 1, 50), (20, 16, 80), (20, 17, 48)]
)
def test_slices_and_few_elements_move_alone(size: int, differ: int, count: int) -> None:
    """Sixteen slices, and sixteen elements, each up and down, after sixteen shifts of many at once."""
    x = torch.ones(size, dtype=torch.float64)
    shifts = list(_shifts({"x": x}, "x", torch.arange(size) < differ, 1e-3))
    assert len(shifts) == count
    moved = [one["x"] - x for one in shifts[16:]]
    assert {round(float(one.abs().max()), 9) for one in moved} == {1e-3}
    for element in range(min(size, 16)):
        assert any(float(one[element]) > 0 for one in moved) and any(float(one[element]) < 0 for one in moved)


def test_an_element_moves_by_a_half_to_the_whole_of_the_size_relative_to_itself_or_the_mean() -> None:
    x = torch.cat([torch.full((500,), 4.0), torch.zeros(500)]).double()
    moved = _moved({"x": x, "n": 3}, 1e-2, torch.Generator().manual_seed(0), 1.0)
    assert moved["n"] == 3
    steps = (moved["x"] - x).abs() / 1e-2
    for part, scale in ((steps[:500], 4.0), (steps[500:], 2.0)):
        assert 0.5 * scale <= float(part.min()) < 0.55 * scale and 0.95 * scale < float(part.max()) <= scale


TIE = torch.tensor([[1.0, 0.0], [0.0, 1.0]])


@pytest.mark.parametrize(
    ("got", "seen", "fits"),
    [
        ([0.5, 0.5], TIE, True),
        ([1.0, 1.0], TIE, False),
        ([0.53, 0.53], TIE, True),
        ([0.55, 0.55], TIE, False),
        ([1.0, 1.0], TIE + torch.tensor([[0.0, 0.0], [0.0, 0.019]]), False),
        ([1.0, 1.0], TIE + torch.tensor([[0.0, 0.0], [0.0, 0.021]]), True),  # the sum changes nearby, too
        ([[1.0, 1.0], [0.0, 0.0]], torch.stack([TIE, TIE.flip(1)]), False),  # of each row one is the largest
        ([[1.0, 0.0], [1.0, 0.0]], torch.stack([TIE, TIE.flip(0)]), False),  # of each column
        ([[0.5, 0.5], [0.5, 0.5]], torch.stack([TIE, TIE.flip(1)]), True),
    ],
)
def test_what_ties_share_out_adds_up(got: list, seen: Tensor, fits: bool) -> None:
    assert _sums_fit(torch.tensor(got), seen[0], seen) is fits


TURN = torch.tensor([[0.0, 1.0], [-1.0, 0.0]], dtype=torch.float64)
MATRIX = torch.tensor([[2.0, 0.5], [0.5, 1.0]], dtype=torch.float64)


def matrix(off: float = 0.0, unlike: float = 0.1, value: Tensor = MATRIX, total: Callable | None = None) -> Kink | None:
    """`got` is off by a turn, and the slope of the values by `unlike` of the reference's gradient, 1.0 in norm."""
    own = torch.full((2, 2), 0.5, dtype=torch.float64)
    linear = Bench(lambda _: {}, lambda _: {}, lambda v: float((v["a"] * (own + unlike * TURN / 2)).sum()))
    got = own + TURN + off * torch.eye(2, dtype=torch.float64)
    return _symmetric("a", got, own, {"a": value}, linear if total is None else linear._replace(total=total))


@pytest.mark.parametrize(("unlike", "told"), [(0.0, False), (3e-4, False), (1.5e-3, True), (0.1, True)])
def test_a_reference_that_is_off_in_antisymmetric_directions_by_a_thousandth_took_the_matrix_for_symmetric(
    unlike: float, told: bool
) -> None:
    kink = matrix(unlike=unlike)
    assert (kink is not None) is told
    assert kink is None or (kink.valid and not kink.shifted and "symmetric changes of a" in kink.said)


@pytest.mark.parametrize(("off", "told"), [(0.009, True), (0.011, False)])
def test_a_gradient_that_is_off_in_symmetric_directions_by_a_fiftieth_is_wrong(off: float, told: bool) -> None:
    assert (matrix(off) is not None) is told


@pytest.mark.parametrize(("roundings", "told"), [(15, True), (17, False)])
def test_a_matrix_is_symmetric_to_sixteen_roundings_of_its_largest_number(roundings: int, told: bool) -> None:
    value = MATRIX.clone()
    value[0, 1] += roundings * 2 * torch.finfo(torch.float64).eps
    assert (matrix(value=value) is not None) is told


def test_vectors_and_oblong_and_complex_matrices_are_not_symmetric() -> None:
    for value in (MATRIX[0], MATRIX[:1], MATRIX.to(torch.complex128)):
        assert matrix(value=value) is None


def test_the_step_of_a_difference_is_small_enough_for_a_curved_function() -> None:
    """A wave of 300 radians a unit, whose slope at the matrix itself is that of the gradient, 0.5 each."""

    def total(values: Any) -> float:
        a = values["a"] - MATRIX
        turned = a[0, 1] - a[1, 0]
        return float(0.5 * a.sum() + 2 * ((300 * turned).sin() / 300 - turned))

    assert matrix(total=total) is None
