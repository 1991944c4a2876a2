"""When advice may be said to mend: what comes of it is right to rounding, and nearly all of the fault is gone."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.check import check
from backproof.proof.judge import messages
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Applicability
from backproof.proof.report.rows import Row


def advised(monkeypatch: pytest.MonkeyPatch, mended: Callable[[Fault], Tensor | None], off: float = 1e3) -> Row:
    """The row of a gradient that is off by so many times what rounding may do, with advice that makes `mended`."""
    x = torch.arange(1.0, 21.0).reshape(4, 5).requires_grad_()
    y = x * 3
    dy = 2 * y.detach()
    room = torch.zeros_like(dy)

    def found(fault: Fault) -> tuple[Finding, ...]:
        room.copy_(fault.allowed)
        return (Finding(Cause.WRONG_SIGN, "it is wrong", "so it is.", "do that", mended(fault)),)

    monkeypatch.setattr(messages, "find", found)
    for _ in range(2):  # the first time to learn how much is allowed
        dx = 3 * dy + off * room if room.any() else torch.zeros_like(dy)
        (row,) = check((y * y).sum(), {"x": x, "dx": dx, "y": y, "dy": dy}).culprits
    return row


@pytest.mark.parametrize(
    ("mended", "applicability"),
    [
        (lambda fault: fault.expected, Applicability.MENDS),
        (lambda fault: fault.expected + 0.9 * fault.allowed, Applicability.MENDS),
        (lambda fault: fault.expected + 3 * fault.allowed, Applicability.LOOK),
        (lambda fault: fault.got, Applicability.LOOK),
        (lambda fault: fault.expected * torch.nan, Applicability.LOOK),
        (lambda fault: fault.expected[:2], Applicability.LOOK),
        (lambda fault: None, Applicability.LOOK),
    ],
)
def test_advice_mends_when_what_it_makes_is_right_to_rounding(
    monkeypatch: pytest.MonkeyPatch, mended: Callable, applicability: Applicability
) -> None:
    row = advised(monkeypatch, mended)
    assert row.applicability is applicability
    assert row.message.endswith(f"\n  {'mend' if applicability is Applicability.MENDS else 'next'}: do that")


@pytest.mark.parametrize(("off", "applicability"), [(60, Applicability.MENDS), (30, Applicability.LOOK)])
def test_what_is_left_of_the_fault_must_be_little_of_it(
    monkeypatch: pytest.MonkeyPatch, off: float, applicability: Applicability
) -> None:
    """Two parts in a hundred: less than a fault may leave unexplained, so that half a mend is none."""
    assert advised(monkeypatch, lambda fault: fault.expected + 0.9 * fault.allowed, off).applicability is applicability
