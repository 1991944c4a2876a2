"""Constant factors: how exactly one must fit, and what each is said to mean."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.by_constants import (
    Meaning,
    _tolerance,
    _whole,
    constant_factor,
    meaning,
    odd_factor,
    sizes,
)
from backproof.proof.causes.fault import Fault
from backproof.proof.check import check

Make = Callable[..., Fault]


def layer(*shape: int, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    """A line without numbers of its own, y = exp(x), and a loss that gives every element another gradient."""
    x = torch.linspace(-1, 1, torch.Size(shape).numel(), dtype=dtype).reshape(shape).requires_grad_()
    y = x.exp()
    return dict(x=x, y=y, loss=(y * torch.linspace(1, 2, x.numel(), dtype=dtype).reshape(shape)).sum())


def own(values: dict[str, Tensor], name: str = "x") -> Tensor:
    return torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0]


def means(make: Make, values: dict[str, Tensor], c: float) -> Meaning | None:
    return meaning(make(values, "x", c * own(values)), c)


@pytest.mark.parametrize(
    ("c", "cause", "factor", "said", "step"),
    [
        (-1, "F13", "-1", "", "flip the sign"),
        (2, "F12", "2", "", "take the factor 2 out"),
        (0.5, "F12", "1/2", "", "put the factor 2 back in, as for x**2"),
        (7, "F8", "7", "1/n is missing", "divide by 7 once"),
        (1 / 7, "F8", "1/7", "1/n is there once too often, or a mean stands for a sum", "multiply by 7"),
        (6 / 7, "F8", "6/7", "n stands where n - 1 belongs", "divide by 6, not 7"),
        (7 / 6, "F8", "7/6", "n - 1 stands where n belongs", "divide by 7, not 6"),
        (6, "F8", "6", "1/(n - 1) is missing", "divide by 6 once"),
        (1 / 6, "F8", "1/6", "1/(n - 1) is there once too often", "multiply by 6"),
        (-7, "F8", "-7", "1/n is missing, and the sign is wrong", "divide by 7 once, and flip the sign"),
        (77, "F8", "77", "dimensions 0 and 1 of x together", "divide by 77 once"),
        (7 / 11, "F8", "7/11", "the sum is divided by the wrong one", "divide by 7, not 11"),
        (7**0.5, "F12", "√7", "7 is dimension 0 of x", "multiply by 1/√7"),
        (11**-0.5, "F12", "1/√11", "11 is dimension 1 of x", "multiply by √11"),
        (1.37, "F12", "1.37", "", "look for a factor 0.729927 that is missing, or 1.37 that is too much"),
    ],
)
def test_what_a_factor_means(fault_of: Make, c: float, cause: str, factor: str, said: str, step: str) -> None:
    found = means(fault_of, layer(7, 11), c)
    assert found is not None
    assert (found.cause, found.factor, found.next) == (cause, factor, step)
    assert said in found.likely
    assert found.odd is (c == 1.37)
    assert found.times is None if found.odd else found.times == pytest.approx(1 / c)


@pytest.mark.parametrize(
    ("correction", "wrong", "advice"), [(1, 0, "divide by 4, not 5"), (0, 1, "divide by 5, not 4")]
)
def test_the_advice_for_a_wrong_count_mends_the_line(fault_of: Make, correction: int, wrong: int, advice: str) -> None:
    """The variance divides by n - correction; the line divides by n - wrong, and is told by what to divide."""
    x = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0], dtype=torch.float64).requires_grad_()
    diff = (x - x.mean()).detach().requires_grad_()
    values = dict(diff=diff, var=diff.square().sum() / (5 - correction), loss=torch.tensor(0.0))
    values["loss"] = values["var"].exp()
    line = 2 * diff.detach() * values["loss"].detach() / (5 - wrong)
    ((found,),) = [list(constant_factor(fault_of(values, "diff", line)))]
    assert found.next == advice


def test_sizes_are_found_near_the_value_and_together(fault_of: Make) -> None:
    x, w = torch.ones(3, 4, 5, requires_grad=True), torch.ones(5, 6)
    values = dict(x=x, w=w.requires_grad_(), y=x @ w)
    values["loss"] = values["y"].sum()
    assert sizes(fault_of(values, "x", torch.zeros(3, 4, 5))) == {
        3: "dimension 0 of x",
        4: "dimension 1 of x",
        5: "dimension 2 of x",
        6: "dimension 2 of y",
        12: "dimensions 0 and 1 of x together",
        15: "dimensions 0 and 2 of x together",
        20: "dimensions 1 and 2 of x together",
        60: "the number of elements of x",
        18: "dimensions 0 and 2 of y together",
        24: "dimensions 1 and 2 of y together",
        72: "the number of elements of y",
    }


@pytest.mark.parametrize(("n", "cause"), [(3, "F8"), (2, None)])
def test_a_size_below_three_is_no_count_to_forget(fault_of: Make, n: int, cause: str | None) -> None:
    """Of two, n - 1 is one, and n / (n - 1) is two: a factor of one says nothing, and of two it is not said why."""
    values = layer(n, 1)
    rough = fault_of(values, "x", own(values), allowed=100.0)  # nothing is clear: a hundredth is near enough
    found = meaning(rough, 1.5 if n == 3 else 1.004)
    assert (found and found.cause) == cause


@pytest.mark.parametrize(("c", "near"), [(2.015, True), (2.03, False), (0.4960, True), (0.493, False)])
def test_a_factor_known_by_rough_numbers_has_to_be_within_a_hundredth(fault_of: Make, c: float, near: bool) -> None:
    values = layer(5, 3)
    for allowed in (100.0, 0.15):  # nothing is clear; clear, and still known to a twentieth only
        found = meaning(fault_of(values, "x", c * own(values), allowed=allowed), c)
        assert (found is not None and found.factor in ("2", "1/2")) is near


def test_many_elements_know_a_factor_better(fault_of: Make) -> None:
    """As well as the largest of them, down to four roundings."""
    values = layer(5, 3)
    largest = float(own(values).abs().max())
    assert _tolerance(fault_of(values, "x", 2 * own(values), allowed=1e-4)) == pytest.approx(1e-4 / largest, rel=1e-6)
    assert _tolerance(fault_of(values, "x", 2 * own(values), allowed=1e-13, eps=1e-5)) == pytest.approx(4e-5)
    clear = fault_of(values, "x", 2 * own(values), allowed=largest / 3.9)
    unclear = fault_of(values, "x", 2 * own(values), allowed=largest / 4.1)
    assert _tolerance(clear) == _tolerance(unclear) == 1e-2


def test_an_element_is_clear_at_four_times_what_is_allowed(fault_of: Make) -> None:
    """Below that its own factor may be anything between a third less and a third more."""
    values = layer(1)
    size = float(own(values))
    for times, known in ((3.5, 1e-2), (4.5, 1e-2)):
        assert _tolerance(fault_of(values, "x", 2 * own(values), allowed=size / times)) == known
    assert _tolerance(fault_of(values, "x", 2 * own(values), allowed=size / 400)) == pytest.approx(1 / 400)


@pytest.mark.parametrize(
    ("line", "c", "factor", "said"),
    [
        (lambda x: x**5, 5.0, "5", "5 is the exponent in y = x**5"),
        (lambda x: x**5, 0.2, "1/5", "5 is the exponent in y = x**5"),
        (lambda x: (x * 1.25).exp(), 1.25, "1.25", "1.25 is a factor in y = exp(x * 1.25)"),
        (lambda x: (x * 1.25).exp(), 0.8, "1/1.25", "1.25 is a factor"),
        (lambda x: (x / 2.5).exp(), 2.5, "2.5", "2.5 is a factor"),
        (lambda x: (x / 13).exp(), 13.0, "13", "13 is a factor"),  # no size here: the denominator itself
        (lambda x: (x / 7).exp(), 7.0, "7", "n = 7 is dimension 0 of x"),  # a size: a count is more likely
        (lambda x: (x * (1 / 7)).exp(), 7.0, "7", "n = 7 is dimension 0 of x"),
    ],
)
def test_a_number_of_the_line_itself(
    fault_of: Make, line: Callable[[Tensor], Tensor], c: float, factor: str, said: str
) -> None:
    x = torch.linspace(0.5, 1.5, 21, dtype=torch.float64).reshape(7, 3).requires_grad_()
    values = dict(x=x, y=line(x))
    values["loss"] = (values["y"] * torch.linspace(1, 2, 21, dtype=torch.float64).reshape(7, 3)).sum()
    found = means(fault_of, values, c)
    assert found is not None and found.factor == factor
    assert said in found.likely


def test_a_factor_of_one_is_no_quotient_of_a_size_and_itself(fault_of: Make) -> None:
    values = layer(8, 5)
    fault = fault_of(values, "x", 1.0009 * own(values), allowed=2e-3)
    found = meaning(fault, 1.0009)
    assert found is not None and found.odd and found.factor == "1.0009"


@pytest.mark.parametrize("power", [0, 1, 2])
def test_the_exponents_zero_one_and_two_are_no_factors(fault_of: Make, power: int) -> None:
    """Of x**2 the factor 2 has a search of its own; 1 changes nothing, and 0 is no divisor."""
    x = torch.linspace(0.5, 1.5, 21, dtype=torch.float64).reshape(7, 3).requires_grad_()
    y = x**power + x.exp()
    values = dict(x=x, y=y, loss=(y * torch.linspace(1, 2, 21, dtype=torch.float64).reshape(7, 3)).sum())
    found = means(fault_of, values, 1.37)
    assert found is not None and found.odd and "exponent" not in found.likely


@pytest.mark.parametrize(
    ("divisor", "whole"), [(3 * (1 + 5e-7), True), (3 * (1 + 2e-6), False), (-32.0, True), (2.5, False), (0.4, False)]
)
def test_a_count_is_whole_to_the_rounding_of_float32(divisor: float, whole: bool) -> None:
    assert _whole(divisor) is whole


def labels() -> dict[str, Tensor]:
    values = layer(9, 2)
    return values | {"labels": torch.tensor([0, 1, -100, 1, 0, -100, 1, 1, 0])}


@pytest.mark.parametrize(("c", "factor"), [(7 / 9, "7/9"), (9 / 7, "9/7"), (7.0, "7"), (1 / 7, "1/7")])
def test_the_count_of_labels_that_are_not_ignored(fault_of: Make, c: float, factor: str) -> None:
    found = means(fault_of, labels(), c)
    assert found is not None and (found.cause, found.factor) == ("F8", factor)
    assert "7 of the 9 elements of labels are not negative" in found.likely


def test_labels_without_any_to_ignore_say_nothing(fault_of: Make) -> None:
    values = layer(9, 2) | {"labels": torch.arange(9), "one": torch.tensor([-1])}
    found = means(fault_of, values, 7 / 9)
    assert found is not None and found.odd


def test_one_number_is_too_little_to_tell_a_factor_from_anything_else(fault_of: Make) -> None:
    for count, tells in ((3, False), (4, True)):
        values = layer(count)
        fault = fault_of(values, "x", 1.37 * own(values))
        assert (meaning(fault, 1.37) is not None) is tells
        assert (len(list(odd_factor(fault))) > 0) is tells


def test_a_quotient_of_two_sizes_needs_four_elements_and_may_be_left_out(fault_of: Make) -> None:
    for shape, found in (((3, 1), False), ((4, 1), True)):
        values = layer(*shape) | {"z": torch.ones(7)}
        x, z = values["x"], torch.ones(7, dtype=torch.float64, requires_grad=True)
        values = dict(x=x, z=z, y=x.exp() * z.sum(), loss=torch.tensor(0.0))
        values["loss"] = values["y"].sum()
        c = 7 / shape[0] if shape[0] == 4 else 7 / 3
        means_it = meaning(fault_of(values, "x", c * own(values)), c)
        assert (means_it is not None and means_it.cause == "F8") is found
    found_without = meaning(fault_of(values, "x", c * own(values)), c, ratios=False)
    assert found_without is None or found_without.cause == "F12"


def test_meaningful_factors_come_first_and_odd_ones_later(fault_of: Make) -> None:
    values = layer(7, 11)
    for c, first, later in ((7.0, "F8", None), (1.37, None, "F12")):
        fault = fault_of(values, "x", c * own(values))
        assert [one.cause for one in constant_factor(fault)] == [one for one in [first] if one]
        assert [one.cause for one in odd_factor(fault)] == [one for one in [later] if one]


def test_what_is_no_multiple_and_a_zero_are_left_to_others(fault_of: Make) -> None:
    values = layer(7, 11)
    for got in (own(values) ** 2, torch.zeros(7, 11, dtype=torch.float64)):
        assert not list(constant_factor(fault_of(values, "x", got)))
        assert not list(odd_factor(fault_of(values, "x", got)))


def test_a_gradient_of_zeros_has_no_factor(fault_of: Make) -> None:
    x = torch.ones(5, requires_grad=True)
    values = dict(x=x, y=x * 0.0)
    values["loss"] = values["y"].sum()
    assert not list(constant_factor(fault_of(values, "x", torch.ones(5))))


def test_every_meaning_of_a_count_comes_with_both_signs(fault_of: Make) -> None:
    for n, sign in product((3, 5), (1, -1)):
        found = means(fault_of, layer(n, 1), sign * n)
        assert found is not None and found.cause == "F8"
        assert found.factor == f"{'-' if sign < 0 else ''}{n}"


@pytest.mark.parametrize("ignored", [-100, 2])
def test_a_mean_over_ignored_labels_in_a_loss_of_one_line(ignored: int) -> None:
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(9, 5, generator=generator, requires_grad=True)
    labels = torch.tensor([0, 1, 3, ignored, 4, 1, ignored, 0, 3])
    logp = x.log_softmax(1)
    loss = torch.nn.functional.nll_loss(logp, labels, ignore_index=ignored)
    counts = labels != ignored
    dlogp = torch.zeros(9, 5).index_put((torch.arange(9)[counts], labels[counts]), -torch.ones(7))
    row = check(loss, dict(logp=logp, dlogp=dlogp / 9))["logp"]
    assert row.cause == "F8" and "7 of the 9 labels in " in " ".join(row.message.split())
    assert check(loss, dict(logp=logp, dlogp=dlogp / 7)).ok
