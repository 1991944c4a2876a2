"""Of a large wrong gradient zeros and factors are told, from some of its numbers, and only what holds for all."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.judge import messages
from backproof.proof.report.rows import Row

COUNT = 40_000


@pytest.fixture(autouse=True)
def _all_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LARGE", 1000)


def judged(change: object, *shape: int) -> tuple[Row, str]:
    x = torch.randn(*shape or (COUNT,), generator=torch.Generator().manual_seed(0), requires_grad=True)
    loss = (x * x).sum()
    dx = 2 * x.detach()
    report = check(loss, {"x": x, "loss": loss, "dx": change(dx)})  # type: ignore[operator]
    return report["x"], " ".join(str(report).split())


@pytest.mark.parametrize(
    ("factor", "cause", "says"),
    [(-1.0, "F13", "it has the wrong sign"), (2.0, "F12", "factor 2"), (1.37, "F12", "1.37"),
     (0.0, "F4", "zero everywhere")],
)  # fmt: skip
@pytest.mark.parametrize("shape", [(COUNT,), (200, 200)])
def test_a_factor_that_all_numbers_share_is_told(factor: float, cause: str, says: str, shape: tuple[int, ...]) -> None:
    row, said = judged(lambda dx: factor * dx, *shape)
    assert row.named == (cause,) and says in said


def test_the_largest_difference_is_that_of_all_numbers() -> None:
    def change(dx: Tensor) -> Tensor:
        dx = 3 * dx
        return dx

    row, _ = judged(change, 200, 200)
    x = torch.randn(200, 200, generator=torch.Generator().manual_seed(0))
    assert row.evidence is not None and row.evidence.worst_index == divmod(int(x.abs().argmax()), 200)


def test_what_does_not_hold_for_a_number_between_is_not_told() -> None:
    def change(dx: Tensor) -> Tensor:
        dx = 2 * dx
        dx[1] /= 2  # the sample steps over it
        return dx

    row, said = judged(change)
    assert row.named == () and "cause unknown" in said
    assert "it has 40,000 elements; check a smaller batch or layer, where the cause is looked for" in said


def test_a_right_one_is_right() -> None:
    assert judged(lambda dx: dx)[0].ok


def test_one_below_the_border_is_searched_in_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(messages, "LARGE", COUNT)

    def change(dx: Tensor) -> Tensor:
        dx[-300:] = 0
        return dx

    assert judged(change)[0].named == ("F7",)
    monkeypatch.setattr(messages, "LARGE", COUNT - 1)
    assert judged(change)[0].named == ()
