"""PyTorch's own operations: the benchmark's lines are right, a sample of them is passed, and wrong ones are not."""

from __future__ import annotations

from random import Random

import pytest
import torch

import operations
from backproof.proof.check import check
from torch_lines import LINES, Draw

HARD = ["group norm", "layer norm", "batch norm", "var", "attention, causal", "logcumsumexp", "logsumexp", "inv"]
ACCUSED_ONCE = [
    ("group norm", 0, 23),
    ("group norm without weights", 0, 14),
    ("attention", 0, 23),
    ("hardsigmoid", 0, 13),
    ("logsumexp", 0, 23),
    ("logcumsumexp", 0, 7),
    ("lstsq", 0, 21),
    ("grid_sample, bicubic", 1, 5),
    ("glu", 2, 30),
    ("matrix_exp", 2, 46),
]
CONSTANTS_IN_FLOAT32 = {"hardsigmoid"}  # so PyTorch's own gradient has no more digits in float64


@pytest.mark.parametrize("name", LINES)
def test_both_ways_to_compute_a_line_agree(name: str) -> None:
    """In float64, at ordinary scale: then neither can hide behind rounding."""
    line = LINES[name](Draw(Random(name), torch.float64, 0.0, 1.0))
    if line.plain is None:
        return
    inputs = {key: value.clone().requires_grad_() for key, value in line.inputs.items()}
    ours, theirs = line.plain(*line.inputs.values()), line.torch(*inputs.values())
    torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-9)
    dy = torch.randn(theirs.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    wanted = torch.autograd.grad(theirs, list(inputs.values()), dy, allow_unused=True)
    digits = 1e-7 if name in CONSTANTS_IN_FLOAT32 else 1e-8
    for own, gradient in zip(operations.right_gradients(line, inputs, dy, "plain").values(), wanted, strict=True):
        torch.testing.assert_close(
            own, torch.zeros_like(own) if gradient is None else gradient, rtol=digits, atol=digits
        )


def test_right_lines_are_not_accused() -> None:
    """Each operation in turn, and those again that lose most far from zero."""
    cases = [(name, 0) for name in LINES][::5] + [(name, index) for name in HARD for index in range(4)]
    outcomes = [operations.judge_case(name, 11, index) for name, index in cases]
    accused = [outcome.accusation for outcome in outcomes if outcome.accusation]
    assert not accused, "\n\n".join(accused[:3])


@pytest.mark.parametrize(("name", "seed", "index"), ACCUSED_ONCE)
def test_what_was_accused_once_is_not_accused_again(name: str, seed: int, index: int) -> None:
    accusation = operations.judge_case(name, seed, index).accusation
    assert not accusation, accusation


@pytest.mark.filterwarnings("ignore")
def test_a_gradient_that_is_one_per_cent_off_is_accused() -> None:
    """The other half of the claim, at ordinary scale."""
    tried, missed = 0, []
    for name in (*[*LINES][2::5], *HARD):
        case = operations.operation_case(name, 11, 0, mild=True)
        sizes = {key: float(g.abs().max()) for key, g in case.gradients.items() if key not in ("y", "out")}
        spoilt = max(sizes, key=lambda key: sizes[key])
        if not sizes[spoilt]:
            continue  # of zero, one per cent is zero
        wrong = {**case.gradients, spoilt: 1.01 * case.gradients[spoilt]}
        namespace = {**case.values, **{f"d{key}": gradient for key, gradient in wrong.items()}}
        report = check(case.output, namespace, upstream=case.upstream)
        tried += 1
        if spoilt not in {row.name for row in report.culprits}:
            missed.append(f"{case.story}\n{report}")
    assert tried >= 50
    assert not missed, missed[0]


def test_an_accusation_counts(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    real = operations.right_gradients

    def spoilt(*arguments: object) -> dict[str, torch.Tensor]:
        return {key: 2 * gradient for key, gradient in real(*arguments).items()}  # type: ignore[arg-type]

    threads = torch.get_num_threads()
    monkeypatch.setattr("sys.argv", ["operations.py", "--only", "cumsum", "--cases", "3", "--show", "1"])
    assert operations.main() == 0
    assert "cumsum" in capsys.readouterr().out
    monkeypatch.setattr(operations, "right_gradients", spoilt)
    assert operations.main() == 1
    said = capsys.readouterr().out
    torch.set_num_threads(threads)
    assert "--- case 0 of seed 0: cumsum: x (" in said and "3 cases    3 accused 0 1 2" in said
    assert "right lines of" in said


def test_an_operation_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["operations.py", "--only", "no such thing"])
    with pytest.raises(SystemExit):
        operations.main()


def test_the_draws_have_the_offset_and_the_scale_that_they_are_asked_for() -> None:
    data = Draw(Random(0), torch.float64, 3_000.0, 0.1).data(400, 3)
    assert abs(float(data.mean()) - 300) < 0.1 and abs(float(data.std()) - 0.1) < 0.01
