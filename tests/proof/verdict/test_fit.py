"""The constant that brings one gradient closest to another, in the sense of least squares."""

from __future__ import annotations

import pytest
import torch

from backproof.proof.verdict.fit import fitted_factor


def test_a_multiple_gives_its_factor() -> None:
    x = torch.tensor([[1.0, -2.0], [0.5, 4.0]])
    assert fitted_factor(-3 * x, x) == pytest.approx(-3.0)
    assert fitted_factor(torch.zeros(2, 2), x) == 0.0


def test_what_is_no_multiple_gives_the_nearest() -> None:
    assert fitted_factor(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0])) == pytest.approx(11 / 5)


def test_zeros_are_no_multiple_of_anything() -> None:
    assert fitted_factor(torch.ones(3), torch.zeros(3)) is None
