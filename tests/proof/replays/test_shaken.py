"""Lines for something that is mathematically zero, run again with noise in what they read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.pair import Pair
from backproof.proof.replays.pair_calls import Answer, Functions, PairTrial
from backproof.proof.replays.shaken import _judged_alone, _Shaker, shaken
from backproof.proof.replays.subject import FIRST
from backproof.proof.report.rows import Row, Verdict


def forward(x: Tensor, m: Tensor) -> dict[str, Tensor]:
    """A shift before a softmax changes nothing, whatever the upstream gradient is: dm is zero."""
    shifted = x - m
    p = shifted.softmax(1)
    return {"shifted": shifted, "p": p}


def inputs(n: int = 4) -> dict[str, Tensor]:
    return {"x": torch.randn(n, 5), "m": torch.randn(n, 1)}


def functions(line: Callable[[Tensor], Tensor]) -> Functions:
    def backward(v: dict[str, Tensor], dp: Tensor) -> dict[str, Tensor]:
        dshifted = v["p"] * (dp - (dp * v["p"]).sum(1, keepdim=True))
        return {"p": dp, "shifted": dshifted, "x": dshifted.clone(), "m": line(dshifted)}

    return Functions(forward, backward, inputs, output="p")


def found(line: Callable[[Tensor], Tensor]) -> tuple[Row | None, Ledger]:
    pair = Pair(functions(line))
    trial = pair.tried(FIRST)
    ledger = Ledger(trial.rows)
    assert ledger.rows["m"].verdict is Verdict.NOT_TESTABLE, ledger.rows["m"]
    rows = {row.name: row for row in shaken(pair.functions, trial, ledger)}
    assert set(rows) <= {"m"}
    return rows.get("m"), ledger


def test_a_right_line_is_proved_and_the_zero_explained() -> None:
    row, ledger = found(lambda d: (-d).sum(1, keepdim=True))
    assert row is not None and row.verdict is Verdict.ROUNDING and not row.culprit
    assert ledger.rows["m"].message.startswith("dm is mathematically zero: its terms cancel")


@pytest.mark.parametrize(
    ("line", "cause"), [(lambda d: d.sum(1, keepdim=True), "F13"), (lambda d: -2 * d.sum(1, keepdim=True), "F12")]
)
def test_a_wrong_line_is_accused_where_its_cause_is_found(line: Callable, cause: str) -> None:
    row, _ = found(line)
    assert row is not None and row.culprit and row.cause == cause
    assert not row.exact and not row.approximate


def test_a_line_that_does_not_read_the_noise_is_right_for_a_zero() -> None:
    assert found(lambda d: torch.zeros(4, 1))[0] is None
    assert found(lambda d: torch.full((4, 1), 1e-9))[0] is None


def test_a_loss_whose_backward_function_takes_no_upstream_gradient_gets_one() -> None:
    """m is taken from each of five columns and added five times: what the loss sends to it directly counts, too."""

    def forward(x: Tensor, m: Tensor) -> dict[str, Tensor]:
        shifted = x - m
        return {"shifted": shifted, "loss": shifted.sum() + 5 * m.sum()}

    def backward(v: dict[str, Tensor]) -> dict[str, Tensor]:
        dshifted = torch.ones_like(v["shifted"])
        return {"shifted": dshifted, "x": dshifted.clone(), "m": 5 * torch.ones(4, 1) - dshifted.sum(1, keepdim=True)}

    pair = Pair(Functions(forward, backward, inputs))
    trial = pair.tried(FIRST)
    ledger = Ledger(trial.rows)
    assert ledger.rows["m"].verdict is Verdict.NOT_TESTABLE
    (row,) = shaken(pair.functions, trial, ledger)
    assert row.name == "m" and row.verdict is Verdict.ROUNDING


def test_where_everything_can_be_tested_nothing_is_shaken() -> None:
    pair = Pair(Functions(lambda x: {"y": x * 2.0}, lambda v, dy: {"x": 2 * dy}, {"x": torch.ones(3)}))
    trial = pair.tried(FIRST)
    assert shaken(pair.functions, trial, Ledger(trial.rows)) == []


@pytest.mark.parametrize(("times", "read"), [(90.0, False), (110.0, True)])
def test_what_has_read_the_noise_is_a_hundred_times_larger(times: float, read: bool) -> None:
    """A line that has not read it stays as it was, to its own rounding, which may differ from run to run."""
    pair = Pair(Functions(lambda x: {"y": x * 2.0}, lambda v, dy: {"x": 2 * dy, "y": dy}, {"x": torch.ones(3)}))
    trial = pair.tried(FIRST)
    right = 2 * trial.upstream
    quiet = {**trial.answer.gradients, "x": torch.full((3,), float(right.abs().max()) / times)}
    before = PairTrial(trial.run, trial.upstream, Answer(quiet, trial.answer.arguments, {}))
    row = _judged_alone(before, "x", {**quiet, "x": right}, trial.upstream)
    assert (row is not None and row.verdict is Verdict.ROUNDING) is read


def test_noise_is_added_after_one_operation_and_operations_are_counted() -> None:
    def run(shaker: _Shaker) -> Tensor:
        with shaker:
            a = torch.ones(3) * 2.0
            b = a.view(3, 1)
            return b + 1.0

    counting = _Shaker(None)
    plain = run(counting)
    assert plain.tolist() == [[3.0]] * 3
    last = counting.completed[plain.untyped_storage().data_ptr()]
    assert counting.count == last == max(counting.completed.values())
    torch.manual_seed(0)
    noisy = run(_Shaker(last))
    assert bool((noisy != 3.0).all()) and float((noisy - 3.0).abs().max()) < 15.0
