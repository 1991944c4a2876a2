"""Sums of terms: which is missing, twice, or has another sign, and when that is not said."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.by_terms import (
    _proportional,
    incomplete_upstream,
    nothing,
    one_term,
    several_terms,
)
from backproof.proof.causes.fault import Fault
from backproof.proof.report.certainty import Certainty

Make = Callable[..., Fault]

UP = torch.arange(1.0, 6.0, dtype=torch.float64)


def fan(count: int) -> dict[str, Tensor]:
    """x read by r0, r1, ...: so many shares, none a multiple of another."""
    x = torch.linspace(0.5, 2, 12, dtype=torch.float64).reshape(4, 3).requires_grad_()
    readers = {f"r{number}": (x * (number + 1)).sin() * (number + 1) for number in range(count)}
    return dict(x=x, **readers, loss=torch.stack([(value**2).sum() for value in readers.values()]).sum())


def shares(fault: Fault) -> dict[str, Tensor]:
    return {term.reader: term.tensor for term in fault.terms}


def right(values: dict[str, Tensor], name: str = "x") -> Tensor:
    return torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0]


@pytest.mark.parametrize(
    ("c", "cause", "said"), [(0, "F6", "is missing"), (2, "F6", "is counted twice"), (-1, "F13", "has the wrong sign")]
)
def test_one_share_of_several(fault_of: Make, c: int, cause: str, said: str) -> None:
    values = fan(3)
    share = shares(fault_of(values, "x", right(values)))["r1"]
    fault = fault_of(values, "x", right(values) + (c - 1) * share)
    (found,) = one_term(fault)
    assert found.cause == cause
    assert found.headline == f"the share that comes back through r1 {said}"
    assert found.mended is not None and torch.allclose(found.mended, right(values))


@pytest.mark.parametrize(("c", "cause", "factor"), [(0.5, "F12", "1/2"), (4.0, "F8", "4"), (1.37, "F12", "1.37")])
def test_one_share_off_by_a_factor(fault_of: Make, c: float, cause: str, factor: str) -> None:
    values = fan(3)
    share = shares(fault_of(values, "x", right(values)))["r1"]
    (found,) = one_term(fault_of(values, "x", right(values) + (c - 1) * share))
    assert found.cause == cause and found.headline.endswith(f"through r1 is off by the constant factor {factor}")
    assert found.mended is None or torch.allclose(found.mended, right(values))


def test_three_numbers_are_too_few_to_tell_a_factor_of_one_share(fault_of: Make) -> None:
    for count, told in ((3, 0), (4, 1)):
        x = torch.linspace(0.5, 2, count, dtype=torch.float64).requires_grad_()
        a, b = x.sin(), x.exp()
        values = dict(x=x, a=a, b=b, loss=a.sum() + b.sum())
        got = right(values) + x.detach().exp()
        assert len(list(one_term(fault_of(values, "x", got)))) == 1  # b twice needs no such many
        got = right(values) - 0.5 * x.detach().exp()
        assert len(list(one_term(fault_of(values, "x", got)))) == told


def test_a_single_share_is_no_sum(fault_of: Make) -> None:
    values = fan(1)
    assert not list(one_term(fault_of(values, "x", 2 * right(values))))


def test_a_term_that_is_the_gradient_times_a_number_is_left_to_the_constants(fault_of: Make) -> None:
    """y = 2x + 3x in one line: leaving a term out multiplies the gradient, and the factor says it all."""
    x = torch.linspace(0.5, 2, 5, dtype=torch.float64).requires_grad_()
    y = 2.0 * x + 3.0 * x
    values = dict(x=x, y=y, loss=(y * UP).sum())
    assert not list(one_term(fault_of(values, "x", right(values) * 3 / 5)))
    a, b = 2.0 * x, 3.0 * x
    values = dict(x=x, a=a, b=b, loss=((a + b) * UP).sum())
    (found,) = one_term(fault_of(values, "x", right(values) * 3 / 5))  # two lines read it: one is forgotten
    assert found.headline == "the share that comes back through a is missing"


@pytest.mark.parametrize(("off", "same"), [(0.9e-5, True), (1.2e-5, False)])
def test_proportional_to_a_hundred_thousandth(off: float, same: bool) -> None:
    a = torch.tensor([1.0, 0.0], dtype=torch.float64)
    b = torch.tensor([1.0, off], dtype=torch.float64)
    assert _proportional(b, 7 * a) is same
    assert not _proportional(a, torch.zeros(2, dtype=torch.float64))


def test_a_whole_share_of_several_terms_is_not_taken_for_one_of_them(fault_of: Make) -> None:
    x = torch.linspace(0.5, 2, 5, dtype=torch.float64).requires_grad_()
    a, b = x.sin() + x.exp(), x.cos() + x**3
    values = dict(x=x, a=a, b=b, loss=(a * UP).sum() + (b * UP).sum())
    (lost,) = torch.autograd.grad((a * UP).sum(), x, retain_graph=True)
    (found,) = one_term(fault_of(values, "x", right(values) - lost))
    assert found.headline == "the share that comes back through a is missing"
    assert "equals the share of b alone" in found.why


def test_a_term_inside_a_line_is_named_by_its_expression(fault_of: Make) -> None:
    x = torch.linspace(0.5, 2, 5, dtype=torch.float64).requires_grad_()
    y = x.sin() + x.exp()
    values = dict(x=x, y=y, loss=(y * UP).sum())
    got = right(values) - UP * x.detach().exp()
    (found,) = one_term(fault_of(values, "x", got))
    assert found.headline == "the term that comes back through exp(x), in y = sin(x) + exp(x), is missing"
    assert found.mended is not None and torch.allclose(found.mended, right(values))
    (found,) = one_term(fault_of(values, "x", right(values) - 0.3 * UP * x.detach().exp()))
    assert found.cause == "F14"  # an odd factor of a term inside is another formula


@pytest.mark.parametrize(
    ("count", "left_out", "told"), [(3, (0, 2), True), (8, (1, 4, 6), True), (9, (1, 4, 6), False), (2, (0, 1), False)]
)
def test_several_shares_left_out_of_up_to_eight(
    fault_of: Make, count: int, left_out: tuple[int, ...], told: bool
) -> None:
    """Of nine, 500 sums could be made, and one would fit by chance."""
    values = fan(count)
    parts = shares(fault_of(values, "x", right(values)))
    got = right(values) - sum((parts[f"r{i}"] for i in left_out), torch.zeros(4, 3))
    found = list(several_terms(fault_of(values, "x", got)))
    assert [one.cause for one in found] == ["F6"] * told
    if told:
        assert found[0].headline.startswith("the shares that come back through r")
        assert found[0].mended is not None and torch.allclose(found[0].mended, right(values))


@pytest.mark.parametrize(("c", "cause", "said"), [(-1, "F13", "have the wrong sign"), (2, "F6", "are counted twice")])
def test_two_shares_with_wrong_signs_or_twice(fault_of: Make, c: int, cause: str, said: str) -> None:
    values = fan(4)
    parts = shares(fault_of(values, "x", right(values)))
    (found,) = several_terms(fault_of(values, "x", right(values) + (c - 1) * (parts["r1"] + parts["r3"])))
    assert found.cause == cause
    assert found.headline in {f"the shares that come back through {two} {said}" for two in ("r1 and r3", "r3 and r1")}
    assert found.mended is not None and torch.allclose(found.mended, right(values))


def test_a_share_as_small_as_rounding_cannot_be_missing(fault_of: Make) -> None:
    x = torch.ones(5, requires_grad=True)
    a, b, c = x * 1.0, x * 1e-12, x.exp()
    values = dict(x=x, a=a, b=b, c=c, loss=a.sum() + b.sum() + c.sum())
    (found,) = one_term(fault_of(values, "x", torch.full((5,), 2.718281828)))
    assert found.headline == "the share that comes back through a is missing"


def test_zeros(fault_of: Make) -> None:
    values = fan(2)
    (found,) = nothing(fault_of(values, "x", torch.zeros(4, 3, dtype=torch.float64)))
    assert found.cause == "F4" and found.certainty is Certainty.SEEN and "through r1 and r0" in found.why
    almost = torch.zeros(4, 3, dtype=torch.float64)
    almost[1, 2] = 1e-9
    assert not list(nothing(fault_of(values, "x", almost)))


def test_an_upstream_gradient_that_was_not_complete(fault_of: Make) -> None:
    x = torch.linspace(0.5, 2, 5, dtype=torch.float64).requires_grad_()
    y = x**2
    a, b = y.sin(), y.exp()
    values = dict(x=x, y=y, a=a, b=b, loss=a.sum() + b.sum())
    early = y.detach().cos() * 2 * x.detach()
    (found,) = incomplete_upstream(fault_of(values, "x", early))
    assert found.cause == "F6" and found.headline == "it was computed from dy before dy was complete"
    late = y.detach().exp() * 2 * x.detach()
    assert len(list(incomplete_upstream(fault_of(values, "x", late)))) == 1
    assert not list(incomplete_upstream(fault_of(values, "x", late, without=("y",))))  # nobody gave dy
    assert not list(incomplete_upstream(fault_of(values, "x", 3 * late)))
