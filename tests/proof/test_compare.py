import math

import pytest
import torch

from backproof.proof.compare import Comparison, all_agree, compare, settle

RIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def test_the_notebooks_line():
    line = str(compare("bnvar_inv", RIGHT.clone(), RIGHT))
    assert line == "bnvar_inv       | exact: True  | approximate: True  | maxdiff: 0.0"
    line = str(compare("hpreact", RIGHT + torch.tensor([0, 0, 0, 2.0**-21]).view(2, 2), RIGHT))
    assert line == "hpreact         | exact: False | approximate: True  | maxdiff: 4.768371582e-07"


@pytest.mark.parametrize(
    ("got", "problem"),
    [
        (None, "dx is missing; its shape should be (2, 2)."),
        (RIGHT.flatten(), "dx has the shape (4,) and x has (2, 2); they have to be the same."),
        (RIGHT[:1], "dx has the shape (1, 2) and x has (2, 2)"),
        (RIGHT.double(), "dx has the type torch.float64 and x has torch.float32."),
        (RIGHT * torch.tensor([1, math.nan]), "dx is nan at [0, 1]."),
        (RIGHT / torch.tensor([1, 0]), "dx is inf at [0, 1]."),
        (RIGHT + torch.tensor([[0, 0], [1.0, 0]]), "dx differs most at [1, 0]: got 4, expected 3."),
        (-RIGHT, "dx differs most at [1, 1]: got -4, expected 4."),
    ],
)
def test_the_first_thing_that_is_wrong_is_what_is_said(got: torch.Tensor | None, problem: str):
    row = compare("x", got, RIGHT)
    assert not row.agrees
    assert row.problem.startswith(problem)
    assert f"\n    {problem}" in str(row)


def test_a_64_for_1_64_gradient_is_not_broadcast():
    right = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(right[0], right)  # what lets the notebooks' comparison pass
    assert "has the shape (64,)" in compare("bngain", right[0], right).problem


def test_a_value_that_the_loss_does_not_depend_on():
    assert compare("bngain", RIGHT, None).problem == "The loss does not depend on bngain, so that it has no gradient."


def test_empty_gradients_are_equal():
    assert compare("x", torch.zeros(0, 3), torch.zeros(0, 3)).exact


def test_all_agree_needs_something_to_agree():
    right, wrong = Comparison("x"), Comparison("x", problem="It is wrong.")
    assert all_agree([right, right])
    assert not all_agree([right, wrong])
    assert not all_agree([])


def test_only_a_finite_difference_that_vanishes_in_float64_is_rounding():
    different = Comparison("x", False, False, 1e-6, "It differs.")
    shaped = Comparison("x", problem="It has the wrong shape.")
    agreeing = Comparison("x", False, True, 1e-15)
    assert settle(different, agreeing).agrees
    assert not settle(different, different).agrees
    assert not settle(shaped, agreeing).agrees
