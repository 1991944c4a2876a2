import math

import pytest
import torch

from backproof.proof.compare import compare
from backproof.proof.report.rows import Verdict

RIGHT = torch.tensor([[1.0, 2.0], [3.0, 4.0]])


def test_the_notebooks_line():
    line = str(compare("bnvar_inv", RIGHT.clone(), RIGHT))
    assert line == "bnvar_inv       | exact: True  | approximate: True  | maxdiff: 0.0"
    row = compare("hpreact", RIGHT + torch.tensor([0, 0, 0, 2.0**-21]).view(2, 2), RIGHT)
    assert str(row) == "hpreact         | exact: False | approximate: True  | maxdiff: 4.768371582e-07"
    assert row.verdict is Verdict.ROUNDING
    line = str(compare("x", None, RIGHT))
    assert line == "x               | exact: False | approximate: False | maxdiff: nan"


@pytest.mark.parametrize(
    ("got", "verdict", "message"),
    [
        (None, Verdict.MISSING, "dx is missing; its shape should be (2, 2)."),
        (RIGHT.flatten(), Verdict.SHAPE, "dx has the shape (4,) and x has (2, 2); they have to be the same."),
        (RIGHT[:1], Verdict.SHAPE, "dx has the shape (1, 2) and x has (2, 2)"),
        (RIGHT.double(), Verdict.DTYPE, "dx has the type torch.float64 and x has torch.float32."),
        (RIGHT * torch.tensor([1, math.nan]), Verdict.NOT_FINITE, "dx is nan at [0, 1]."),
        (RIGHT / torch.tensor([1, 0]), Verdict.NOT_FINITE, "dx is inf at [0, 1]."),
        (
            RIGHT + torch.tensor([[0, 0], [1.0, 0]]),
            Verdict.WRONG,
            "dx differs most at [1, 0]: got 4, expected 3.",
        ),
        (-RIGHT, Verdict.WRONG, "dx differs most at [1, 1]: got -4, expected 4."),
    ],
)
def test_the_first_thing_that_is_wrong_is_what_is_said(got: torch.Tensor | None, verdict: Verdict, message: str):
    row = compare("x", got, RIGHT)
    assert not row.ok
    assert row.verdict is verdict
    assert row.message.startswith(message)


def test_a_64_for_1_64_gradient_is_not_broadcast():
    right = torch.randn(1, 64, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(right[0], right)  # what lets the notebooks' comparison pass
    assert "has the shape (64,)" in compare("bngain", right[0], right).message


def test_a_value_that_the_loss_does_not_depend_on():
    row = compare("bngain", RIGHT, None)
    assert row.message == "The loss does not depend on bngain, so it has no gradient."
    assert not row.ok


def test_empty_gradients_are_equal():
    assert compare("x", torch.zeros(0, 3), torch.zeros(0, 3)).exact
