"""Functions as they really are: what they leave out, mark, refuse, write into and return besides is no fault."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import Function
from torch.utils.checkpoint import checkpoint

from backproof.proof.function import prove_function
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Verdict


def culprits(report: Report) -> list[tuple[str, str | None]]:
    return sorted((row.name, row.cause) for row in report.culprits)


# --- float inputs that are not differentiated


class Rotate(Function):
    """x cos + turned(x) sin, as rotary embeddings have it; no gradient for the angles."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return x * cos + torch.stack((-x[..., 1], x[..., 0]), -1) * sin

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        cos, sin = ctx.saved_tensors
        return rotated_back(dy, cos, sin), None, None


def rotated_back(dy: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return dy * cos + torch.stack(((dy * sin)[..., 1], -(dy * sin)[..., 0]), -1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    return x * cos + torch.stack((-x[..., 1], x[..., 0]), -1) * sin


def angles(n: int = 5) -> tuple[Tensor, Tensor, Tensor]:
    angle = torch.randn(n, 1)
    return torch.randn(n, 2), angle.cos(), angle.sin()


def test_a_missing_gradient_says_how_to_leave_the_input_out() -> None:
    report = prove_function(Rotate, rotate, angles)
    assert culprits(report) == [("cos", "F4"), ("sin", "F4")]
    said = "name the inputs that are: grad_inputs=['x']"
    assert said in report["cos"].message and "if sin is not to be differentiated" in report["sin"].message
    assert prove_function(Rotate, rotate, angles, grad_inputs=["x"]).ok


def test_where_all_are_missing_there_is_no_other_to_name() -> None:
    class Nothing(Rotate):
        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return None, None, None

    report = prove_function(Nothing, rotate, angles)
    assert len(report.culprits) == 3 and "grad_inputs" not in str(report)


def test_requires_grad_on_some_inputs_says_that_the_others_are_not_differentiated() -> None:
    def marked(n: int = 5) -> Any:
        x, cos, sin = angles(n)
        return x.requires_grad_(), cos, sin

    report = prove_function(Rotate, rotate, marked)
    assert report.ok
    assert report.notes == tuple(
        f"d{name} is None. {name} was given without requires_grad and x with it, so none is asked for."
        for name in ("cos", "sin")
    )

    def all_marked(n: int = 5) -> Any:
        return tuple(one.requires_grad_() for one in angles(n))

    assert culprits(prove_function(Rotate, rotate, all_marked)) == [("cos", "F4"), ("sin", "F4")]


def masked(asks: Callable[[Any], Any]) -> type[Function]:
    """x w m, where `asks` is how backward looks at what needs a gradient; none is given for m."""

    class Masked(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor, m: Tensor) -> Tensor:
            ctx.save_for_backward(x, w, m)
            return x * w * m

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            x, w, m = ctx.saved_tensors
            needs_x, needs_w = asks(ctx)
            return dy * w * m if needs_x else None, (dy * x * m).sum(0) if needs_w else None, None

    return Masked


def masks(n: int = 5) -> tuple[Tensor, ...]:
    return torch.randn(n, 3), torch.randn(3), torch.rand(n, 3)


def product(x: Tensor, w: Tensor, m: Tensor) -> Tensor:
    return x * w * m


@pytest.mark.parametrize(
    ("asks", "fine"),
    [
        (lambda ctx: (ctx.needs_input_grad[0], ctx.needs_input_grad[1]), True),
        (lambda ctx: ctx.needs_input_grad[:2], True),
        (lambda ctx: (True, True), False),
        (lambda ctx: (any(ctx.needs_input_grad),) * 2, False),
        (lambda ctx: tuple(ctx.needs_input_grad)[:2], False),
        (lambda ctx: (ctx.needs_input_grad[0], ctx.needs_input_grad[-1] or True), False),
    ],
)
@pytest.mark.parametrize("inside", [False, True])
def test_needs_input_grad_shows_what_a_function_never_differentiates(asks: Any, fine: bool, inside: bool) -> None:
    apply = masked(asks).apply
    function, reference = apply, product
    if inside:
        function, reference = (lambda x, w, m, f=f: f(x.sin(), w, m).sum(1) for f in (apply, product))
    report = prove_function(function, reference, masks, dtypes=())
    assert culprits(report) == ([] if fine else [("m", "F4")])
    if fine:
        assert len(report.notes) == 1 and report.notes[0].startswith(
            "dm is None. The function asks ctx.needs_input_grad"
        )
    assert culprits(prove_function(function, reference, masks, dtypes=(), grad_inputs=["x", "m"])) == [("m", "F4")]


# --- outputs that carry no gradient, or that the reference does not have


class Normalise(Function):
    """Layer normalisation that also returns mean and 1/std, which are marked as not differentiable."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        mean, rstd = x.mean(1), (x.var(1, unbiased=False) + 1e-5).rsqrt()
        y = (x - mean[:, None]) * rstd[:, None]
        ctx.save_for_backward(y, rstd)
        ctx.mark_non_differentiable(mean, rstd)
        return y, mean, rstd

    @staticmethod
    def backward(ctx: Any, dy: Tensor, _mean: Tensor, _rstd: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        y, rstd = ctx.saved_tensors
        return rstd[:, None] * (dy - dy.mean(1, keepdim=True) - y * (dy * y).mean(1, keepdim=True))


class Unnormalised(Normalise):
    @staticmethod
    def backward(ctx: Any, dy: Tensor, _mean: Tensor, _rstd: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        _, rstd = ctx.saved_tensors
        return rstd[:, None] * (dy - dy.mean(1, keepdim=True))


def normalise(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    mean, rstd = x.mean(1), (x.var(1, unbiased=False) + 1e-5).rsqrt()
    return (x - mean[:, None]) * rstd[:, None], mean, rstd


def rows(n: int = 6) -> tuple[Tensor]:
    return (torch.randn(n, 5),)


def test_outputs_marked_as_not_differentiable() -> None:
    report = prove_function(Normalise, normalise, rows, sizes=(7, 2))
    assert report.ok, report
    assert report.notes[0].startswith("output[1] and output[2] of function has no graph, as ctx.mark_non_diff")
    assert culprits(prove_function(Unnormalised, normalise, rows, dtypes=()))[0][0] == "x"


def test_an_only_output_without_a_graph_is_no_matter_of_marks() -> None:
    assert culprits(prove_function(lambda x: normalise(x)[0].detach(), lambda x: normalise(x)[0], rows)) == [
        ("x", "F4")
    ]


def test_more_outputs_than_the_reference_has() -> None:
    report = prove_function(Normalise, lambda x: normalise(x)[0], rows, sizes=(7, 2))
    assert report.ok, report
    assert report.notes == ("output[1] and output[2] of function is not compared: reference returns no such output.",)
    assert culprits(prove_function(Unnormalised, lambda x: normalise(x)[0], rows, dtypes=()))[0][0] == "x"


class Loss(Function):
    """A mean squared error that returns a place for each statistic that it does not compute."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Any:
        ctx.save_for_backward(x)
        return None, (x * x).mean(), None

    @staticmethod
    def backward(ctx: Any, _a: Any, dloss: Tensor, _b: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        (x,) = ctx.saved_tensors
        return dloss * 2 * x / x.numel()


def test_a_loss_among_nones() -> None:
    for reference in (lambda x: (x * x).mean(), lambda x: ((x * x).mean(), None), lambda x: {"loss": (x * x).mean()}):
        report = prove_function(Loss, reference, rows)
        assert report.ok and not report.notes and not report.skipped, report
    assert culprits(prove_function(Loss, lambda x: (x * x).sum() / len(x), rows))


# --- what a function refuses


def test_a_compiled_callable() -> None:
    compiled = torch.compile(lambda x: torch.sigmoid(x) * x, backend="aot_eager")
    report = prove_function(compiled, lambda x: torch.sigmoid(x) * x, rows, dtypes=(), sizes=(7,))
    assert report.ok, report
    wrong = torch.compile(lambda x: torch.sigmoid(x) * x.detach(), backend="aot_eager")
    assert culprits(prove_function(wrong, lambda x: torch.sigmoid(x) * x, rows, dtypes=(), sizes=(7,)))[0][0] == "x"


def block(x: Tensor, w: Tensor) -> Tensor:
    return torch.sigmoid(x @ w) + x


def pair(n: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(n, 5), torch.randn(5, 5)


class Only(Function):
    """Goes along with `backward()` alone, in words of its own."""

    words = "Checkpointing is not compatible with .grad(), please use .backward() if possible"

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        ctx.save_for_backward(x, w)
        return block(x, w)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        if not torch.autograd._is_checkpoint_valid():  # pyright: ignore[reportPrivateImportUsage]
            raise RuntimeError(Only.words)
        x, w = (one.detach().requires_grad_() for one in ctx.saved_tensors)
        with torch.enable_grad():
            y = block(x, w)
        torch.autograd.backward(y, dy)
        return x.grad, w.grad


def test_what_only_backward_goes_through() -> None:
    def reentrant(x: Tensor, w: Tensor) -> Any:
        return checkpoint(block, x, w, use_reentrant=True)

    for function in (reentrant, Only):
        report = prove_function(function, block, pair)
        assert report.ok and not report.skipped, report
    assert culprits(prove_function(reentrant, lambda x, w: torch.sigmoid(x @ w) + x.detach(), pair))[0][0] == "x"


def test_parameters_within_a_reentrant_checkpoint() -> None:
    net = torch.nn.Linear(5, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that nothing is differentiated where no argument needs a gradient
        report = prove_function(lambda x: checkpoint(net, x, use_reentrant=True), net, rows, dtypes=())
    assert report.ok, report
    assert {row.name for row in report.rows} == {"output", "input", "net.weight", "net.bias"}
    assert net.weight.grad is None
    (skipped,) = report.skipped
    assert "function has no graph where no argument needs a gradient" in skipped


# --- arguments that are written into, and how they are passed


class Doubled(Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        return x.mul_(2)

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return 2 * dy


class Dropped(Doubled):
    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        return dy


def test_an_input_that_is_marked_as_written_into() -> None:
    report = prove_function(Doubled, lambda x: 2 * x, rows)
    assert report.ok, report
    assert report.notes == (
        "function writes into its arguments, so it was given copies of the inputs, as in a network.",
    )
    assert all(skipped.startswith("inputs expanded") for skipped in report.skipped)
    assert culprits(prove_function(Dropped, lambda x: 2 * x, rows, dtypes=())) == [("x", "F12")]


def test_an_input_that_is_written_into_unmarked_is_a_fault() -> None:
    class Unmarked(Doubled):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.mul_(2).clone()

    assert ("x", "F3") in culprits(prove_function(Unmarked, lambda x: 2 * x, rows))


@pytest.mark.parametrize("right", [True, False])
def test_keyword_only_arguments_and_inputs_by_name(right: bool) -> None:
    class Scaled(Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor, w: Tensor, k: float) -> Tensor:
            ctx.save_for_backward(x, w)
            ctx.k = k
            return x * w * k

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            x, w = ctx.saved_tensors
            return dy * w * ctx.k, dy * x * (ctx.k if right else 1), None

    def function(x: Tensor, w: Tensor, *, k: float = 1.0) -> Any:
        return Scaled.apply(x, w, k)

    def reference(x: Tensor, *, k: float, w: Tensor) -> Tensor:
        return x * w * k

    def given(n: int = 6) -> dict[str, Any]:
        return {"k": 3.0, "w": torch.randn(n, 5), "x": torch.randn(n, 5)}

    for one in (function, Scaled):
        report = prove_function(one, reference, given)
        assert not report.skipped and culprits(report) == ([] if right else [("w", "F12")]), report


def test_a_sparse_gradient_of_a_dense_input_is_noted() -> None:
    class Sparse(Function):
        factor = 1

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @classmethod
        def backward(cls, ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            return (cls.factor * dy).to_sparse()

    report = prove_function(Sparse, lambda x: x * 1, rows)
    assert report.ok and "dx is sparse, and x is dense. Its numbers were compared" in report.notes[0]
    wrong = type("Wrong", (Sparse,), {"factor": 2})
    assert culprits(prove_function(wrong, lambda x: x * 1, rows)) == [("x", "F12")]


def test_arguments_in_another_order_than_the_functions_are_told_apart() -> None:
    class Outer(Function):
        @staticmethod
        def forward(ctx: Any, w: Tensor, x: Tensor) -> Tensor:
            ctx.save_for_backward(w, x)
            return x * w

        @staticmethod
        def backward(ctx: Any, dy: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            w, x = ctx.saved_tensors
            return (dy * x).sum(0, keepdim=True), dy * w

    def make(n: int = 6) -> Any:
        return torch.randn(n, 5), torch.randn(1, 5)

    report = prove_function(lambda x, w: Outer.apply(w, x), lambda x, w: x * w, make)
    assert report.ok and not report.notes and {row.verdict for row in report.rows} <= {Verdict.EXACT, Verdict.ROUNDING}


class Gated(Function):
    """Asks the tensor that it saved, which a copy made in forward never lets need a gradient."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor) -> Tensor:
        flat = x.flatten(0, 1)
        ctx.save_for_backward(flat, w)
        ctx.shape = x.shape
        return (flat * w).view(x.shape)

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
        flat, w = ctx.saved_tensors
        g = g.flatten(0, 1)
        return (g * w).view(ctx.shape) if flat.requires_grad else None, (g * flat).sum(0)


def test_a_gradient_that_is_none_in_one_layout_is_missing_there() -> None:
    report = prove_function(Gated, lambda x, w: x * w, lambda n=4: (torch.randn(2, n, 3), torch.randn(3)))
    assert culprits(report) == [("x", "F4")]
    assert "dx is None when the inputs are" in report["x"].message and "ctx.needs_input_grad" in report["x"].message
