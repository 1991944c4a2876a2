"""A kernel beside its reference: what is run, what needs a gradient, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import equal
from backproof.proof.replays.subject import FIRST, BackwardRaisedError, Conditions, FunctionRaisedError, SkippedError
from backproof.proof.report.rows import Verdict
from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.layouts import LAYOUTS
from backproof.proof.user.sizes import Size


class Square(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, up: Tensor) -> Any:
        return 2 * ctx.saved_tensors[0] * up


def square(x: Tensor) -> Tensor:
    return x * x


def inputs(n: int = 5) -> tuple[Tensor]:
    return (torch.rand(n, 3) + 0.5,)


KERNEL = Kernel(Square.apply, square, inputs)


def verdicts(kernel: Kernel, conditions: Conditions = FIRST, known: set[str] | None = None) -> dict[str, Verdict]:
    return {row.name: row.verdict for row in kernel.tried(conditions, known).rows}


def test_values_and_gradients_are_judged() -> None:
    trial = KERNEL.tried(FIRST)
    assert {row.name: row.verdict for row in trial.rows} == {"output": Verdict.EXACT, "x": Verdict.EXACT}
    assert trial.needs == ("x",) and list(trial.upstreams) == ["output"] and not trial.refused
    assert set(trial.gradients) == {"x"} and trial.function.leaves["x"].shape == (5, 3)


def test_a_replay_says_no_more_than_is_new() -> None:
    wrong = Kernel(lambda x: x * x.detach(), square, inputs)
    full = wrong.tried(FIRST)
    assert [row.name for row in full.rows if row.culprit] == ["x"]
    assert next(row for row in full.rows if row.name == "x").cause is not None
    again = wrong.tried(FIRST, {"x"})
    assert not [row for row in again.rows if row.culprit]
    assert [row.cause for row in wrong.tried(FIRST, set()).rows if row.culprit] == [full.rows[-1].cause]


def test_other_inputs_under_other_conditions() -> None:
    size = Size("size 7", inputs, 7, 7, 5)
    assert KERNEL.tried(Conditions(size=size)).function.leaves["x"].shape == (7, 3)
    wide = KERNEL.tried(Conditions(dtype=torch.float64))
    assert wide.upstreams["output"].dtype is torch.float64
    strided = next(layout for layout in LAYOUTS if layout.name == "strided")
    laid = KERNEL.tried(Conditions(input_layout=strided))
    assert laid.function.leaves["x"].stride() == (6, 2)
    sent = KERNEL.tried(Conditions(layout=strided)).upstreams["output"]
    assert sent.stride() == (6, 2)
    plain = KERNEL.tried(Conditions(layout=strided, contiguous=True)).upstreams["output"]
    assert plain.is_contiguous() and torch.equal(plain, sent)


def two(x: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    return x * w, x + w


def test_some_inputs_and_some_outputs() -> None:
    kernel = Kernel(two, two, lambda n=4: (torch.rand(n), torch.rand(n)))
    assert kernel.tried(FIRST).needs == ("x", "w")
    assert set(kernel.tried(Conditions(needs=("w",))).gradients) == {"w"}
    assert list(kernel.tried(Conditions(outputs=("output[1]",))).upstreams) == ["output[1]"]
    limited = Kernel(two, two, lambda n=4: (torch.rand(n), torch.rand(n)), ["w"])
    assert limited.tried(FIRST).needs == ("w",)


@pytest.mark.parametrize(
    ("kernel", "said"),
    [
        (Kernel(square, square, inputs, ["y"]), "grad_inputs names 'y', and the floating-point inputs are x"),
        (Kernel(square, square, lambda: (torch.arange(3),)), "No input is a floating-point tensor"),
        (Kernel(square, square, inputs, []), "No input is a floating-point tensor"),
        (Kernel(square, lambda x: x.detach(), inputs), "No output of reference depends on an input"),
    ],
)
def test_where_there_is_nothing_to_prove(kernel: Kernel, said: str) -> None:
    with pytest.raises(CannotProveError, match=said):
        kernel.tried(FIRST)


def test_who_raised() -> None:
    def broken(x: Tensor) -> Tensor:
        raise ValueError("no")

    with pytest.raises(FunctionRaisedError, match="function raised ValueError: no"):
        Kernel(broken, square, inputs).tried(FIRST)
    with pytest.raises(CannotProveError, match="reference raised ValueError: no"):
        Kernel(square, broken, inputs).tried(FIRST)

    class Raises(Square):
        @staticmethod
        def backward(ctx: Any, up: Tensor) -> Any:
            raise ValueError("not today")

    with pytest.raises(BackwardRaisedError, match="ValueError: not today") as info:
        Kernel(Raises.apply, square, inputs).tried(FIRST)
    said, line = info.value.sentence.split(" at line ")
    assert said == "The backward pass of function raised ValueError: not today"
    assert line.endswith(': raise ValueError("not today")')


def test_sizes_at_which_the_reference_is_not_finite_are_no_ones_fault() -> None:
    def mean(x: Tensor) -> Tensor:
        return x.sum(0) / (len(x) - 1)

    kernel = Kernel(mean, mean, inputs)
    with pytest.raises(SkippedError, match="the values or gradients of reference are not finite"):
        kernel.tried(Conditions(size=Size("size 1", inputs, 1, 1, 5)))
    assert kernel.tried(Conditions(size=Size("size 2", inputs, 2, 2, 5))).rows


def test_a_function_that_leaves_the_dtype_shows_nothing_in_it() -> None:
    kernel = Kernel(lambda x: (x * x).float(), square, inputs)
    with pytest.raises(SkippedError, match="function turns float64 inputs into a float32"):
        kernel.tried(Conditions(dtype=torch.float64))


def test_none_stands_for_zeros_and_for_nothing_else() -> None:
    class Nothing(Square):
        @staticmethod
        def backward(ctx: Any, up: Tensor) -> Any:
            return None

    assert verdicts(Kernel(Nothing.apply, square, inputs))["x"] is Verdict.MISSING
    zero = Kernel(Nothing.apply, lambda x: x * x.detach() * 0 + (x * x).detach(), inputs)
    assert "x" not in verdicts(zero)


def test_four_roundings_of_the_inputs_are_tried() -> None:
    """One may by chance leave an output where it is; the largest change of each element counts."""
    calls: list[Tensor] = []

    def reference(x: Tensor) -> Tensor:
        calls.append(x.detach())
        return x * x

    kernel = Kernel(square, reference, (torch.tensor([1.0, 2.0]),))
    values = kernel.values(FIRST)
    truth = kernel.truth(values, ("x",))
    assert truth is not None
    calls.clear()
    moved = kernel._moved(values, ("x",), truth)["output"]
    assert len(calls) == 4 and all(call.dtype is torch.float64 for call in calls)
    eps = torch.finfo(torch.float32).eps
    assert {tuple(call.tolist()) for call in calls} <= {
        (1 + a * eps, 2 + 2 * b * eps) for a in (-1, 1) for b in (-1, 1)
    }
    assert moved.tolist() == pytest.approx([2 * eps, 8 * eps], rel=1e-3)


def test_a_badly_conditioned_value_is_excused_by_what_rounding_the_inputs_does() -> None:
    """x - 1000, in another order: four digits are lost before the function is called."""

    def reference(x: Tensor) -> Tensor:
        return (x - 1000.0) * 3.0

    def function(x: Tensor) -> Tensor:
        return x * 3.0 - 3000.0

    def near(n: int = 5) -> tuple[Tensor]:
        return (1000.0 + torch.rand(n) * 1e-2,)

    assert verdicts(Kernel(function, reference, near))["output"] is Verdict.ROUNDING
    assert verdicts(Kernel(lambda x: function(x) + 0.01, reference, near))["output"] is Verdict.WRONG


def test_without_float64_the_reference_is_its_own_truth() -> None:
    def only_float(x: Tensor) -> Tensor:
        assert x.dtype is torch.float32
        return x * x

    assert Kernel(Square.apply, only_float, inputs).truth(KERNEL.values(FIRST), ("x",)) is None
    narrow = Kernel(Square.apply, lambda x: (x * x).float(), inputs)
    assert narrow.truth(narrow.values(FIRST), ("x",)) is None
    assert verdicts(Kernel(Square.apply, only_float, inputs)) == {"output": Verdict.EXACT, "x": Verdict.EXACT}


def test_a_shape_that_the_engine_refuses_is_judged_all_the_same_and_ends_the_proof() -> None:
    class Turned(Square):
        @staticmethod
        def backward(ctx: Any, up: Tensor) -> Any:
            return (2 * ctx.saved_tensors[0] * up).T

    trial = Kernel(Turned.apply, square, inputs).tried(FIRST)
    assert trial.refused == "automatic differentiation refuses gradients of these shapes"
    assert {row.name: row.cause for row in trial.rows if row.culprit} == {"x": "F10"}


def test_what_changes_when_a_graph_is_used_again() -> None:
    trial = KERNEL.tried(FIRST)
    assert KERNEL.second(trial, set()) == ([], {})
    calls: list[int] = []

    class Counting(Square):
        @staticmethod
        def backward(ctx: Any, up: Tensor) -> Any:
            calls.append(1)
            return 2 * ctx.saved_tensors[0] * up * len(calls)

    kernel = Kernel(Counting.apply, square, inputs)
    first = kernel.tried(FIRST)
    rows, overwritten = kernel.second(first, set())
    assert [row.name for row in rows if row.culprit] == ["x"] and not overwritten
    assert kernel.second(first, {"x"})[0] == []


def test_gradients_are_equal_where_both_are_none_or_have_the_same_bits() -> None:
    one = torch.ones(3)
    assert equal(None, None) and equal(one, one.clone())
    assert not equal(None, one) and not equal(one, None) and not equal(one, 2 * one)


def test_only_floating_point_inputs_are_laid_out_in_another_way() -> None:
    rows, table = torch.arange(6).reshape(3, 2), torch.rand(7, 4)
    kernel = Kernel(lambda rows, table: table[rows], lambda rows, table: table[rows], (rows, table))
    values = kernel.values(Conditions(input_layout=LAYOUTS[0]))
    assert values["rows"].stride() == rows.stride() and values["table"].stride() != table.stride()
    assert torch.equal(values["rows"], rows)
