"""How sure a finding says that it is, by what it rests on; what is right or not known says nothing of the kind."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.prove import prove
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Row

INPUTS = {"x": torch.arange(1.0, 16.0).reshape(5, 3), "gain": torch.tensor([2.0, -1.0, 0.5])}


def forward(x: Tensor, gain: Tensor) -> dict[str, Tensor]:
    return {"x": x, "gain": gain, "y": gain * x}


def proved(dgain: Any = None, dx: Any = None, **options: Any) -> Report:
    """A proof of a product whose two lines are given; those left out are right."""

    def backward(s: dict[str, Tensor], dy: Tensor) -> dict[str, Tensor]:
        made = (dy * s["x"]).sum(0) if dgain is None else dgain(s, dy)
        return {"gain": made, "x": dy * s["gain"] if dx is None else dx(s, dy)}

    return prove(forward, backward, options.pop("inputs", INPUTS), **options)


def culprit(report: Report) -> Row:
    (row,) = report.culprits
    return row


def test_what_fits_one_run_says_so() -> None:
    row = culprit(proved(dx=lambda s, dy: -dy * s["gain"]))
    assert (row.cause, row.certainty, row.applicability) == ("F13", "fits to rounding", "mends it")
    row = culprit(proved(dgain=lambda s, dy: s["x"].sum(0)))
    assert (row.cause, row.certainty, row.applicability) == ("F1", "fits to rounding", "look here")


def test_what_is_seen_says_so() -> None:
    x = torch.tensor([1.0, 2.0], requires_grad=True)
    y = x * 3
    names = {"x": x, "y": y, "dy": 2 * y.detach()}
    for dx in (None, torch.zeros(2), torch.full((2,), torch.nan)):
        row = culprit(check((y * y).sum(), {**names, "dx": dx}))
        assert (row.certainty, row.applicability) == (Certainty.SEEN, Applicability.LOOK)
    row = culprit(check((y * y).sum(), {**names, "dx": None}))
    assert (row.cause, row.certainty) == ("F4", Certainty.SEEN)


def test_what_a_second_run_shows_says_so() -> None:
    def reads_memory(s: dict[str, Tensor], dy: Tensor) -> Tensor:
        return (dy.as_strided(dy.shape, (dy.shape[1], 1)) * s["x"]).sum(0)

    row = culprit(proved(reads_memory))
    assert (row.cause, row.certainty, row.applicability) == ("F2", "shown by a replay", "mends it")

    def writes(s: dict[str, Tensor], dy: Tensor) -> Tensor:
        return dy.mul_(s["gain"])

    row = culprit(proved(dx=writes, skip="layouts"))  # an expanded one cannot be written to, and raises
    assert (row.cause, row.certainty, row.applicability) == ("F3", "shown by a replay", "look here")

    def tiles(s: dict[str, Tensor], dy: Tensor) -> Tensor:
        return (dy * s["x"])[: len(dy) // 8 * 8].sum(0) if len(dy) > 8 else (dy * s["x"]).sum(0)

    row = culprit(proved(tiles, inputs=lambda n=8: {**INPUTS, "x": torch.randn(n, 3)}))
    assert (row.cause, row.replay) == ("F7", "size 67") and row.certainty is Certainty.REPLAYED


def test_a_backward_pass_that_raises_in_a_replay_is_shown_by_it() -> None:
    row = culprit(proved(dx=lambda s, dy: dy.view(-1).view(5, 3) * s["gain"]))
    assert "raises when the upstream gradient is" in row.message
    assert (row.cause, row.certainty, row.applicability) == ("F2", "shown by a replay", "look here")


def test_several_causes_that_fit_alike_are_all_named_and_none_is_said_to_be_it() -> None:
    x = torch.tensor([[1.0, -2.0, 3.0], [0.5, 4.0, -1.0]], requires_grad=True)
    a, b = x * 2, x * 2
    loss = (a * a).sum() + (b * b).sum()
    da, db = 2 * a.detach(), 2 * b.detach()
    row = culprit(check(loss, {"x": x, "a": a, "b": b, "da": da, "db": db, "dx": 2 * da}))
    assert row.cause is None
    assert row.candidates == row.named == ("F12", "F6")
    assert (row.certainty, row.applicability) == ("one of several", "look here")
    assert "the cause is not certain" in row.message


def test_what_is_wrong_for_no_known_reason_and_what_is_right_say_nothing() -> None:
    report = proved(dx=lambda s, dy: torch.randn(5, 3, generator=torch.Generator().manual_seed(97)))
    row = culprit(report)
    assert (row.cause, row.certainty, row.candidates) == (None, None, ())
    assert row.applicability is Applicability.LOOK
    assert (report["gain"].certainty, report["gain"].applicability) == (None, None)


@pytest.mark.parametrize("applicability", list(Applicability))
def test_advice_is_called_by_what_it_is_worth(applicability: Applicability) -> None:
    assert applicability.word == {"mends it": "mend", "look here": "next"}[applicability]
