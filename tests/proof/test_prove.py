"""Every claim of `prove`, each with a backward pass that is wrong on purpose, and right ones that it leaves alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from backproof.proof.prove import prove
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Verdict
from backproof.proof.user.calls import CannotProveError


class Layer(NamedTuple):
    """tanh(x w + b), odd sizes on purpose."""

    x: Tensor
    w: Tensor
    b: Tensor
    h: Tensor
    y: Tensor


def inputs(n: int = 16) -> dict[str, Tensor]:
    return {"x": torch.randn(n, 3), "w": torch.randn(3, 5), "b": torch.randn(5)}


def forward(x: Tensor, w: Tensor, b: Tensor) -> Layer:
    h = x @ w + b
    return Layer(x, w, b, h, torch.tanh(h))


def rest(v: Layer, dh: Tensor) -> dict[str, Tensor]:
    """The gradients behind dh, which are right."""
    return {"h": dh, "x": dh @ v.w.T, "w": v.x.T @ dh, "b": dh.sum(0)}


def backward(v: Layer, dy: Tensor) -> dict[str, Tensor]:
    return rest(v, (1 - v.y**2) * dy)


def proved(wrong: Callable, **options: object) -> Report:
    return prove(forward, wrong, inputs, **options)  # pyright: ignore[reportArgumentType]


def only_culprit(report: Report) -> tuple[str, str | None, str | None]:
    assert not report.ok
    (row,) = report.culprits
    return row.name, row.cause, row.replay


def test_a_right_backward_pass_is_proved_in_every_replay() -> None:
    report = proved(backward)
    assert report.ok
    assert not report.culprits
    assert not report.skipped
    assert {row.name for row in report.rows} == {"h", "x", "w", "b"}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", range(3))
def test_no_seed_and_no_dtype_makes_right_code_wrong(dtype: torch.dtype, seed: int) -> None:
    def made(n: int = 9) -> dict[str, Tensor]:
        return {name: value.to(dtype) for name, value in inputs(n).items()}

    assert prove(forward, backward, made, seed=seed).ok


# --- F1: the upstream gradient


def test_an_ignored_upstream_gradient() -> None:
    report = proved(lambda v, dy: rest(v, 1 - v.y**2))
    assert only_culprit(report) == ("h", "F1", None)
    assert report["h"].message.startswith("dh ignores the upstream gradient: yours is the gradient for ones.")
    assert report["x"].verdict is Verdict.INHERITED


@pytest.mark.parametrize(
    ("reading", "said"),
    [
        (lambda dy: dy.flatten()[0], "its first element"),
        (lambda dy: dy.flatten()[-1], "its last element"),
        (lambda dy: dy.mean(), "its mean"),
        (lambda dy: dy.sum(), "its sum"),
    ],
)
def test_an_upstream_gradient_treated_as_one_number(reading: Callable, said: str) -> None:
    report = proved(lambda v, dy: rest(v, (1 - v.y**2) * reading(dy)))
    assert only_culprit(report) == ("h", "F1", None)
    assert said in report["h"].message


def test_the_upstream_gradient_of_a_scalar_is_not_always_one() -> None:
    def loss(x: Tensor) -> dict[str, Tensor]:
        return {"x": x, "loss": (x**2).mean()}

    report = prove(loss, lambda v, dloss: {"x": 2 * v["x"] / v["x"].numel()}, (torch.randn(3, 4),))
    assert only_culprit(report) == ("x", "F1", "random upstream")
    assert "shown by the replay: random upstream" in report["x"].message
    right = prove(loss, lambda v, dloss: {"x": 2 * v["x"] / v["x"].numel() * dloss}, (torch.randn(3, 4),))
    assert right.ok


def test_a_backward_pass_that_takes_no_upstream_gradient_is_judged_without_those_replays() -> None:
    def loss(x: Tensor) -> dict[str, Tensor]:
        return {"x": x, "loss": (x**2).sum()}

    report = prove(loss, lambda v: {"x": 2 * v["x"]}, (torch.randn(3, 4),))
    assert report.ok
    assert "random upstream: backward takes no upstream gradient." in report.skipped


# --- F2: layouts


def test_a_line_that_takes_the_upstream_gradient_for_contiguous() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        return rest(v, (1 - v.y**2) * dy.as_strided(dy.shape, (dy.shape[1], 1)))

    report = proved(wrong)
    assert only_culprit(report) == ("h", "F2", "upstream strided")
    assert "contiguous" in report["h"].message


@pytest.mark.parametrize(
    ("layout", "reads"),
    [
        ("strided", lambda dy: dy.as_strided(dy.shape, (dy.shape[1], 1)) if dy.stride(1) == 2 else dy),
        ("transposed", lambda dy: dy.as_strided(dy.shape, (dy.shape[1], 1)) if dy.stride(0) == 1 else dy),
        ("offset", lambda dy: dy.as_strided(dy.shape, dy.stride(), 0)),
        ("expanded", lambda dy: dy.as_strided(dy.shape, (5, 1)) if dy.stride() == (0, 0) else dy),
        ("expanded rows", lambda dy: dy.as_strided(dy.shape, (5, 1)) if dy.stride() == (0, 1) else dy),
    ],
)
def test_every_layout_finds_its_own_fault(layout: str, reads: Callable) -> None:
    report = proved(lambda v, dy: rest(v, (1 - v.y**2) * reads(dy)))
    assert only_culprit(report) == ("h", "F2", f"upstream {layout}")


def test_an_exception_for_a_layout_is_a_finding_that_names_line_and_error() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = (1 - v.y**2) * dy.view(-1).view(dy.shape)
        return rest(v, dh)

    report = proved(wrong)
    assert only_culprit(report) == ("h", "F2", "upstream transposed")
    message = report["h"].message
    assert message.startswith("backward raises when the upstream gradient is transposed in memory")
    assert "RuntimeError: view size is not compatible" in message
    assert "dh = (1 - v.y**2) * dy.view(-1).view(dy.shape)" in message


# --- F3: damage and state


def test_the_upstream_gradient_changed_in_place_is_traced_to_its_line() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = dy.mul_(1 - v.y**2)
        return rest(v, dh)

    report = proved(wrong)
    assert only_culprit(report) == ("h", "F3", "arguments unchanged")
    message = report["h"].message
    assert message.startswith("dh is computed in place: its line changes the upstream gradient")
    assert "dh = dy.mul_(1 - v.y**2)" in message
    assert "largest change" in message
    assert report["x"].ok


def test_lines_that_read_a_damaged_value_are_not_accused() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = v.y.pow_(2).neg_().add_(1).mul_(dy)
        return rest(v, dh)

    assert only_culprit(proved(wrong))[:2] == ("h", "F3")

    def damages_w(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = (1 - v.y**2) * dy
        db = v.w.zero_().sum() + dh.sum(0)
        return rest(v, dh) | {"b": db}

    report = proved(damages_w)
    assert only_culprit(report) == ("b", "F3", "arguments unchanged")
    assert report["x"].verdict is Verdict.INHERITED
    assert report["x"].inherited_from == ("b",)


def test_damage_by_numpy_is_seen_too() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        gradients = backward(v, dy)
        v.x.numpy()[0, 0] += 1
        return gradients

    report = proved(wrong)
    assert only_culprit(report)[:2] == ("x", "F3")
    assert report["x"].message.startswith("The backward pass changes the value x in place")


def test_a_gradient_overwritten_by_the_next_line() -> None:
    def two(x: Tensor) -> dict[str, Tensor]:
        h = torch.sin(x)
        return {"x": x, "h": h, "y": x + h}

    def wrong(v: dict, dy: Tensor) -> dict[str, Tensor]:
        dh = dy * 1
        dx = dh
        dx *= 1 + torch.cos(v["x"])
        return {"h": dh, "x": dx}

    def right(v: dict, dy: Tensor) -> dict[str, Tensor]:
        dh = dy * 1
        return {"h": dh, "x": dh * (1 + torch.cos(v["x"]))}

    assert prove(two, right, (torch.randn(3, 5),)).ok
    report = prove(two, wrong, (torch.randn(3, 5),))
    assert only_culprit(report) == ("x", "F3", "arguments unchanged")
    assert "its line changes dh, which is a gradient of its own" in report["x"].message
    assert report["h"].ok


def test_a_line_is_told_from_the_next_one() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = (1 - v.y**2) * dy
        v.w[0] = 1.0
        db = dh.sum(0)
        return rest(v, dh) | {"b": db}

    report = proved(wrong)
    assert only_culprit(report)[:2] == ("w", "F3")
    assert "v.w[0] = 1.0" in report["w"].message


def test_sharing_memory_without_writing_is_no_fault() -> None:
    def add(x: Tensor, z: Tensor) -> dict[str, Tensor]:
        return {"x": x, "z": z, "y": x + z}

    assert prove(add, lambda v, dy: {"x": dy, "z": dy}, (torch.randn(3, 5), torch.randn(3, 5))).ok


def test_state_kept_between_calls() -> None:
    calls = []

    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        calls.append(dy)
        return rest(v, (1 - v.y**2) * dy * (1 if len(calls) == 1 else 2))

    report = proved(wrong)
    assert only_culprit(report) == ("h", "F3", "second backward")
    assert "changes from call to call" in report["h"].message


def test_a_buffer_that_the_second_backward_pass_overwrites() -> None:
    buffer = torch.empty(16, 5)

    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = (1 - v.y**2) * dy
        if dh.shape == buffer.shape and dh.dtype == buffer.dtype:
            dh = buffer.copy_(dh)
        return rest(v, dh)

    report = proved(wrong)
    assert only_culprit(report) == ("h", "F3", "second backward")
    assert "the second backward pass changes the tensor that the first one returned" in report["h"].message


def test_a_second_call_that_raises() -> None:
    calls = []

    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        calls.append(1)
        if len(calls) > 2:
            raise RuntimeError("the tape is empty")
        return backward(v, dy)

    report = proved(wrong)
    assert report.culprits[0].cause == "F3"
    assert "RuntimeError: the tape is empty" in report.culprits[0].message


def test_what_the_caller_holds_is_never_touched() -> None:
    x, w = torch.randn(4, 3), torch.randn(3, 2, requires_grad=True)
    before = x.clone(), w.detach().clone()

    def wrong(v: dict, dy: Tensor) -> dict[str, Tensor]:
        return {"x": v["w"].zero_() @ dy.mul_(0).T, "w": v["x"].zero_().T @ dy}

    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    prove(lambda x, w: {"x": x, "w": w, "y": x @ w}, wrong, {"x": x, "w": w})
    assert torch.rand(1) == expected  # not even the random state
    assert torch.equal(x, before[0])
    assert torch.equal(w, before[1])
    assert w.grad is None
    assert not x.requires_grad


# --- what is mathematically zero


def centred(x: Tensor, b: Tensor) -> dict[str, Tensor]:
    """Whatever comes back, db is zero: the mean takes b out again."""
    h = x + b
    mean = h.mean(0, keepdim=True)
    diff = h - mean
    return {"x": x, "b": b, "h": h, "mean": mean, "diff": diff, "y": diff**3}


def centred_backward(db: Callable) -> Callable:
    def back(v: dict, dy: Tensor) -> dict[str, Tensor]:
        ddiff = 3 * v["diff"] ** 2 * dy
        dmean = -ddiff.sum(0, keepdim=True)
        dh = ddiff + dmean / len(ddiff)
        return {"diff": ddiff, "mean": dmean, "h": dh, "x": dh, "b": db(dh)}

    return back


ZERO = (torch.randn(31, 13), torch.randn(13))


@pytest.mark.parametrize("line", [lambda dh: dh.sum(0), lambda dh: dh.flip(0).sum(0), lambda dh: dh.T.sum(1)])
def test_a_right_line_for_something_that_is_zero_is_proved(line: Callable) -> None:
    report = prove(centred, centred_backward(line), ZERO)
    assert report.ok, report
    assert report["b"].verdict in (Verdict.EXACT, Verdict.ROUNDING)


@pytest.mark.parametrize(
    ("line", "cause"),
    [(lambda dh: -dh.flip(0).sum(0), "F13"), (lambda dh: 2 * dh.sum(0), "F12"), (lambda dh: dh.mean(0), "F8")],
)
def test_a_wrong_line_for_something_that_is_zero_is_found_by_shaking_what_it_reads(line: Callable, cause: str) -> None:
    assert only_culprit(prove(centred, centred_backward(line), ZERO)) == ("b", cause, "shaken gradients")


def test_zeros_for_something_that_is_zero_are_not_accused_and_not_proved() -> None:
    report = prove(centred, centred_backward(lambda dh: torch.zeros(13, dtype=dh.dtype)), ZERO)
    assert report.ok
    assert report["b"].verdict is Verdict.NOT_TESTABLE
    assert report["b"].message.startswith("db is mathematically zero")


# --- F4, F5, F7 and other sizes


@pytest.mark.parametrize("returned", [{}, {"w": None}])
def test_a_gradient_that_is_not_there(returned: dict) -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor | None]:
        gradients = backward(v, dy)
        del gradients["w"]
        return gradients | returned

    report = proved(wrong)
    assert only_culprit(report) == ("w", "F4", None)
    assert report["w"].verdict is Verdict.MISSING


def test_constants_and_integers_need_no_gradient() -> None:
    def picked(x: Tensor, mask: Tensor, rows: Tensor) -> dict[str, Tensor]:
        return {"y": (x * mask)[rows]}

    def back(v: dict, dy: Tensor) -> dict[str, Tensor]:
        return {"x": (torch.zeros_like(x).index_add(0, rows, dy)) * mask}

    x, mask, rows = torch.randn(5, 3, dtype=torch.float64), torch.rand(5, 3).double(), torch.tensor([0, 2, 2])
    arguments = {"x": x, "mask": mask, "rows": rows}
    assert prove(picked, back, arguments, constants=["mask"]).ok
    assert only_culprit(prove(picked, back, arguments))[0] == "mask"


def test_a_sum_in_low_precision() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        gradients = backward(v, dy)
        return gradients | {"w": (v.x.T.bfloat16() @ gradients["h"].bfloat16()).to(dy.dtype)}

    assert only_culprit(proved(wrong)) == ("w", "F5", None)


def test_rounding_that_vanishes_in_float64_is_a_matter_of_precision_and_not_of_the_formula() -> None:
    def shifted(x: Tensor) -> dict[str, Tensor]:
        centred = x - x.mean()
        return {"x": x, "centred": centred, "y": centred**2}

    def wrong(v: dict, dy: Tensor) -> dict[str, Tensor]:
        big = 1e5  # cancels in exact arithmetic
        dcentred = ((2 * v["centred"] + big) - big) * dy
        return {"centred": dcentred, "x": dcentred - dcentred.mean()}

    report = prove(shifted, wrong, (torch.randn(31),))
    name, cause, _ = only_culprit(report)
    assert (name, cause) == ("centred", "F5")
    assert "float64" in report["centred"].message


def test_a_constant_in_float32_is_rounding_when_the_user_works_in_float32() -> None:
    third = torch.tensor([1 / 3])

    def scaled(x: Tensor) -> dict[str, Tensor]:
        return {"x": x, "y": x * (1 / 3)}

    assert prove(scaled, lambda v, dy: {"x": dy * third.to(dy.dtype)}, (torch.randn(4, 3),)).ok


def test_float32_inside_is_noted_and_no_fault_for_somebody_who_works_in_float32() -> None:
    def narrow(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        gradients = backward(v, dy)
        return gradients | {
            "w": (v.x.float().T @ gradients["h"].float()),
            "b": gradients["h"].float().sum(0).to(dy.dtype),
        }

    report = proved(narrow)
    assert report.ok, report
    assert sorted(report.notes) == [
        "in float64, db is only as precise as float32: no fault in float32.",
        "in float64, dw is only as precise as float32: no fault in float32.",
    ]


def test_a_last_partial_tile_is_found_by_another_size() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = (1 - v.y**2) * dy
        full = len(dh) // 16 * 16
        if full:
            dh[full:] = 0
        return rest(v, dh)

    report = proved(wrong)
    assert only_culprit(report) == ("h", "F7", "size 67")
    assert "64 to 66" in report["h"].message


def test_a_row_left_out_that_hides_in_the_rounding_of_larger_rows_is_found_in_float64() -> None:
    def product(x: Tensor, w: Tensor) -> dict[str, Tensor]:
        return {"x": x, "w": w, "y": x @ w}

    def wrong(v: dict, dy: Tensor) -> dict[str, Tensor]:
        rows = len(dy) // 8 * 8 or len(dy)
        return {"x": dy @ v["w"].T, "w": v["x"][:rows].T @ dy[:rows]}

    def make(n: int = 16) -> dict[str, Tensor]:
        x = torch.randn(n, 3)
        x[0] *= 1e6
        return {"x": x, "w": torch.randn(3, 5)}

    assert only_culprit(prove(product, wrong, make)) == ("w", "F7", "size 67")


@pytest.mark.parametrize(("batch", "replay"), [("n", "size width=6"), ("16", "size 67")])
def test_a_size_written_as_a_number_is_found_where_that_size_changes(batch: str, replay: str) -> None:
    def mean(x: Tensor) -> dict[str, Tensor]:
        return {"x": x, "y": (x**2).mean()}

    def make(n: int = 16, width: int = 4) -> dict[str, Tensor]:
        return {"x": torch.randn(n, width)}

    def wrong(v: dict, dy: Tensor) -> dict[str, Tensor]:
        n, width = v["x"].shape
        return {"x": 2 * v["x"] * dy / (n * 4 if batch == "n" else 16 * width)}

    report = prove(mean, wrong, make)
    assert only_culprit(report) == ("x", "F8", replay)
    assert f"the line holds {4 if batch == 'n' else 16} as a number" in report["x"].message


def test_a_size_that_only_backward_cannot_take_is_a_finding() -> None:
    def wrong(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = (1 - v.y**2) * dy
        db = dh.sum(0) if len(dh) > 1 else dh.squeeze(0).unflatten(0, (2, 2))
        return rest(v, dh) | {"b": db}

    report = proved(wrong)
    assert only_culprit(report) == ("b", None, "size 1")
    assert report["b"].message.startswith("backward raises for size 1: RuntimeError")


def test_sizes_that_forward_cannot_take_are_listed_and_not_held_against_backward() -> None:
    def variance(x: Tensor) -> dict[str, Tensor]:
        centred = x - x.mean(0)
        return {"x": x, "y": (centred**2).sum(0) / (len(x) - 1 if len(x) > 2 else torch.tensor(0.0))}

    def back(v: dict, dy: Tensor) -> dict[str, Tensor]:
        x = v["x"]
        return {"x": 2 * (x - x.mean(0)) * dy / (len(x) - 1)}

    def make(n: int) -> tuple[Tensor, ...]:
        if n == 2:
            raise ValueError("two are a couple")
        return (torch.randn(n, 3),)

    report = prove(variance, back, make)
    assert report.ok
    assert report.skipped == (
        "size 2: inputs raised ValueError: two are a couple.",
        "size 1: the values of forward are not finite.",
    )


def test_a_forward_pass_that_cannot_take_float64_skips_that_replay() -> None:
    table = torch.randn(3, 3)
    report = prove(lambda x: {"x": x, "y": x @ table}, lambda v, dy: {"x": dy @ table.T}, (torch.randn(2, 3),))
    assert report.ok
    assert report.skipped[0].startswith("float64: forward raised RuntimeError: ")


def test_values_with_infinities_in_the_plain_run_may_have_them_at_every_size() -> None:
    def masked(x: Tensor) -> dict[str, Tensor]:
        scores = x.masked_fill(torch.ones_like(x).triu(1).bool(), -torch.inf)
        return {"x": x, "scores": scores, "y": scores.softmax(1)}

    def back(v: dict, dy: Tensor) -> dict[str, Tensor]:
        dscores = v["y"] * (dy - (v["y"] * dy).sum(1, keepdim=True))
        return {"scores": dscores, "x": dscores.tril()}

    report = prove(masked, back, lambda n=5: (torch.randn(n, n),))
    assert report.ok
    assert not report.skipped


# --- records, names and bad input


def test_inputs_may_be_called_anything() -> None:
    def named(role: Tensor, function: Tensor, when: Tensor) -> dict[str, Tensor]:
        return {"role": role, "function": function, "when": when, "y": role * function * when}

    def back(v: dict, dy: Tensor) -> dict[str, Tensor]:
        return {
            "role": dy * v["function"] * v["when"],
            "function": dy * v["role"] * v["when"],
            "when": dy * v["role"] * v["function"],
        }

    assert prove(named, back, {name: torch.randn(3) for name in ("role", "function", "when")}).ok


@dataclass(frozen=True)
class Frozen:
    x: Tensor
    y: Tensor


class Plain(dict):
    pass


@pytest.mark.parametrize("kind", [Frozen, dict, Plain, lambda **v: MappingProxyType(v)])
def test_records_of_every_kind_reach_backward_detached(kind: Callable) -> None:
    seen = []

    def back(v: object, dy: Tensor) -> dict[str, Tensor]:
        x = v.x if isinstance(v, Frozen) else v["x"]  # pyright: ignore
        seen.append(type(v))
        assert not x.requires_grad
        assert not torch.is_grad_enabled()
        return {"dx": 2 * x * dy}

    report = prove(lambda x: kind(x=x, y=x**2), back, (torch.randn(2, 3),))
    assert report.ok
    assert [row.name for row in report.rows] == ["x"]
    assert seen[0] is type(kind(x=1, y=2)) or kind not in (Frozen, dict, Plain)


def test_inputs_that_forward_does_not_return_are_judged_under_their_parameter_names() -> None:
    x, w = torch.randn(2, 3), torch.randn(3, 4)
    report = prove(
        lambda x, w: {"y": x @ w},
        lambda v, dy: {"x": dy @ w.to(dy.dtype).T, "dw": x.to(dy.dtype).T @ dy},
        (x, w),
    )
    assert report.ok
    assert {row.name for row in report.rows} == {"x", "w"}


def test_the_output_is_the_last_value_or_the_one_that_is_named() -> None:
    def both(x: Tensor) -> dict[str, Tensor]:
        return {"y": x**2, "x": x}

    def back(v: dict, dy: Tensor) -> dict[str, Tensor]:
        return {"x": 2 * v["x"] * dy}

    assert prove(both, back, (torch.randn(3),), output="y").ok


@pytest.mark.parametrize(
    ("line", "cause", "said"),
    [
        (lambda x: x * 1.25, "F12", "1.25 is a factor in y = x * 1.25"),
        (lambda x: 1.25 * x, "F12", "1.25 is a factor in"),
        (lambda x: x / 1.25, "F12", "1.25 is a factor in y = x / 1.25"),
        (lambda x: x / 5 * 4, "F16", "the derivative of y = (x / 5) * 4 is left out"),
        (lambda x: x / len(x), "F8", "n = 5 is dimension 0 of x: 1/n is missing"),
        (lambda x: x / (len(x) - 1), "F8", "n = 5 is dimension 0 of x: 1/(n - 1) is missing"),
        (lambda x: x / x.shape[1], "F8", "n = 7 is dimension 1 of x: 1/n is missing"),
    ],
)
def test_a_constant_is_not_taken_for_a_size_that_it_happens_to_fit(line: Callable, cause: str, said: str) -> None:
    """Five rows: 5/4 and 4/5 could be (n - 1)/n, but the line says otherwise, or another size does."""

    def made(n: int = 5) -> dict[str, Tensor]:
        return {"x": torch.randn(n, 7)}

    report = prove(lambda x: {"x": x, "y": line(x)}, lambda v, dy: {"x": dy}, made)
    assert [row.cause for row in report.culprits] == [cause]
    assert said in report["x"].message


def _raises(*arguments: object) -> None:
    raise KeyError("oh")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((_raises, backward, inputs), {}, "forward raised"),
        ((forward, _raises, inputs), {}, "backward raised KeyError: 'oh' at line"),
        ((forward, backward, lambda: _raises()), {}, "inputs raised KeyError: 'oh'"),
        ((forward, backward, 3), {}, "inputs must be a mapping of names to tensors"),
        ((lambda **v: 3, backward, inputs), {}, "forward must return named values"),
        ((lambda **v: {}, backward, inputs), {}, "forward returned no tensor"),
        ((forward, lambda v, dy: dy, inputs), {}, "backward must return named values"),
        ((forward, lambda v, dy: {"q": dy}, inputs), {}, "a gradient called 'q', but forward has no value"),
        ((forward, lambda v, dy: {"x": 1.0}, inputs), {}, "backward returned a float for 'x'"),
        ((forward, backward, inputs), {"output": "z"}, "'z' cannot be the output, since there is no tensor"),
        ((forward, backward, inputs), {"skip": ["float63"]}, "There is no replay 'float63' to skip"),
        ((lambda x: {"y": x}, backward, (torch.arange(3),)), {}, "since its dtype is torch.int64"),
        (
            (lambda x: {"y": x.detach()}, backward, (torch.ones(3),)),
            {},
            "does not depend on any floating-point input",
        ),
    ],
)
def test_what_cannot_be_run_says_why(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(CannotProveError) as caught:
        prove(*arguments, **options)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_original_exception_is_the_cause() -> None:
    with pytest.raises(CannotProveError) as caught:
        prove(forward, _raises, inputs)
    assert isinstance(caught.value.__cause__, KeyError)


def test_replays_can_be_left_out_by_name_or_group_and_are_listed() -> None:
    report = proved(backward, skip=["float64", "layouts", "sizes"])
    assert report.ok
    assert "float64: left out as asked." in report.skipped
    assert sum("upstream" in line for line in report.skipped) == 5
    assert sum(line.startswith("size ") for line in report.skipped) == 4


def test_one_name_to_leave_out_needs_no_list() -> None:
    report = proved(backward, skip="layouts")
    assert sum("left out as asked" in line for line in report.skipped) == 5


def test_every_replay_is_listed_once() -> None:
    with pytest.raises(CannotProveError) as caught:
        prove(forward, backward, inputs(6), skip="size")
    listed = str(caught.value).rstrip(".").split("there are ")[1].split(", ")
    assert "There is no replay 'size' to skip" in str(caught.value)
    assert sorted(listed) == sorted(set(listed)) and {"layouts", "sizes", "float64"} <= set(listed)


def test_inputs_without_a_size_say_so() -> None:
    report = prove(forward, backward, inputs(6))
    assert report.ok
    assert report.skipped == ("sizes: inputs is not a function of a size.",)


def test_one_element_with_a_stride() -> None:
    """x[:, 0] of one row counts as contiguous and has the stride of a row."""

    def forward(x: Tensor) -> dict[str, Tensor]:
        c = x[:, 0]
        return {"x": x, "c": c, "y": c * c}

    def backward(v: dict, dy: Tensor) -> dict[str, Tensor]:
        dc = 2 * v["c"] * dy
        dx = torch.zeros_like(v["x"])
        dx[:, 0] = dc
        return {"c": dc, "x": dx}

    assert prove(forward, backward, lambda n=4: {"x": torch.randn(n, 3)}).ok


def test_a_sparse_gradient_is_its_numbers() -> None:
    def backward(v: dict, dy: Tensor) -> dict[str, Tensor]:
        return {"W": torch.sparse_coo_tensor(v["i"][None], dy, v["W"].shape, check_invariants=True)}

    inputs = {"W": torch.randn(5, 3), "i": torch.tensor([0, 1, 1, 4])}
    assert prove(lambda W, i: {"W": W, "i": i, "y": W[i]}, backward, inputs).ok


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.randn(4, 3).to_sparse(), "The input x is no ordinary dense tensor"),
        (torch.randn(4, 3, device="meta"), "The input x is on the meta device"),
        (torch.randn(4, 3, dtype=torch.cfloat), "The input x is complex"),
    ],
)
def test_inputs_that_nothing_can_be_proved_with(x: Tensor, said: str) -> None:
    with pytest.raises(CannotProveError, match=said):
        prove(lambda x: {"x": x, "y": x * 2}, lambda v, dy: {"x": 2 * dy}, {"x": x})


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"sizes": 3}, "sizes must be a sequence of whole numbers"),
        ({"seed": None}, "seed must be a whole number"),
        ({"constants": ["target"]}, "constants names 'target', and the inputs are x"),
    ],
)
def test_options_of_a_wrong_kind(options: dict[str, Any], said: str) -> None:
    with pytest.raises(CannotProveError, match=said):
        prove(lambda x: {"x": x, "y": x * 2}, lambda v, dy: {"x": 2 * dy}, {"x": torch.randn(3)}, **options)


def test_an_input_is_not_taken_for_the_output() -> None:
    with pytest.raises(CannotProveError, match="'w' is the last of forward's values, and an input"):
        prove(lambda x, w: {"y": x * w, "x": x, "w": w}, lambda v, dy: {}, {"x": torch.randn(3), "w": torch.randn(3)})


def test_names_that_are_no_names() -> None:
    with pytest.raises(CannotProveError, match="0 is none"):
        prove(lambda x: {0: x, 1: 2 * x}, lambda v, dy: {}, {"x": torch.randn(3)})


def test_functions_that_leave_the_program_do_not() -> None:
    def leave(x: Tensor) -> dict[str, Tensor]:
        raise SystemExit(0)

    with pytest.raises(CannotProveError, match="forward raised SystemExit: 0"):
        prove(leave, lambda v, dy: {}, {"x": torch.randn(3)})
