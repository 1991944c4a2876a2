"""Every claim of `prove_function`, each with a kernel that is wrong on purpose, and right ones that it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function

from backproof.proof.function import prove_function
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Verdict
from backproof.proof.user.calls import CannotProveError


def reference(x: Tensor, w: Tensor) -> Tensor:
    return torch.tanh(x * w)


def inputs(n: int = 16) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 5), torch.randn(1, 5)


class Right(Function):
    """tanh(x w) for x of shape (n, 5) and w of shape (1, 5)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        y = torch.tanh(x * w)
        ctx.save_for_backward(x, w, y)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        x, w, y = ctx.saved_tensors
        return rest(x, w, dy * (1 - y * y))


def rest(x: Tensor, w: Tensor, dz: Tensor) -> tuple[Tensor, Tensor]:
    return dz * w, (dz * x).sum(0, keepdim=True)


def with_backward(backward: Callable) -> type[Function]:
    return type("Wrong", (Right,), {"backward": staticmethod(backward)})


def with_forward(forward: Callable) -> type[Function]:
    return type("Wrong", (Right,), {"forward": staticmethod(forward)})


def proved(function: Any, **options: Any) -> Report:
    return prove_function(function, reference, inputs, **options)


def found(report: Report) -> list[tuple[str, str | None, str | None]]:
    assert not report.ok
    return sorted((row.name, row.cause, row.replay) for row in report.culprits)


def test_a_right_function_is_proved_in_every_replay() -> None:
    report = proved(Right)
    assert report.ok, report
    assert not report.skipped
    assert {row.name for row in report.rows} == {"output", "x", "w"}


def test_any_callable_and_any_arguments() -> None:
    def scaled(x: Tensor, power: int) -> Any:
        return Power.apply(x, power)

    class Power(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, power: int) -> Tensor:
            ctx.save_for_backward(x)
            ctx.power = power
            return x**power

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            (x,) = ctx.saved_tensors
            return dy * ctx.power * x ** (ctx.power - 1), None

    assert prove_function(scaled, lambda x, power: x**power, (torch.randn(3, 5), 3)).ok
    assert prove_function(torch.sin, torch.sin, {"x": torch.randn(3, 5)}).ok


def test_a_gradient_as_close_to_float64_as_the_references_own_is_right() -> None:
    class Softmax(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            wide = x.double() if x.dtype is torch.float64 else x.float()
            y = torch.exp(wide - wide.logsumexp(1, keepdim=True)).to(x.dtype)
            ctx.save_for_backward(y)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            (y,) = ctx.saved_tensors
            dot = (dy * y).sum(1, keepdim=True, dtype=torch.promote_types(y.dtype, torch.float32))
            return (y * (dy - dot)).to(y.dtype)

    for seed in range(5):
        report = prove_function(Softmax, lambda x: x.softmax(1), lambda n=7: (torch.randn(n, 33) * 5,), seed=seed)
        assert report.ok, report


# --- F1, F2


def test_an_ignored_upstream_gradient() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        return rest(x, w, 1 - y * y)

    report = proved(with_backward(backward))
    assert found(report) == [("w", "F1", None), ("x", "F1", None)]
    assert report["x"].message.startswith("dx ignores the upstream gradient")


def test_an_upstream_gradient_taken_for_contiguous() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        return rest(x, w, dy.as_strided(dy.shape, (5, 1)) * (1 - y * y))

    report = proved(with_backward(backward))
    assert found(report) == [("w", "F2", "upstream strided"), ("x", "F2", "upstream strided")]


def test_an_upstream_gradient_that_only_sum_backward_sends() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        flat = dy.as_strided(dy.shape, (5, 1)) if dy.stride() == (0, 0) else dy
        return rest(x, w, flat * (1 - y * y))

    report = proved(with_backward(backward))
    assert found(report) == [("w", "F2", "upstream expanded"), ("x", "F2", "upstream expanded")]


def test_an_exception_for_a_layout_is_a_finding() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        assert dy.is_contiguous(), "contiguous only"
        return Right.backward(ctx, dy)

    report = proved(with_backward(backward))
    assert found(report) == [("output", "F2", "upstream strided")]
    assert "AssertionError: contiguous only" in report["output"].message


def test_an_input_taken_for_contiguous() -> None:
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        return Right.forward(ctx, x.as_strided(x.shape, (5, 1)), w)

    report = proved(with_forward(forward))
    assert {(cause, replay) for _, cause, replay in found(report)} == {("F2", "inputs strided")}
    assert "output" in {row.name for row in report.culprits}


def test_an_input_layout_that_the_function_refuses_is_listed() -> None:
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        if not x.is_contiguous():
            raise ValueError("x must be contiguous")
        return Right.forward(ctx, x, w)

    report = proved(with_forward(forward))
    assert report.ok
    assert "inputs strided: function raised ValueError: x must be contiguous." in report.skipped


# --- F3


def test_the_upstream_gradient_changed_in_place() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        return rest(x, w, dy.mul_(1 - y * y))

    report = proved(with_backward(backward))
    assert found(report) == [("output", "F3", "arguments unchanged")]
    assert report["output"].message.startswith("The backward pass changes the upstream gradient of output in place.")


def test_an_input_changed_by_the_forward_pass() -> None:
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        y = Right.forward(ctx, x.clone(), w)
        x.mul_(0.5)
        return y

    report = proved(with_forward(forward))
    assert ("x", "F3", "arguments unchanged") in found(report)
    assert report["x"].message.startswith("The forward pass changes its input x in place.")


def test_a_saved_tensor_changed_by_the_backward_pass() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        gradients = rest(x, w, dy * (1 - y * y))
        x.detach().zero_()
        return gradients

    report = proved(with_backward(backward))
    assert ("x", "F3", "arguments unchanged") in found(report)


def test_a_second_backward_pass_that_differs() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        ctx.calls = getattr(ctx, "calls", 0) + 1
        return rest(x, w, dy * (1 - y * y) * ctx.calls)

    report = proved(with_backward(backward))
    assert found(report) == [("w", "F3", "second backward"), ("x", "F3", "second backward")]


def test_a_second_backward_pass_that_is_refused_is_no_fault() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        if getattr(ctx, "spent", False):
            raise RuntimeError("spent")
        ctx.spent = True
        return Right.backward(ctx, dy)

    report = proved(with_backward(backward))
    assert report.ok
    assert report.skipped == (
        "second backward: the backward pass of function refuses a second one: RuntimeError: spent.",
    )


def test_state_on_the_class() -> None:
    class Shared(Right):
        saved: tuple = ()

        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            y = torch.tanh(x * w)
            Shared.saved = x, w, y
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            x, w, y = Shared.saved
            return rest(x, w, dy * (1 - y * y))

    report = proved(Shared)
    assert found(report) == [("w", "F3", "two graphs at once"), ("x", "F3", "two graphs at once")]
    assert "depends on other calls" in report["x"].message


def test_a_residual_branch_that_gets_a_damaged_gradient() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        return rest(x, w, dy.mul_(1 - y * y))

    report = prove_function(with_backward(backward), reference, inputs, skip=["arguments unchanged", "layouts"])
    assert {(row.cause, row.replay) for row in report.culprits} == {("F3", "used twice")}
    assert "as in a residual branch" in report["x"].message


# --- F4 and needs-grad subsets


def test_none_for_a_needed_gradient() -> None:
    report = proved(with_backward(lambda ctx, dy: (Right.backward(ctx, dy)[0], None)))
    assert found(report) == [("w", "F4", None)]
    assert report["w"].verdict is Verdict.MISSING


def test_none_for_a_gradient_of_zeros_is_right() -> None:
    class Sign(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
            return x + torch.sign(w)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return dy, None

    report = prove_function(Sign, lambda x, w: x + torch.sign(w), (torch.randn(3, 5), torch.randn(3, 5)))
    assert report.ok, report


def test_an_output_without_a_graph() -> None:
    report = proved(lambda x, w: torch.tanh(x * w).detach())
    assert found(report) == [("w", "F4", None), ("x", "F4", None)]


def test_a_gradient_that_is_given_only_when_another_is_needed() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        dx, dw = Right.backward(ctx, dy)
        return dx, dw if ctx.needs_input_grad[0] else None

    report = proved(with_backward(backward))
    assert found(report) == [("w", "F4", "only w needs a gradient")]


def test_grad_inputs_limits_what_is_asked_for() -> None:
    function = with_backward(lambda ctx, dy: (Right.backward(ctx, dy)[0], None))
    assert proved(function, grad_inputs=["x"]).ok


# --- F5, F7, F9, F10, F12


def test_a_sum_in_low_precision() -> None:
    class RowSum(Function):
        """Adds the columns one by one, rounding to the input's dtype after each."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.columns = x.shape[1]
            total = torch.zeros_like(x[:, 0])
            for column in x.unbind(1):
                total = total + column
            return total

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return dy[:, None].expand(-1, ctx.columns)

    report = prove_function(RowSum, lambda x: x.sum(1), (torch.rand(3, 700),))
    assert found(report) == [("output", "F5", "bfloat16")]
    message = report["output"].message
    assert "less precise in bfloat16 than plain operations" in message
    assert "error against float64" in message
    assert "next: sum in float32" in message


def test_a_gradient_summed_in_low_precision() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        dz = dy * (1 - y * y)
        dw = torch.zeros_like(w)
        for row in dz * x:
            dw = dw + row
        return dz * w, dw

    made = lambda: (torch.rand(900, 5), torch.rand(1, 5))  # noqa: E731
    report = prove_function(with_backward(backward), reference, made)
    assert {(row.name, row.cause) for row in report.culprits} == {("w", "F5")}
    assert prove_function(Right, reference, made).ok


def test_a_dtype_that_the_function_refuses_is_listed() -> None:
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        if x.dtype is not torch.float32:
            raise TypeError("float32 only")
        return Right.forward(ctx, x, w)

    report = proved(with_forward(forward))
    assert report.ok
    refused = [line for line in report.skipped if "float32 only" in line]
    assert [line.split(":")[0] for line in refused] == ["float64", "bfloat16", "float16"]


def test_a_last_partial_tile_left_out_of_the_values() -> None:
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        y = Right.forward(ctx, x, w).clone()
        full = len(y) // 16 * 16
        if full:
            y[full:] = 0
        return y

    report = proved(with_forward(forward))
    assert found(report)[0] == ("output", "F7", "size 67")
    assert "rows 64 to 66 of 67 differ" in report["output"].message


@pytest.mark.parametrize("factor", [1, 2])
def test_a_broadcast_sum_that_the_engine_makes_is_noted(factor: int) -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        x, w, y = ctx.saved_tensors
        dz = dy * (1 - y * y)
        return dz * w, factor * dz * x

    report = proved(with_backward(backward))
    said = "dw is returned with shape [16, 5], and the engine sums it to [1, 5], as it does"
    assert report.notes == (f"{said} for an input that is broadcast.",)
    assert [(row.name, row.cause) for row in report.culprits] == ([] if factor == 1 else [("w", "F12")])


def test_a_shape_that_the_engine_refuses_is_named_all_the_same() -> None:
    def backward(ctx: Any, dy: Tensor) -> Any:
        dx, dw = Right.backward(ctx, dy)
        return dx.T, dw

    report = proved(with_backward(backward))
    assert found(report) == [("x", "F10", None)]
    assert report.skipped == ("all replays: automatic differentiation refuses gradients of these shapes.",)


def test_a_constant_factor() -> None:
    report = proved(with_backward(lambda ctx, dy: tuple(2 * part for part in Right.backward(ctx, dy))))
    assert {row.cause for row in report.culprits} == {"F12"}


def test_a_constant_that_happens_to_fit_the_size_is_a_constant() -> None:
    class Plain(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x / 5 * 4

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return dy

    report = prove_function(Plain, lambda x: x / 5 * 4, lambda n=5: (torch.randn(n, 7),))
    assert found(report) == [("x", "F16", "size 67")]


def test_a_wrong_value() -> None:
    report = proved(with_forward(lambda ctx, x, w: Right.forward(ctx, x, w) * 1.001))
    assert "output" in {row.name for row in report.culprits}
    assert report["output"].message.startswith("output is not what the reference computes.")


def test_a_value_of_another_shape_or_dtype() -> None:
    assert proved(lambda x, w: reference(x, w).double())["output"].verdict is Verdict.DTYPE
    report = proved(lambda x, w: reference(x, w)[:, :4])
    assert report["output"].verdict is Verdict.SHAPE
    assert "has shape [16, 4], the reference's [16, 5]" in report["output"].message


# --- several outputs


class Both(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        ctx.save_for_backward(x)
        return x.sin(), x.cos()

    @staticmethod
    def backward(ctx: Any, da: Tensor, db: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return da * x.cos() - db * x.sin()


def test_several_outputs() -> None:
    def plain(x: Tensor) -> tuple[Tensor, Tensor]:
        return x.sin(), x.cos()

    report = prove_function(Both, plain, lambda n=6: (torch.randn(n, 5),))
    assert report.ok, report
    assert {row.name for row in report.rows} == {"output[0]", "output[1]", "x"}

    def backward(ctx: Any, da: Tensor, db: Tensor) -> Any:
        return da * ctx.saved_tensors[0].cos()

    half = type("Half", (Both,), {"backward": staticmethod(backward)})
    assert found(prove_function(half, plain, lambda n=6: (torch.randn(n, 5),)))[0][0] == "x"


def test_outputs_that_carry_no_gradient() -> None:
    class Max(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            values, places = x.max(1)
            ctx.mark_non_differentiable(places)
            ctx.save_for_backward(places)
            ctx.shape = x.shape
            return values, places

        @staticmethod
        def backward(ctx: Any, dvalues: Tensor, _: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            (places,) = ctx.saved_tensors
            return dvalues.new_zeros(ctx.shape).scatter(1, places[:, None], dvalues[:, None])

    report = prove_function(Max, lambda x: tuple(x.max(1)), lambda n=6: (torch.randn(n, 5),))
    assert report.ok, report


# --- bad input


def _raises(*arguments: Any) -> Tensor:
    raise KeyError("oh")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((3, reference, inputs), {}, "function must be a torch.autograd.Function or a callable; it is a int"),
        ((_raises, reference, inputs), {}, "function raised KeyError: 'oh'"),
        ((Right, _raises, inputs), {}, "reference raised KeyError: 'oh'"),
        (
            (with_backward(_raises), reference, inputs),
            {},
            "The backward pass of function raised KeyError: 'oh'",
        ),
        (
            (Right, reference, inputs),
            {"grad_inputs": ["v"]},
            "grad_inputs names 'v', and the floating-point inputs are x, w",
        ),
        ((abs, abs, (torch.arange(3),)), {}, "No input is a floating-point tensor"),
        ((Right, lambda x, w: torch.ones(3), inputs), {}, "No output of reference depends on an input"),
        ((Right, lambda x, w: 3, inputs), {}, "reference must return a tensor or several; it returned a int"),
    ],
)
def test_what_cannot_be_run_says_why(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(CannotProveError) as caught:
        prove_function(*arguments, **options)
    assert message in str(caught.value)


def test_a_size_written_as_a_number_is_found_where_that_size_changes() -> None:
    class Mean(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            ctx.shape = x.shape
            return x.mean(1)

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            return dy.unsqueeze(1).expand(ctx.shape) / 4

    def make(n: int = 16, width: int = 4) -> tuple[Tensor]:
        return (torch.randn(n, width),)

    report = prove_function(Mean, lambda x: x.mean(1), make)
    assert found(report)[0] == ("x", "F8", "size width=6")
    assert "the line holds 4 as a number" in report["x"].message


def test_a_sparse_gradient_is_its_numbers() -> None:
    class Rows(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, W: Tensor, i: Tensor) -> Tensor:
            ctx.save_for_backward(i)
            ctx.shape = W.shape
            return W[i]

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            (i,) = ctx.saved_tensors
            return torch.sparse_coo_tensor(i[None], dy, ctx.shape, check_invariants=True), None

    inputs = torch.randn(5, 3), torch.tensor([0, 1, 1, 4])
    assert prove_function(Rows, lambda W, i: W[i], inputs).ok
    with pytest.raises(CannotProveError, match="floating-point dtypes"):
        prove_function(Rows, lambda W, i: W[i], inputs, dtypes=["bf16"])  # pyright: ignore[reportArgumentType]


class Pair(Function):
    """sin and cos, with no gradient made up for one that nobody uses."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        ctx.set_materialize_grads(False)
        a, b = x.sin(), x.cos()
        ctx.save_for_backward(a, b)
        return a, b

    @staticmethod
    def backward(ctx: Any, da: Tensor | None, db: Tensor | None) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        a, b = ctx.saved_tensors
        if da is None and db is None:
            return None
        return (0 if da is None else da * b) - (0 if db is None else db * a)


def proved_pair(backward: Callable | None = None) -> Report:
    function = type("Wrong", (Pair,), {"backward": staticmethod(backward)}) if backward else Pair
    return prove_function(function, lambda x: (x.sin(), x.cos()), (torch.randn(4, 3),))


def test_an_unused_output_whose_gradient_is_none() -> None:
    def backward(ctx: Any, da: Tensor, db: Tensor) -> Any:
        a, b = ctx.saved_tensors
        return da * b - db * a

    assert proved_pair().ok
    report = proved_pair(backward)
    assert found(report) == [("output[0]", "F4", "only output[0]")]
    message = report["output[0]"].message
    assert "the gradient of output[1], which nobody uses, is None there: TypeError" in message
    assert "next: take None for zeros, or leave out ctx.set_materialize_grads(False)" in message
    assert any("used twice: the backward pass of function raises when only output[0]" in s for s in report.skipped)


def test_a_backward_pass_that_raises_for_one_output_alone_for_another_reason() -> None:
    def backward(ctx: Any, da: Tensor | None, db: Tensor | None) -> Any:
        if db is None or not bool(db.any()):
            raise ValueError("two are needed")
        return Pair.backward(ctx, da, db)

    report = proved_pair(backward)
    assert [row.cause for row in report.culprits] == ["F4"]
    assert "ValueError: two are needed" in report["output[0]"].message and "None" not in report["output[0]"].message


def test_the_output_whose_share_is_missing_is_named() -> None:
    def backward(ctx: Any, da: Tensor | None, db: Tensor | None) -> Any:
        return Pair.backward(ctx, da, None)

    report = proved_pair(backward)
    assert report["x"].cause == "F6"
    assert "the share that comes back through output[1] is missing" in report["x"].message
    assert "your gradient equals the share of output[0] alone" in report["x"].message
    assert "mend: add what flows back from doutput[1] through output[1] = cos(x)" in report["x"].message


def test_an_output_that_is_computed_from_another_or_is_an_input() -> None:
    class Chain(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Any:
            ctx.save_for_backward(x)
            return x.sin(), x.sin().exp()

        @staticmethod
        def backward(ctx: Any, da: Tensor, db: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            (x,) = ctx.saved_tensors
            return (da + db * x.sin().exp()) * x.cos()

    def chain(x: Tensor) -> dict[str, Tensor]:
        a = x.sin()
        return {"a": a, "x": a.exp()}

    assert prove_function(Chain, lambda x: (x.sin(), x.sin().exp()), (torch.randn(4, 3),)).ok
    assert prove_function(lambda x: dict(zip("ax", Chain.apply(x), strict=True)), chain, (torch.randn(4, 3),)).ok
    assert prove_function(lambda x: (x, x * 2), lambda x: (x, x * 2), (torch.randn(4, 3),)).ok


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        (0, "the term that comes back through mean(x), in output = (x - mean(x)) * ..., is missing"),
        (1, "one of the terms of what comes back through output is missing"),
    ],
)
def test_a_term_inside_the_only_line_does_not_contradict_itself(lost: int, said: str) -> None:
    class Norm(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            y = norm(x)
            ctx.save_for_backward(x, y)
            return y

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            x, y = ctx.saved_tensors
            rstd = (x.var(1, keepdim=True, unbiased=False) + 1e-5).rsqrt()
            return rstd * (dy - y * (dy * y).mean(1, keepdim=True))

    def norm(x: Tensor) -> Tensor:
        if lost:
            return torch.nn.functional.layer_norm(x, (7,))
        return (x - x.mean(1, keepdim=True)) * (x.var(1, keepdim=True, unbiased=False) + 1e-5).rsqrt()

    report = prove_function(Norm, norm, (torch.randn(4, 7),))
    assert found(report) == [("x", "F6", None)]
    message = report["x"].message
    assert said in message and "your gradient equals the other terms alone" in message


@pytest.mark.parametrize("scale", [1.0, 1.01])
def test_a_value_that_rounding_the_inputs_moves_as_far_is_right(scale: float) -> None:
    """Of a constant row, layer normalisation makes rounding over the root of epsilon; elsewhere 1 % is a fault."""

    class Normalise(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            mean = x.sum(1, keepdim=True) / x.shape[1]
            rstd = (((x - mean) ** 2).sum(1, keepdim=True) / x.shape[1] + 1e-5) ** -0.5
            xhat = scale * (x - mean) * rstd
            ctx.save_for_backward(xhat / scale, rstd)
            return xhat

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:
            xhat, rstd = ctx.saved_tensors
            return rstd * (dy - dy.mean(1, keepdim=True) - xhat * (dy * xhat).mean(1, keepdim=True))

    x = torch.randn(6, 7, generator=torch.Generator().manual_seed(1))
    x[2:] = 1.7
    report = prove_function(Normalise, lambda x: torch.nn.functional.layer_norm(x, x.shape[1:]), (x,), dtypes=())
    assert report.ok == (scale == 1), report


def heads_first(reads: Callable) -> type[Function]:
    """A gated sum over heads of x (batch, head, time, width), whose backward pass reads its arguments by `reads`."""

    class Gated(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, gate: Tensor) -> Tensor:
            ctx.save_for_backward(x, gate)
            return x * gate.sigmoid()

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            x, gate = ctx.saved_tensors
            s = gate.sigmoid()
            dy, x = reads(dy), reads(x)
            return dy * s, dy * x * s * (1 - s)

    return Gated


def rows_in_order(value: Tensor) -> Tensor:
    """Takes everything but the batch's stride for contiguous, where the last dimension is."""
    if value.stride(-1) != 1:
        return value
    return value.as_strided(value.shape, (value.stride(0), *value.contiguous()[0].stride()), value.storage_offset())


def wrong_for_images(value: Tensor) -> Tensor:
    dense = value.is_contiguous(memory_format=torch.channels_last) and not value.is_contiguous()
    return value.as_strided(value.shape, torch.empty(value.shape).stride()) if dense else value


def wrong_for_volumes(value: Tensor) -> Tensor:
    if value.ndim != 5 or value.is_contiguous() or not value.is_contiguous(memory_format=torch.channels_last_3d):
        return value
    return value.as_strided(value.shape, torch.empty(value.shape).stride())


@pytest.mark.parametrize(
    ("reads", "shape", "replay"),
    [
        (rows_in_order, (3, 2, 4), "upstream transposed(0, 1)"),
        (rows_in_order, (2, 3, 4, 5), "upstream transposed(0, 1)"),
        (wrong_for_images, (2, 3, 4, 5), "upstream channels_last"),
        (wrong_for_volumes, (2, 3, 4, 2, 3), "upstream channels_last_3d"),
    ],
)
def test_layouts_that_real_networks_send(reads: Callable, shape: tuple[int, ...], replay: str) -> None:
    def gated(x: Tensor, gate: Tensor) -> Tensor:
        return x * gate.sigmoid()

    def given(n: int = 3) -> tuple[Tensor, Tensor]:
        return torch.randn(shape), torch.randn(shape)

    skip = ["state", "dtypes", "sizes", "inputs"]
    assert prove_function(heads_first(lambda value: value), gated, given, skip=skip).ok
    report = prove_function(heads_first(reads), gated, given, skip=skip)
    assert {(row.cause, row.replay) for row in report.culprits} == {("F2", replay)}, report
