"""Lines that write into what they may only read, and the innocent ones that read it afterwards."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.damage import before_overwriting, find_damage, overwriting_rows, value_called
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.pair import Pair
from backproof.proof.replays.pair_calls import Functions, PairTrial, run_forward
from backproof.proof.replays.subject import FIRST
from backproof.proof.report.rows import Verdict

Values = dict[str, Tensor]


def forward(x: Tensor, w: Tensor) -> Values:
    h = x * w
    return {"x": x, "w": w, "h": h, "y": h.exp()}


def inputs(n: int = 6) -> Values:
    return {"x": torch.rand(n) + 0.5, "w": torch.rand(n) + 0.5}


def tried(backward: Callable) -> tuple[Functions, PairTrial, Ledger]:
    functions = Functions(forward, backward, inputs)
    trial = Pair(functions).tried(FIRST)
    ledger = Ledger(trial.rows)
    return functions, trial, ledger


def damage(backward: Callable) -> Ledger:
    functions, trial, ledger = tried(backward)
    assert find_damage(functions, trial, ledger) == []
    return ledger


def culprits(ledger: Ledger) -> dict[str, str | None]:
    return {row.name: row.cause for row in ledger.rows.values() if row.culprit}


def right(v: Values, dy: Tensor) -> Values:
    dh = dy * v["y"]
    return {"h": dh, "x": dh * v["w"], "w": dh * v["x"]}


def test_nothing_is_damaged() -> None:
    ledger = damage(right)
    assert culprits(ledger) == {} and ledger.excused == set()


def writes_upstream(v: Values, dy: Tensor) -> Values:
    dh = dy.mul_(v["y"])
    return {"h": dh, "x": dh * v["w"], "w": dh * v["x"]}


def test_the_line_that_writes_into_the_upstream_gradient_is_named() -> None:
    ledger = damage(writes_upstream)
    row = ledger.rows["h"]
    assert culprits(ledger) == {"h": "F3"} and row.replay == "arguments unchanged"
    assert "its line changes the upstream gradient, which it may only read" in row.message
    assert 'dh = dy.mul_(v["y"])' in row.message and "the upstream gradient: largest change" in row.message


def writes_twice(v: Values, dy: Tensor) -> Values:
    dh = dy.mul_(v["y"])
    dh = dy.add_(0.0)
    return {"h": dh, "x": dh * v["w"], "w": dh * v["x"]}


def test_of_several_writes_the_first_is_quoted() -> None:
    message = damage(writes_twice).rows["h"].message
    assert 'dh = dy.mul_(v["y"])' in message and "add_" not in message.partition("next:")[0]


def writes_value_early(v: Values, dy: Tensor) -> Values:
    dh = dy * v["y"]
    dw = v["x"].mul_(dh)
    dx = dh * v["w"]
    return {"h": dh, "x": dx, "w": dw, "y": dy}


def test_a_value_that_is_written_into() -> None:
    ledger = damage(writes_value_early)
    assert culprits(ledger) == {"w": "F3"}
    assert "its line changes the value x, which it may only read" in ledger.rows["w"].message


def reads_damage(v: Values, dy: Tensor) -> Values:
    dh = dy * v["y"]
    dw = v["w"].mul_(0).add_(dh * v["x"])
    dx = dh * v["w"]  # right for what it reads
    return {"h": dh, "x": dx, "w": dw}


def test_a_line_that_reads_what_another_has_damaged_is_innocent() -> None:
    functions, trial, ledger = tried(reads_damage)
    assert ledger.rows["x"].culprit  # so far
    find_damage(functions, trial, ledger)
    assert culprits(ledger) == {"w": "F3"}
    row = ledger.rows["x"]
    assert row.verdict is Verdict.INHERITED and row.inherited_from == ("w",) and row.evidence is None
    assert row.message == "dx: inherited from dw, whose line had changed w in place; this line is right."
    assert ledger.excused == {"x"}


def wrong_and_reads_damage(v: Values, dy: Tensor) -> Values:
    result = reads_damage(v, dy)
    return {**result, "h": 3 * result["h"], "x": 5 * result["x"]}


def test_a_line_that_is_wrong_anyway_is_not_excused() -> None:
    assert set(culprits(damage(wrong_and_reads_damage))) >= {"h", "x", "w"}


def unnamed(v: Values, dy: Tensor) -> Values:
    v["h"].add_(1)
    return right(v, dy)


def test_a_write_that_belongs_to_no_gradient() -> None:
    ledger = damage(unnamed)
    assert culprits(ledger) == {"h": "F3"}
    assert "The backward pass changes the value h in place" in ledger.rows["h"].message


def test_the_forward_pass_writes_into_its_input() -> None:
    def writes(x: Tensor, w: Tensor) -> Values:
        x.data.mul_(2)
        return forward(x, w)

    functions = Functions(writes, right, inputs)
    trial = Pair(functions).tried(FIRST)
    ledger = Ledger(trial.rows)
    find_damage(functions, trial, ledger)
    assert ledger.rows["x"].cause == "F3"
    assert "The forward pass changes its input x in place" in ledger.rows["x"].message


def shares_memory(v: Values, dy: Tensor) -> Values:
    dh = dy * v["y"]
    dx = dh
    dx *= v["w"]  # dh was right when it was computed, and is dx now
    return {"h": dh, "x": dx, "w": dy * v["y"] * v["x"]}


def test_a_gradient_that_the_next_line_overwrites_is_put_back() -> None:
    functions, trial, _ = tried(right)
    functions = Functions(forward, shares_memory, inputs)
    trial = Pair(functions).tried(FIRST)
    gradients, overwriting = before_overwriting(functions, trial, trial.upstream.clone)
    assert [(guilty, victim) for guilty, victim, _ in overwriting] == [("x", "h")]
    dh = gradients["h"]
    assert dh is not None and torch.allclose(dh, trial.upstream * trial.run.values["y"].detach())
    assert [(row.name, row.cause) for row in trial.rows if row.culprit] == [("x", "F3")]
    (row,) = (row for row in overwriting_rows([], overwriting))
    assert row.culprit and "its line changes dh, which is a gradient of its own" in row.message


def one_tensor(v: Values, dy: Tensor) -> Values:
    dh = dy * v["y"]
    return {"h": dh, "y": dh, "x": dh * v["w"], "w": dh * v["x"]}


def test_sharing_memory_without_writing_is_left_alone() -> None:
    functions = Functions(forward, one_tensor, inputs)
    trial = Pair(functions).tried(FIRST)
    gradients, overwriting = before_overwriting(functions, trial, trial.upstream.clone)
    assert not overwriting and gradients["h"] is gradients["y"]


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("dh", "h"),
        ("grad_h", "h"),
        ("h_grad", "h"),
        ("h", None),
        ("dz", None),
        ("grad_z", None),
        (None, None),
        ("d", None),
    ],
)
def test_the_value_whose_gradient_a_variable_holds(target: str | None, value: str | None) -> None:
    run = run_forward(Functions(forward, right, inputs))
    assert value_called(target, run) == value
