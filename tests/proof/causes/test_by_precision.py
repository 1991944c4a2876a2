"""Numbers of a narrower dtype: how many digits they have, and how far off they may be."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.by_precision import _few_digits, rounded, rounded_to, summed
from backproof.proof.causes.fault import Fault

Make = Callable[..., Fault]


def fault(make: Make, right: Tensor, got: Tensor, **options: object) -> Fault:
    """w * right, so that the gradient of w is `right`."""
    w = torch.ones_like(right).requires_grad_()
    return make(dict(w=w, loss=(w * right).sum()), "w", got, **options)


RIGHT = torch.rand(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64) + 0.5


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_a_gradient_rounded_to_a_narrower_dtype(fault_of: Make, dtype: torch.dtype) -> None:
    wrong = fault(fault_of, RIGHT, RIGHT.to(dtype).double())
    assert rounded_to(wrong) is dtype
    (found,) = rounded(wrong)
    assert found.cause == "F5" and found.headline == f"it is computed in {str(dtype)[6:]}"
    assert found.next == "sum in float64, and convert afterwards if need be"


def test_of_float32_numbers_float32_is_no_narrower_dtype(fault_of: Make) -> None:
    right = RIGHT.float()
    assert rounded_to(fault(fault_of, right, right + 1e-7)) is None
    assert rounded_to(fault(fault_of, right, right.half().float())) is torch.float16


def test_numbers_too_small_for_all_their_digits_are_as_near_as_the_smallest_number(fault_of: Make) -> None:
    right = RIGHT.clone()
    right[7] = 1.23e-6  # float16 keeps five binary digits of it
    assert rounded_to(fault(fault_of, right, right.half().double())) is torch.float16


@pytest.mark.parametrize(("bits", "few"), [(8, True), (12, True), (13, False)])
def test_four_more_binary_digits_than_bfloat16_has_may_come_from_adding_up_a_few(
    fault_of: Make, bits: int, few: bool
) -> None:
    """Sixteen numbers of eight digits have sums of up to twelve."""
    right = RIGHT / 2 + 0.25  # all in [1/2, 1), so that each has as many digits
    wrong = fault(fault_of, right, (right * 2**bits).round() / 2**bits)
    assert (torch.bfloat16 in list(_few_digits(wrong))) is few


@pytest.mark.parametrize(("times", "fits"), [(0.9, True), (1.1, False)])
def test_each_element_is_as_near_as_the_digits_allow(fault_of: Make, times: float, fits: bool) -> None:
    """One eps of bfloat16 times the number."""
    got = torch.full((20,), 1.0, dtype=torch.float64)
    right = got / (1 + times * torch.finfo(torch.bfloat16).eps) * torch.linspace(1, 1 + 1e-6, 20)
    found = rounded_to(fault(fault_of, right, got))
    assert (found is torch.bfloat16) is fits


@pytest.mark.parametrize(("times", "fits"), [(0.9, True), (1.1, False)])
def test_a_long_sum_in_a_narrower_dtype_is_off_by_as_much_as_that_dtype_would_be_allowed(
    fault_of: Make, times: float, fits: bool
) -> None:
    right = RIGHT[:20] * torch.linspace(1, 1 + 1e-6, 20)
    eps = torch.finfo(torch.bfloat16).eps
    allowed = 0.5 * torch.finfo(torch.float64).eps / eps  # in float64; so one half in bfloat16
    got = torch.full((20,), 1.0, dtype=torch.float64)
    wrong = fault(fault_of, got + times * 0.5 + right * 1e-6, got, allowed=allowed, eps=torch.finfo(torch.float64).eps)
    assert [one.cause for one in summed(wrong)] == ["F5"] * fits


def test_numbers_that_have_few_digits_anyway_say_nothing(fault_of: Make) -> None:
    right = torch.arange(1.0, 21.0, dtype=torch.float64)
    wrong = fault(fault_of, right, right + 1)
    assert rounded_to(wrong) is None and not list(summed(wrong))


@pytest.mark.parametrize(("size", "few"), [(0.4, False), (3.0, True)])
def test_what_is_left_where_terms_cancel_has_few_digits_in_any_dtype(fault_of: Make, size: float, few: bool) -> None:
    """Twelve digits below terms of size 1 is where a float32 sum can end with twelve digits by itself."""
    right = RIGHT.float()
    left = torch.full((50,), size * 2.0**-12)
    wrong = fault(fault_of, right, left, allowed=1.0)
    wrong.__dict__["relative"] = 1.0
    assert (torch.bfloat16 in list(_few_digits(wrong))) is few
