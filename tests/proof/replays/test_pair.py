"""A forward and a backward function, run under other conditions."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.pair import Pair
from backproof.proof.replays.pair_calls import Functions
from backproof.proof.replays.subject import FIRST, BackwardRaisedError, Conditions, SkippedError
from backproof.proof.user.layouts import LAYOUTS
from backproof.proof.user.sizes import Size

Values = dict[str, Tensor]


def forward(x: Tensor) -> Values:
    return {"h": x * 2.0, "y": (x * 2.0).exp()}


def backward(v: Values, dy: Tensor) -> Values:
    return {"x": 2 * dy * v["y"]}


def inputs(n: int = 4) -> Values:
    return {"x": torch.rand(n, 3)}


PAIR = Pair(Functions(forward, backward, inputs))


def pair_of(line: object) -> Pair:
    return Pair(Functions(forward, line, inputs))  # pyright: ignore[reportArgumentType]


def test_upstream_gradients_differ_by_draw_and_layout() -> None:
    first = PAIR.tried(FIRST).upstream
    assert torch.equal(first, PAIR.tried(FIRST).upstream)
    assert not torch.equal(first, PAIR.tried(Conditions(draw=1)).upstream)
    strided = next(layout for layout in LAYOUTS if layout.name == "strided")
    laid, plain = (PAIR.tried(Conditions(layout=strided, contiguous=c)).upstream for c in (False, True))
    assert laid.stride() == (6, 2) and plain.is_contiguous() and torch.equal(laid, plain)


def test_a_loss_gets_one_or_a_number_that_is_neither_one_nor_zero() -> None:
    pair = Pair(Functions(lambda x: {"loss": x.sum()}, lambda v, d: {"x": d.expand(4, 3)}, inputs))
    assert float(pair.tried(FIRST).upstream) == 1.0
    assert float(pair.tried(Conditions(unit=False)).upstream) <= -1.25


def test_only_what_is_new_is_diagnosed() -> None:
    wrong = pair_of(lambda v, dy: {"x": dy * v["y"]})
    (row,) = (row for row in wrong.tried(FIRST).rows if row.culprit)
    assert row.cause is not None
    assert not [row for row in wrong.tried(FIRST, {"x"}).rows if row.culprit]
    assert [row.cause for row in wrong.tried(FIRST, set()).rows if row.culprit] == [row.cause]
    assert [row.name for row in PAIR.tried(FIRST, set()).rows] == ["x"]


def test_where_the_forward_pass_does_not_follow() -> None:
    floats = Pair(Functions(lambda x: {"y": x.float() * 2.0}, backward, inputs))
    with pytest.raises(SkippedError, match="forward turns float64 inputs into float32"):
        floats.tried(Conditions(dtype=torch.float64))
    mean = Pair(Functions(lambda x: {"y": x.sum(0) / (len(x) - 1)}, backward, inputs))
    with pytest.raises(SkippedError, match="the values of forward are not finite"):
        mean.tried(Conditions(size=Size("size 1", inputs, 1, 1, 4)))
    root = Pair(Functions(lambda x: {"y": (x * (len(x) - 1)).sqrt()}, backward, inputs))
    with pytest.raises(SkippedError, match="the gradients of automatic differentiation are not finite"):
        root.tried(Conditions(size=Size("size 1", inputs, 1, 1, 4)))


def test_a_value_that_is_not_finite_at_the_usual_size_may_be_so_at_every_size() -> None:
    def masked(x: Tensor) -> Values:
        mask = torch.full((len(x), 3), float("-inf")).triu(1)
        return {"mask": mask, "y": x * 2.0}

    pair = Pair(Functions(masked, lambda v, dy: {"x": 2 * dy}, inputs))
    assert pair.tried(Conditions(size=Size("size 7", inputs, 7, 7, 4))).rows


def test_a_backward_pass_that_raises_or_returns_nothing() -> None:
    def raises(v: Values, dy: Tensor) -> Values:
        dh = dy / 1
        dx = dh @ dh
        return {"x": dx}

    with pytest.raises(BackwardRaisedError) as info:
        pair_of(raises).tried(FIRST)
    assert info.value.value == "x" and info.value.line.endswith(": dx = dh @ dh")
    assert info.value.sentence.startswith("backward raised RuntimeError")
    with pytest.raises(BackwardRaisedError) as info:
        pair_of(lambda v, dy: None).tried(FIRST)
    assert info.value.value is None and "must return named values" in info.value.sentence


def test_a_second_call_shows_state_and_what_it_overwrites() -> None:
    first = PAIR.tried(FIRST)
    rows, overwritten = PAIR.second(first, set())
    assert not [row for row in rows if row.culprit] and not overwritten
    buffer = torch.zeros(4, 3)

    def into_a_buffer(v: Values, dy: Tensor) -> Values:
        torch.mul(2 * dy, v["y"], out=buffer)
        return {"x": buffer}

    pair = pair_of(into_a_buffer)
    assert set(pair.second(pair.tried(FIRST), set())[1]) == {"x"}
    calls: list[int] = []

    def counts(v: Values, dy: Tensor) -> Values:
        calls.append(1)
        return {"x": 2 * dy * v["y"] * (1 if len(calls) == 1 else 3)}

    pair = pair_of(counts)
    rows, _ = pair.second(pair.tried(FIRST), set())
    assert [row.name for row in rows if row.culprit] == ["x"]


def test_whether_it_takes_an_upstream_gradient() -> None:
    assert PAIR.takes_upstream and not pair_of(lambda v: {"x": v["y"]}).takes_upstream
    assert not PAIR.bound_to_dtypes and PAIR.inputs is inputs
