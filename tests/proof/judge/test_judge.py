"""From values and gradients to a report: what is refused, what is compared, and who stands for several names."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.judge.judge import CannotJudgeError, _compared, judge
from backproof.proof.report.rows import Verdict


def small() -> dict[str, Tensor]:
    x = torch.linspace(1, 2, 6, requires_grad=True)
    return dict(x=x, y=x**2, loss=(x**2).sum())


def test_what_cannot_be_judged_says_why() -> None:
    names = small()
    ones = {"x": torch.ones(6)}
    for output, upstream, said in (
        (1.5, None, "must be a tensor, and this is a float"),
        (torch.empty((), device="meta"), None, "on the meta device"),
        (names["y"], None, "shape \\[6\\] and not one element"),
        (names["y"], torch.ones(5), "upstream has shape \\[5\\], and the tensor it is the gradient of \\[6\\]"),
        (names["y"], torch.empty(6, device="meta"), "must be a tensor with numbers"),
        (names["loss"], 1.0, "must be a tensor with numbers"),
        (names["loss"].detach(), None, "has no graph"),
    ):
        with pytest.raises(CannotJudgeError, match=said):
            judge(names, ones, output, upstream)  # pyright: ignore[reportArgumentType]
    with torch.inference_mode(), pytest.raises(CannotJudgeError, match="inference mode"):
        judge(names, ones, names["loss"])
    names["loss"].backward()
    with pytest.raises(CannotJudgeError, match="graph of the loss is gone"):
        judge(names, ones, names["loss"])


def test_other_errors_of_autograd_go_through() -> None:
    class Broken(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 1.0

        @staticmethod
        def backward(ctx, up):
            raise RuntimeError("out of paper")

    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="out of paper"):
        judge(dict(x=x), {"x": torch.ones(3)}, Broken.apply(x).sum())


def test_upstream_gradients_of_the_outputs_shape() -> None:
    names = small()
    up = torch.arange(6.0)
    report = judge(dict(x=names["x"]), {"x": up * 2 * names["x"].detach()}, names["y"], up)
    assert report.ok and report["x"].exact


def test_a_loss_of_one_element_needs_no_upstream_gradient() -> None:
    x = torch.ones(3, requires_grad=True)
    assert judge(dict(x=x), {"x": torch.ones(3)}, x.sum().reshape(1, 1)).ok


def test_rows_come_in_the_order_of_the_backward_pass_and_strangers_last() -> None:
    names = small()
    x = names["x"]
    y = x * 2.0
    z = y.exp()
    report = judge(dict(x=x, y=y, z=z), {n: torch.ones(6) for n in ("q", "x", "y", "z")}, z.sum())
    assert [row.name for row in report.rows] == ["z", "y", "x", "q"]
    assert report["q"].verdict is Verdict.MISSING and report["z"].verdict is Verdict.EXACT


def test_a_loss_that_depends_on_none_of_the_values_is_remarked_on() -> None:
    names, other = small(), torch.ones(6, requires_grad=True)
    assert judge(names, {"x": torch.ones(6)}, (other * 2).sum()).notes
    assert not judge(names, {"x": torch.ones(6)}, names["loss"]).notes


@pytest.mark.parametrize(
    ("given", "own", "compared"),
    [
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0]), (True, True, 0.0)),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.5]), (False, False, 0.5)),
        (torch.tensor([1.0, 2.0]), torch.tensor([1.0, 2.0 + 1e-6]), (False, True, pytest.approx(1e-6, rel=0.1))),
        (torch.tensor([1.0, 2.0]).double(), torch.tensor([1.0, 2.0]), (False, True, 0.0)),
        (torch.ones(1, 2), torch.ones(2), (False, False, None)),
        (torch.empty(2, device="meta"), torch.ones(2), (False, False, None)),
        (torch.ones(2, dtype=torch.complex64), torch.ones(2), (False, True, None)),
        (torch.empty(0), torch.empty(0), (True, True, 0.0)),
        (torch.ones(2), torch.tensor([1.0, float("nan")]), (False, False, None)),
        (torch.tensor([0.0, 1.0]).to_sparse(), torch.tensor([0.0, 1.0]), (True, True, 0.0)),
        (torch.ones(2), torch.ones(2, dtype=torch.complex64), (False, True, None)),
        (None, torch.ones(2), (False, False, None)),
        (torch.ones(2), None, (False, False, None)),
    ],
)
@pytest.mark.filterwarnings("ignore:Casting complex values")
def test_the_comparison_with_autograds_own(given: Tensor | None, own: Tensor | None, compared: tuple) -> None:
    assert _compared(given, own) == compared


@pytest.mark.filterwarnings("ignore:.*nested tensors.*", "ignore:.*quantiz.*")
def test_nested_and_quantized_numbers_are_not_compared() -> None:
    nested = torch.nested.nested_tensor([torch.ones(2), torch.ones(3)])
    quantized = torch.quantize_per_tensor(torch.ones(2), 1.0, 0, torch.qint8)
    for given in (nested, quantized):
        assert _compared(given, torch.ones(2)) == (False, False, None)


def test_of_several_names_for_one_tensor_the_best_gradient_is_handed_on() -> None:
    """Whichever comes first; what is computed from it is judged by that one."""
    x = torch.linspace(1, 2, 6, requires_grad=True)
    y = x**2
    right = 3 * torch.ones(6)
    for order in (("y", "also"), ("also", "y")):
        values = dict.fromkeys(order, y)
        gradients = {"also": right * 5, "y": right, "x": 2 * x.detach() * right}
        report = judge({**values, "x": x}, gradients, (y * 3).sum())
        assert [row.name for row in report.culprits] == ["also"]
        assert report["x"].verdict is Verdict.EXACT


def test_a_value_changed_in_place_blocks_what_is_behind_it_and_no_more() -> None:
    x, w = torch.ones(3, requires_grad=True), torch.ones(3, requires_grad=True)
    a = x.exp()
    b = a * w
    a.data.add_(0)  # unseen by autograd
    with torch.no_grad():
        a.add_(1)
    z = w * 2
    loss = b.sum() + z.sum()
    report = judge(dict(x=x, w=w, a=a, b=b, z=z), {"x": torch.ones(3), "z": torch.ones(3), "b": torch.ones(3)}, loss)
    assert report["z"].verdict is Verdict.EXACT and report["b"].verdict is Verdict.EXACT
    assert report["x"].verdict is Verdict.NOT_TESTABLE and report["x"].cause == "F3"


def test_labels_are_used_in_messages() -> None:
    names = small()
    report = judge(names, {"x": torch.zeros(6)}, names["loss"], label=lambda name: f"grad_{name}")
    assert report["x"].message.startswith("grad_x is wrong") and report["x"].label == "grad_x"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4000000000 bytes."), "4 GB"),
        (RuntimeError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has"), "2.50 GiB"),
        (MemoryError(), "a tensor"),
    ],
)
def test_memory_that_there_is_not_is_said_in_a_sentence(
    error: Exception, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("backproof.proof.judge.judge.blame", fails)
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(CannotJudgeError, match=f"{said} could not be allocated") as caught:
        judge({"x": x}, {"x": torch.ones(3)}, x.sum())
    assert "\n" not in str(caught.value)


def test_an_error_of_another_kind_stays_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("the kernel cannot do that")

    monkeypatch.setattr("backproof.proof.judge.judge.blame", fails)
    x = torch.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="the kernel cannot do that"):
        judge({"x": x}, {"x": torch.ones(3)}, x.sum())
