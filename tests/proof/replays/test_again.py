"""The replays that every subject has, made with one pair of functions each."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.replays import again
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.pair import Pair
from backproof.proof.replays.pair_calls import Functions
from backproof.proof.replays.subject import FIRST, Proof, SkippedError
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.rows import Row
from backproof.proof.user.layouts import LAYOUTS
from backproof.proof.user.sizes import Size

Values = dict[str, Tensor]
STRIDED, TRANSPOSED = LAYOUTS[:2]


def forward(x: Tensor) -> Values:
    return {"y": x.exp()}


def inputs(n: int = 5) -> Values:
    return {"x": torch.rand(n, 3)}


def right(v: Values, dy: Tensor) -> Values:
    return {"x": dy * v["y"]}


def proof_of(line: Callable, forward: Callable = forward, inputs: Callable = inputs) -> tuple[Proof, Ledger]:
    pair = Pair(Functions(forward, line, inputs))
    proof = Proof(pair, pair.tried(FIRST))
    return proof, Ledger(proof.first_run.rows)


def made(replay: Callable, line: Callable, **options: object) -> list[Row]:
    return [row for row in replay(*proof_of(line), **options) if row.culprit]


@pytest.mark.parametrize(
    ("replay", "options"),
    [
        (again.second_backward, {}),
        (again.random_upstream, {}),
        (again.in_float64, {}),
        (again.upstream_layout, {"layout": STRIDED}),
        (again.at_size, {"size": Size("size 7", inputs, 7, 7, 5)}),
    ],
)
def test_a_right_line_is_right_again(replay: Callable, options: dict) -> None:
    assert made(replay, right, **options) == []


@pytest.mark.parametrize(
    ("replay", "options"), [(again.random_upstream, {}), (again.upstream_layout, {"layout": STRIDED})]
)
def test_other_numbers_are_sent_than_in_the_first_run(replay: Callable, options: dict) -> None:
    """Also for a loss of one number, which had an upstream gradient of 1."""
    for forward in (lambda x: {"y": x.exp()}, lambda x: {"y": x.exp().sum()}):
        sent: list[Tensor] = []

        def looks(v: Values, dy: Tensor, sent: list[Tensor] = sent) -> Values:
            sent.append(dy.clone())
            return {"x": torch.zeros(5, 3)}

        proof, ledger = proof_of(looks, forward)
        first = sent[0]
        sent.clear()
        replay(proof, ledger, **options)
        assert all(not bool((dy == first).any()) for dy in sent)
        assert sent or (options and first.dim() == 0)  # one number has no layout


def test_state_between_calls() -> None:
    calls: list[int] = []

    def counts(v: Values, dy: Tensor) -> Values:
        calls.append(1)
        return {"x": dy * v["y"] * (1 if len(calls) < 2 else 2)}

    (row,) = made(again.second_backward, counts)
    assert row.cause == "F3" and row.certainty is Certainty.REPLAYED and "changes from call to call" in row.message
    buffer = torch.zeros(5, 3)

    def into_a_buffer(v: Values, dy: Tensor) -> Values:
        return {"x": torch.mul(dy, v["y"], out=buffer)}

    proof, ledger = proof_of(into_a_buffer)
    buffer.zero_()
    (row,) = again.second_backward(proof, ledger)
    assert (
        row.cause == "F3" and "the second backward pass changes the tensor that the first one returned" in row.message
    )


def test_a_second_call_that_raises() -> None:
    calls: list[int] = []

    def once(v: Values, dy: Tensor) -> Values:
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("only once")
        return right(v, dy)

    (row,) = made(again.second_backward, once)
    assert row.cause == "F3" and "backward raises when it is called a second time: ValueError: only once" in row.message
    assert row.certainty is Certainty.REPLAYED and row.applicability is Applicability.LOOK


def test_a_line_that_takes_its_argument_for_contiguous() -> None:
    def reads(v: Values, dy: Tensor) -> Values:
        return {"x": torch.cat([dy.as_strided(dy.shape, (3, 1))[:1], dy[1:]]) * v["y"]}

    (row,) = made(again.upstream_layout, reads, layout=STRIDED)
    assert row.cause == "F2" and row.applicability is Applicability.MENDS
    assert "when the upstream gradient is strided in memory, with strides (6, 2)" in row.message


def test_a_line_that_is_wrong_for_these_numbers_in_any_layout_is_not_accused_of_reading_memory() -> None:
    """The layout's numbers are others than the first run's; the same numbers in contiguous memory are wrong, too."""
    seen: list[float] = []

    def first_only(v: Values, dy: Tensor) -> Values:
        seen.append(float(dy.flatten()[0]))
        return {"x": dy * v["y"] * (1 if seen[0] == seen[-1] else 2)}

    rows = made(again.upstream_layout, first_only, layout=STRIDED)
    assert [row.cause for row in rows] == ["F12"]


def test_an_exception_for_a_layout() -> None:
    def views(v: Values, dy: Tensor) -> Values:
        dx = dy.view(-1).view(dy.shape) * v["y"]
        return {"x": dx}

    (row,) = made(again.upstream_layout, views, layout=TRANSPOSED)
    assert row.name == "x" and row.cause == "F2" and "dx = dy.view(-1)" in row.message


def test_a_shape_without_such_a_layout() -> None:
    one = {"x": torch.rand(1)}
    proof, ledger = proof_of(right, inputs=lambda: one)
    assert again.upstream_layout(proof, ledger, layout=STRIDED) == []


def test_without_room_for_an_upstream_gradient_there_is_nothing_to_send() -> None:
    def loss(x: Tensor) -> Values:
        return {"y": x.exp(), "loss": x.exp().sum()}

    proof, ledger = proof_of(lambda v: {"x": v["y"]}, loss)
    with pytest.raises(SkippedError, match="backward takes no upstream gradient"):
        again.random_upstream(proof, ledger)
    with pytest.raises(SkippedError, match="backward takes no upstream gradient"):
        again.upstream_layout(proof, ledger, layout=STRIDED)


def test_rounding_that_goes_away_in_float64_is_a_matter_of_precision() -> None:
    def loses_digits(v: Values, dy: Tensor) -> Values:
        return {"x": ((dy + 1e5) - 1e5) * v["y"]}

    proof, ledger = proof_of(loses_digits)
    assert ledger.unknown() == {"x"}
    (row,) = [row for row in again.in_float64(proof, ledger) if row.culprit]
    assert row.cause == "F5" and "in float64 it nearly vanishes" in row.message


def test_in_float64_there_is_no_wider_dtype() -> None:
    proof, ledger = proof_of(right, inputs=lambda: {"x": torch.rand(5, 3, dtype=torch.float64)})
    assert again.in_float64(proof, ledger) == []
    proof, ledger = proof_of(right)
    assert again.in_float64(proof, ledger)


@pytest.mark.parametrize(("n", "factor"), [(7, "7/5"), (3, "3/5")])
def test_a_size_that_is_written_as_a_number(n: int, factor: str) -> None:
    def mean(x: Tensor) -> Values:
        return {"y": x.mean(0)}

    proof, ledger = proof_of(lambda v, dy: {"x": (dy / 5).expand(_n(v), 3)}, lambda x: {"x": x, **mean(x)})
    (row,) = [row for row in again.at_size(proof, ledger, size=Size(f"size {n}", inputs, n, n, 5)) if row.culprit]
    assert row.cause == "F8" and f"is off by the factor {factor}, and right where {n} is 5" in row.message
    assert row.applicability is Applicability.MENDS and "has a term" not in row.message
    assert "the line holds 5 as a number" in row.message and "take the 5 from a tensor's shape" in row.message


def _n(v: Values) -> int:
    return len(v["x"])


def test_a_row_left_out_at_another_size() -> None:
    def even_rows(v: Values, dy: Tensor) -> Values:
        dx = dy * v["y"]
        dx[len(dx) // 4 * 4 + 1 :] = 0
        return {"x": dx}

    (row,) = made(again.at_size, even_rows, size=Size("size 7", inputs, 7, 7, 5))
    assert row.cause == "F7"


def test_a_size_that_backward_does_not_take() -> None:
    def picky(v: Values, dy: Tensor) -> Values:
        if len(dy) == 7:
            raise ValueError("not seven")
        return right(v, dy)

    (row,) = made(again.at_size, picky, size=Size("size 7", inputs, 7, 7, 5))
    assert row.cause is None and "backward raises for size 7: ValueError: not seven" in row.message
    assert "make it work there too, or skip this replay" in row.message


@pytest.mark.parametrize(("n", "causes"), [(7, ["F12"]), (3, ["F12"]), (2, [])])
def test_a_known_count_is_looked_at_again_where_the_size_is_another(n: int, causes: list[str]) -> None:
    """A factor 5 where n is 5 may be a count or a constant; sizes of one and two tell nothing."""
    proof, ledger = proof_of(lambda v, dy: {"x": 5 * dy * v["y"]})
    assert ledger.rows["x"].cause == "F8"
    rows = again.at_size(proof, ledger, size=Size(f"size {n}", inputs, n, n, 5))
    assert [row.cause for row in rows if row.culprit] == causes


def test_what_is_small_beside_larger_rows_is_seen_in_float64() -> None:
    def sums(x: Tensor, g: Tensor) -> Values:
        weights = torch.ones(len(x), 1, dtype=x.dtype)
        weights[0] = 1e9
        return {"x": x, "g": g, "y": x * weights * g}

    def makes(n: int = 4) -> Values:
        return {"x": torch.rand(n, 3), "g": torch.rand(3)}

    def tiles(v: Values, dy: Tensor) -> Values:
        weights = torch.ones(len(v["x"]), 1, dtype=dy.dtype)
        weights[0] = 1e9
        whole = len(dy) // 4 * 4
        terms = dy * v["x"] * weights
        return {"g": terms[:whole].sum(0), "x": dy * weights * v["g"]}

    proof, ledger = proof_of(tiles, sums, makes)
    assert not ledger.known()
    rows = again.at_size(proof, ledger, size=Size("size 7", makes, 7, 7, 4))
    assert [row.name for row in rows if row.culprit] == ["g"]
