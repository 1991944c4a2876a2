"""Elementwise factors and functions of one value: how exactly each is met, and how many places are looked at."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.by_functions import (
    _clear,
    _fits,
    _neighbours,
    _reordered,
    _rounded,
    fitting,
    handed_on,
    other_function,
)
from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault

Make = Callable[..., Fault]
Function = Callable[[Tensor], Tensor]


def one_line(function: Function, at: Tensor) -> dict[str, Tensor]:
    """y = f(x), and another upstream gradient for every element."""
    x = at.double().clone().requires_grad_()
    up = torch.randn(x.shape, generator=torch.Generator().manual_seed(5), dtype=torch.float64) + 3
    y = function(x)
    return dict(x=x, y=y, loss=(y * up).sum())


def found_in(make: Make, values: dict[str, Tensor], wrong: Function) -> Finding | None:
    """What other_function finds where the line is dy · wrong(x)."""
    up = torch.autograd.grad(values["loss"], values["y"], retain_graph=True)[0]
    return next(other_function(make(values, "x", up * wrong(values["x"].detach()))), None)


AT = torch.linspace(0.5, 2.5, 40)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        (lambda x: 1 - x**2, "1 - x**2"),
        (lambda x: x + 2 * x**3, "x + 2 * x**3"),
        (lambda x: 3 / x, "3 * 1/x"),
        (lambda x: x**-2 - x, "-x + 1/x**2"),
        (lambda x: x.sqrt() + 1, "1 + x**0.5"),
        (lambda x: -x.exp(), "-exp(x)"),
        (lambda x: 1 / (1 + x**2), "1 / (1 + x**2)"),
        (lambda x: 2.5 + x.exp(), "2.5 + exp(x)"),
    ],
)
def test_two_terms_of_a_small_basis(fault_of: Make, wrong: Function, text: str) -> None:
    found = found_in(fault_of, one_line(torch.sin, AT), wrong)
    assert found is not None and found.cause == "F14"
    assert f"equals dy * ({text}), to rounding" in found.why


@pytest.mark.parametrize("wrong", [lambda x: (x > 0) * 2.0 + 1, lambda x: (x < 0) * 2.0 - 1])
def test_a_step_is_one_of_the_basis(fault_of: Make, wrong: Function) -> None:
    found = found_in(fault_of, one_line(torch.sin, torch.linspace(-2, 2, 40)), wrong)
    assert found is not None and "(x" in found.why


@pytest.mark.parametrize(("distinct", "tells"), [(6, True), (5, False)])
def test_two_weights_need_six_different_values_to_be_told_by(fault_of: Make, distinct: int, tells: bool) -> None:
    at = torch.linspace(0.5, 2.5, distinct).repeat(4)
    assert (found_in(fault_of, one_line(torch.sin, at), lambda x: 1 - x**2) is not None) is tells


@pytest.mark.parametrize(("count", "tells"), [(6, True), (5, False)])
def test_and_six_elements_that_stand_clear(fault_of: Make, count: int, tells: bool) -> None:
    at = torch.linspace(0.5, 2.5, count)
    assert (found_in(fault_of, one_line(torch.sin, at), lambda x: 1 - x**2) is not None) is tells


def test_twenty_four_elements_are_looked_at_spread_evenly(fault_of: Make) -> None:
    """Enough for two weights, and few for every pair of the basis."""
    for count, looked_at in ((23, 23), (24, 24), (25, 24), (500, 24)):
        values = one_line(torch.sin, torch.linspace(0.5, 2.5, count))
        fault = fault_of(values, "x", torch.zeros(count, dtype=torch.float64))
        chosen = _clear(fault, fault.parts[0], fault.parts[0].upstream)
        assert len(chosen) == looked_at and chosen[0] == 0 and chosen[-1] == count - 1


@pytest.mark.parametrize(("times", "count"), [(45, 0), (55, 8)])
def test_an_upstream_gradient_below_fifty_roundings_tells_nothing(fault_of: Make, times: float, count: int) -> None:
    """The quotient by it would be off by a fiftieth."""
    values = one_line(torch.sin, torch.linspace(0.5, 2.5, 8))
    fault = fault_of(values, "x", torch.zeros(8, dtype=torch.float64), allowed=1.0)
    upstream = torch.full((8,), times * 0.501, dtype=torch.float64)
    assert len(_clear(fault, fault.parts[0], upstream)) == count


@pytest.mark.parametrize(("off", "fits"), [(1.7e-3, True), (2.3e-3, False)])
def test_a_fit_on_the_sample_may_be_off_by_two_thousandths(off: float, fits: bool) -> None:
    """All elements are held against their rounding afterwards; this spares the search hopeless ones."""
    at = torch.linspace(0.5, 2.5, 24, dtype=torch.float64)
    right = at**3
    noise = torch.randn(24, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    noise -= right * (noise @ right) / (right @ right)
    target = right + noise * (off * right.norm() / noise.norm())
    alone = [terms for terms, _ in _fits(target, at) if [text for text, _ in terms] == ["{x}**3"]]
    assert bool(alone) is fits


def test_a_function_alone_has_no_constant_beside_it() -> None:
    at = torch.linspace(0.5, 2.5, 24, dtype=torch.float64)
    found = [[text for text, _ in terms] for terms, _ in _fits(2 + 3 * at**3, at)]
    assert found[0] == ["1", "{x}**3"] and ["{x}**3"] not in found


@pytest.mark.parametrize(
    ("w", "rounded"), [(2.019, 2.0), (2.021, 2.021), (0.2409, 0.25), (0.2390, 0.2390), (-1.009, -1.0), (-1.011, -1.011)]
)
def test_a_weight_within_a_hundredth_of_a_quarter_is_meant_as_one(w: float, rounded: float) -> None:
    """If it then fits: it is tried as it was found as well."""
    assert _rounded(w) == rounded
    at = torch.linspace(0.5, 2.5, 24, dtype=torch.float64)
    tried = [weights for terms, weights in _fits(w * at**3, at) if [text for text, _ in terms] == ["{x}**3"]]
    assert tried[0] == pytest.approx([rounded], rel=1e-12) and tried[1] == pytest.approx([w])


@pytest.mark.parametrize(
    ("weights", "tells"), [((3.75, -2.0), True), ((4.0, 1.0), True), ((4.25, 1.0), False), ((1.3, -0.7), False)]
)
def test_plain_weights_speak_for_themselves_up_to_four(fault_of: Make, weights: tuple, tells: bool) -> None:
    first, second = weights
    found = found_in(fault_of, one_line(torch.sin, AT), lambda x: first * x**2 + second * x.exp())
    assert (found is not None) is tells


@pytest.mark.parametrize(("share", "tells"), [(0.0, False), (0.006, False), (0.015, True), (0.5, True)])
def test_other_weights_only_where_the_right_derivative_has_the_same_two_terms(
    fault_of: Make, share: float, tells: bool
) -> None:
    """Each of them more than a hundredth of it; else any two functions would do."""
    at = AT.double()
    k = share * float((at**2).norm() / at.exp().norm())
    values = one_line(lambda x: x**3 / 3 + k * x.exp(), AT)
    found = found_in(fault_of, values, lambda x: 0.37 * x**2 + 0.71 * x.exp())
    assert (found is not None) is tells


def test_the_upstream_gradient_of_an_inverse_form_is_held_against_the_inverse(fault_of: Make) -> None:
    values = one_line(lambda x: (1.3 + 0.7 * x**2).log(), AT)
    assert found_in(fault_of, values, lambda x: 1 / (1.7 + 0.3 * x.exp())) is None
    values = one_line(lambda x: torch.atan(x), AT)  # 1 / (1 + x²)
    found = found_in(fault_of, values, lambda x: 1 / (1.37 + 0.61 * x**2))
    assert found is not None and "1 / (1.37 + 0.61 * x**2)" in found.why


def test_a_product_with_a_value_that_belongs_there_is_no_other_function(fault_of: Make) -> None:
    x, w = AT.double().requires_grad_(), AT.flip(0).double()
    w = (w * 1.0).requires_grad_()
    y = x * w.exp()
    values = dict(x=x, w=w, y=y, loss=(y * torch.linspace(1, 2, 40)).sum())
    up = torch.linspace(1, 2, 40).double()
    assert not list(other_function(fault_of(values, "x", up * w.detach())))
    assert not list(other_function(fault_of(values, "x", -up * w.detach())))
    assert list(other_function(fault_of(values, "x", up * w.detach() ** 2)))


def test_a_gradient_where_a_forward_value_belongs(fault_of: Make) -> None:
    values = one_line(torch.sin, AT)
    z = values["y"] * 2.0
    values = {**values, "z": z, "loss": (z * torch.linspace(1, 2, 40)).sum()}
    up, further = torch.autograd.grad(values["loss"], [values["y"], z], retain_graph=True)
    fault = fault_of(values, "x", up * (1 - further**2))
    found = next(other_function(fault))
    assert (found.cause == "F15" and "the gradient dy stands" in found.headline) or "the gradient dz" in found.headline
    assert not list(other_function(fault_of(values, "x", up / further)))  # nobody divides by a gradient


@pytest.mark.parametrize(("count", "named"), [(3, 3), (16, 16), (20, 16)])
def test_sixteen_values_of_the_same_shape_from_other_lines_are_tried(fault_of: Make, count: int, named: int) -> None:
    values = one_line(torch.sin, AT)
    extra = {f"e{number}": values["x"].detach() + number for number in range(count)}
    total = values["loss"]
    for name, value in extra.items():
        extra[name] = value.requires_grad_()
        total = total + (value**2).sum()
    fault = fault_of({**extra, **values, "loss": total}, "x", torch.zeros(40, dtype=torch.float64))
    alike = [name for name, _ in _neighbours(fault, fault.parts[0])]
    assert {"x", "y"} <= set(alike)
    own = [name for name in fault.graph.names if fault.graph.values[name].shape == (40,)]
    assert len(alike) == len({"x", "y", *own[:16]})


@pytest.mark.parametrize(("off", "same"), [(0.9e-5, True), (1.1e-5, False)])
def test_the_same_numbers_in_other_places(off: float, same: bool) -> None:
    """To a hundred thousandth, as float32 may have summed them: then only their places can be wrong."""
    a = torch.arange(1.0, 9.0, dtype=torch.float64)
    assert _reordered(a.flip(0) * (1 + off), a) is same
    assert _reordered(a.reshape(2, 4), a)
    assert not _reordered(a[:4], a)


def test_an_upstream_gradient_handed_on_names_the_factor_that_is_missing(fault_of: Make) -> None:
    x, w = AT.double().requires_grad_(), AT.flip(0).double().requires_grad_()
    y = x * w
    up = torch.linspace(1, 2, 40).double()
    values = dict(x=x, w=w, y=y, loss=(y * up).sum())
    (found,) = handed_on(fault_of(values, "x", up.clone()))
    assert found[:4] == (
        "F16",
        "dy is handed on without w",
        "your gradient equals dy to rounding; the derivative of y = x * w is left out.",
        "multiply dy by w",
    )
    plain = one_line(torch.sin, AT)
    up = torch.autograd.grad(plain["loss"], plain["y"], retain_graph=True)[0]
    (found,) = handed_on(fault_of(plain, "x", up.clone()))
    assert found.next == "multiply dy by the derivative of y = sin(x)"


def test_a_share_that_is_the_upstream_gradient_itself_is_not_handed_on_wrongly(fault_of: Make) -> None:
    x = AT.double().requires_grad_()
    up = torch.linspace(1, 2, 40).double()
    y = x.flip(0)
    values = dict(x=x, y=y, loss=(y * up).sum())
    assert not list(handed_on(fault_of(values, "x", up.clone())))  # only its order is wrong


def test_a_gradient_brought_to_a_shape() -> None:
    g = torch.arange(6.0).reshape(2, 3)
    assert fitting(g, g.shape) is g
    summed, spread = fitting(g, torch.Size([3])), fitting(g[:1], torch.Size([4, 3]))
    assert summed is not None and summed.tolist() == [3.0, 5.0, 7.0]
    assert spread is not None and spread.shape == (4, 3)
    assert fitting(g, torch.Size([4])) is None


@pytest.mark.parametrize(("times", "says"), [(-1, "is left out"), (1, "does not belong there")])
def test_an_exponential_that_is_left_out_or_too_many(fault_of: Make, times: int, says: str) -> None:
    s, x, up = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    s.requires_grad_()
    y = x * torch.exp(s)
    values = dict(s=s, y=y, loss=(y * up).sum())
    right = torch.autograd.grad(values["loss"], s, retain_graph=True)[0]
    (found,) = other_function(fault_of(values, "s", right * (times * s.detach()).exp()))
    assert (found.cause, found.headline) == ("F16", f"the factor exp(s) {says}")
    assert found.mended is not None and torch.allclose(found.mended.float(), right)
