"""What is known around one wrong gradient, and how close a candidate has to come to explain it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.fault import Fault

Make = Callable[..., Fault]


def numbers(make: Make, expected: float, got: float, *, allowed: float, eps: float | None = None) -> Fault:
    """A gradient of four equal elements, and what the user has in its place."""
    x = torch.ones(4, dtype=torch.float64, requires_grad=True)
    values = dict(x=x, loss=(x * expected).sum())
    return make(values, "x", torch.full((4,), got, dtype=torch.float64), allowed=allowed, eps=eps)


def off(fault: Fault, by: float) -> Tensor:
    return fault.got - by


@pytest.mark.parametrize(("by", "fits"), [(0.0, True), (1.9, True), (2.1, False), (-1.9, True), (-2.1, False)])
def test_a_fit_may_be_off_by_a_fiftieth_of_the_fault(fault_of: Make, by: float, fits: bool) -> None:
    """The fault is 100 here; and all of it is allowed, as far as rounding goes."""
    fault = numbers(fault_of, 1000.0, 1100.0, allowed=60.0)
    assert fault.explains(off(fault, by)) is fits


@pytest.mark.parametrize(("by", "fits"), [(0.19, True), (0.21, False)])
def test_of_a_small_gradient_for_a_large_one_a_fiftieth_of_itself(fault_of: Make, by: float, fits: bool) -> None:
    fault = numbers(fault_of, 1000.0, 10.0, allowed=60.0)
    assert fault.explains(off(fault, by)) is fits


@pytest.mark.parametrize(("by", "fits"), [(19.0, True), (21.0, False)])
def test_of_zeros_a_fiftieth_of_the_fault(fault_of: Make, by: float, fits: bool) -> None:
    fault = numbers(fault_of, 1000.0, 0.0, allowed=60.0)
    assert fault.explains(off(fault, by)) is fits


@pytest.mark.parametrize(("by", "fits"), [(3.9, True), (4.1, False)])
def test_in_low_precision_four_roundings_of_the_fault(fault_of: Make, by: float, fits: bool) -> None:
    fault = numbers(fault_of, 1000.0, 1100.0, allowed=60.0, eps=0.01)
    assert fault.explains(off(fault, by)) is fits


@pytest.mark.parametrize(("by", "fits"), [(0.9, True), (1.1, False)])
def test_no_element_may_be_off_by_more_than_rounding_allows(fault_of: Make, by: float, fits: bool) -> None:
    fault = numbers(fault_of, 1000.0, 1e6, allowed=1.0, eps=1e-16)
    candidate = fault.got.clone()
    candidate[2] -= by
    assert fault.explains(candidate) is fits


def test_large_numbers_may_be_off_by_their_own_rounding(fault_of: Make) -> None:
    """Sixteen roundings of the number itself, beside what is allowed for its terms."""
    fault = numbers(fault_of, 1.0, 1e6, allowed=1e-3, eps=1e-9)
    assert fault.relative == pytest.approx(16e-9)
    assert fault.explains(fault.got * (1 - 15e-9)) and not fault.explains(fault.got * (1 - 19e-9))


def test_another_shape_explains_nothing(fault_of: Make) -> None:
    fault = numbers(fault_of, 1.0, 2.0, allowed=1e-3)
    assert fault.explains(fault.got) and not fault.explains(fault.got.reshape(2, 2))


def test_a_misfit_outside_the_sample_is_seen(fault_of: Make) -> None:
    """A candidate is tried on 96 elements first, and then on all."""
    x = torch.ones(5000, dtype=torch.float64, requires_grad=True)
    fault = fault_of(dict(x=x, loss=x.sum()), "x", torch.full((5000,), 2.0, dtype=torch.float64))
    for element in range(0, 5000, 450):
        candidate = fault.got.clone()
        candidate[element] = 3.0
        assert not fault.explains(candidate)


@pytest.mark.parametrize(("eps", "precise"), [(1.2e-3, True), (1.3e-3, False)])
def test_float16_is_precise_enough_for_many_formulas_and_bfloat16_is_not(
    fault_of: Make, eps: float, precise: bool
) -> None:
    """Up to half a hundredth, four roundings: 3.9e-3 for float16 and 3.1e-2 for bfloat16."""
    assert numbers(fault_of, 1.0, 2.0, allowed=1e-3, eps=eps).precise is precise


def test_the_unit_of_fits_is_an_elements_own_terms_and_a_thousandth_of_the_others(fault_of: Make) -> None:
    fault = numbers(fault_of, 1.0, 2.0, allowed=1.0)
    assert fault.measure.tolist() == pytest.approx([0.5 + 1e-3] * 4)
    fault.yardstick.fine.zero_()
    del fault.measure
    assert fault.measure.tolist() == pytest.approx([1e-3] * 4)
    fault.yardstick.allowed.zero_()
    fault.allowed.zero_()
    del fault.measure
    assert bool((fault.measure > 0).all())  # it is divided by


@pytest.mark.parametrize(("expected", "count"), [(4.1 * 0.501, 4), (3.9 * 0.501, 0)])
def test_an_element_stands_clear_of_rounding_at_four_units(fault_of: Make, expected: float, count: int) -> None:
    assert numbers(fault_of, expected, 2.0, allowed=1.0).informative == count


def line(steps: int) -> dict[str, Tensor]:
    """One line of so many steps: x is read by y, with one place less than steps between."""
    x = torch.linspace(0.1, 0.9, 5, dtype=torch.float64).requires_grad_()
    y = x
    for _ in range(steps):
        y = y.sin()
    return dict(x=x, y=y, loss=(y * torch.arange(1.0, 6.0)).sum())


@pytest.mark.parametrize(("steps", "stages"), [(1, 0), (3, 2), (7, 6), (8, 6), (12, 6)])
def test_six_steps_inside_a_line_are_tried(fault_of: Make, steps: int, stages: int) -> None:
    fault = fault_of(line(steps), "x", torch.ones(5, dtype=torch.float64))
    inside = fault.inside()
    assert len(inside.parts) == stages
    for part in inside.parts:
        assert part.line.endswith(f"within {fault.parts[0].line}") and part.d.startswith("d(")
        made = inside.through(part, part.upstream)
        assert made is not None and torch.allclose(made, fault.expected)
    assert len(fault.parts) == 1


def test_a_step_that_another_value_reads_too_gets_what_comes_from_its_own_line(fault_of: Make) -> None:
    """x -> sin(x), without a name, -> y and a; a has a name and is read by y."""
    x = torch.linspace(0.1, 0.9, 5, dtype=torch.float64).requires_grad_()
    s = x.sin()
    a = s.exp()
    y = s * a
    values = dict(x=x, a=a, y=y, loss=(y * torch.arange(1.0, 6.0)).sum())
    inside = fault_of(values, "x", torch.ones(5, dtype=torch.float64)).inside()
    stages = {part.reader: part for part in inside.parts if part.d == "d(sin(x))"}
    assert set(stages) == {"a", "y"}
    assert torch.allclose(stages["y"].upstream, (a * torch.arange(1.0, 6.0)).detach())


def test_a_search_ends_after_twelve_hundred_backward_passes(fault_of: Make) -> None:
    """Some ten seconds on a large graph; the passes of a search inside the line are counted with the others."""
    fault = fault_of(line(2), "x", torch.ones(5, dtype=torch.float64))
    part, inside = fault.parts[0], fault.inside()
    spent = 1 + len(inside.parts)  # of the window, and of each stage
    made = [inside.through(part, part.upstream) is not None for _ in range(1210 - spent)]
    assert 1200 - 5 <= sum(made) <= 1200
    assert fault.through(part, part.upstream) is None


def two_readers() -> dict[str, Tensor]:
    x = torch.linspace(1, 2, 6, dtype=torch.float64).reshape(3, 2).requires_grad_()
    u, v = x * 3.0, x.exp()
    return dict(x=x, u=u, v=v, loss=(u * v).sum())


def test_a_part_is_what_the_gradient_leaves_for_one_reader(fault_of: Make) -> None:
    values = two_readers()
    got = torch.full((3, 2), 7.0, dtype=torch.float64)
    fault = fault_of(values, "x", got)
    u, v = sorted(fault.parts, key=lambda part: part.reader)
    assert (u.reader, v.reader) == ("u", "v") and not u.alone
    assert torch.allclose(u.expected + v.expected, fault.expected)
    assert torch.allclose(u.got, got - v.expected) and torch.allclose(v.got, got - u.expected)
    assert torch.allclose(u.whole(u.expected), fault.expected)
    assert u.subject == "what stands for the share through u"
    assert torch.allclose(u.upstream, values["v"].detach())
    assert fault.siblings("loss") == () or "x" not in fault.siblings("loss")
    assert set(fault.local("u")) == {"u", "x"}


def test_the_terms_of_one_reader_make_its_share(fault_of: Make) -> None:
    x = torch.linspace(1, 2, 6, dtype=torch.float64).requires_grad_()
    y = x * 2.0 + x.exp()
    values = dict(x=x, y=y, z=x * 5.0)
    values["loss"] = (values["y"] * values["z"]).sum()
    fault = fault_of(values, "x", torch.zeros(6, dtype=torch.float64))
    (share,) = fault.shares
    assert share.reader == "y" and len([term for term in fault.terms if term.reader == "y"]) == 2
    assert torch.allclose(share.tensor, (2.0 + x.exp()).detach() * values["z"].detach())
    assert torch.allclose(sum((term.tensor for term in fault.terms), torch.zeros(6)), fault.expected)


def test_a_reader_that_sees_a_block_has_a_window(fault_of: Make) -> None:
    x = torch.linspace(1, 2, 20, dtype=torch.float64).reshape(5, 4).requires_grad_()
    a, b = x[1:4, :3].exp(), x.sin()
    values = dict(x=x, a=a, b=b, loss=a.sum() + b.sum())
    fault = fault_of(values, "x", torch.zeros(5, 4, dtype=torch.float64))
    parts = {part.reader: part for part in fault.parts}
    assert parts["a"].window == (slice(1, 4), slice(0, 3))
    assert parts["a"].got.shape == parts["a"].expected.shape == (3, 3)
    assert parts["b"].window == (slice(None), slice(None))
    assert torch.allclose(parts["a"].whole(parts["a"].expected), fault.expected)


def test_a_block_that_is_no_block_has_none(fault_of: Make) -> None:
    """Rows 0, 2 and 4: nothing to cut the value down to."""
    x = torch.linspace(1, 2, 20, dtype=torch.float64).reshape(5, 4).requires_grad_()
    a = x[::2].exp()
    fault = fault_of(dict(x=x, a=a, loss=a.sum()), "x", torch.zeros(5, 4, dtype=torch.float64))
    assert fault.parts[0].window == (slice(None), slice(None))
    assert fault.parts[0].alone and fault.parts[0].subject == "your gradient"


def test_what_is_sent_back_is_brought_to_the_readers_dtype_and_shape(fault_of: Make) -> None:
    x = torch.linspace(1, 2, 6).reshape(2, 3).requires_grad_()
    y = x.exp()
    fault = fault_of(dict(x=x, y=y, loss=y.sum()), "x", torch.zeros(2, 3))
    for upstream in (torch.tensor(2.0).double(), torch.full((1, 3), 2.0), torch.full((2, 3), 2.0).double()):
        made = fault.back("y", upstream)
        assert made is not None and torch.allclose(made, 2 * y.detach().double())


def test_a_block_from_which_nothing_comes_back_has_none(fault_of: Make) -> None:
    x = torch.linspace(1, 2, 20, dtype=torch.float64).reshape(5, 4).requires_grad_()
    a, b = x[1:4, :3] * 0.0, x.sin()
    fault = fault_of(dict(x=x, a=a, b=b, loss=a.sum() + b.sum()), "x", torch.zeros(5, 4, dtype=torch.float64))
    assert [part.window for part in fault.parts] == [(slice(None), slice(None))] * 2


def test_only_gradients_from_further_up_are_at_hand(fault_of: Make) -> None:
    values = two_readers() | {}
    x, u = values["x"], values["u"]
    w = u.cos()
    values = dict(x=x, u=u, w=w, also=w, loss=(w * values["v"]).sum(), v=values["v"])
    fault = fault_of(values, "u", torch.zeros(3, 2, dtype=torch.float64))
    assert set(fault.at_hand) == {"w", "v", "loss"}
    assert fault.inputs == ("x",)
