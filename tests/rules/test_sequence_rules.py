"""The rules of sequences and rows: every step proved, fused passes the same, nothing looks ahead."""

from __future__ import annotations

import typing

import pytest
import torch
from cases import N, SequenceCase, T, cases
from jaxtyping import jaxtyped
from torch import Tensor

from backproof.testing import assert_proved

NAMES = [case.name for case in cases()]
each_case = pytest.mark.parametrize("name", NAMES)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
LOOKING_BACK = ["attention", "rnn", "gru", "lstm", "causal_conv_1", "causal_conv_2", "window_3", "window_9"]


def case_of(name: str, dtype: torch.dtype = torch.float64, n: int = N) -> SequenceCase:
    return next(case for case in cases(dtype, n) if case.name == name)


def upstream_of(case: SequenceCase) -> Tensor:
    result = case.forward_steps(*case.inputs)[-1]
    return torch.randn(result.shape, generator=torch.Generator().manual_seed(9), dtype=result.dtype)


@each_case
@pytest.mark.parametrize(("dtype", "n"), [(torch.float32, N), (torch.float64, N), (torch.float64, 1)], ids=str)
def test_every_step_is_proved(name: str, dtype: torch.dtype, n: int):
    case = case_of(name, dtype, n)
    assert_proved(case.forward_steps, case.backward_steps, case.inputs)


@each_case
@each_dtype
def test_the_fused_passes_agree_with_the_steps(name: str, dtype: torch.dtype):
    case = case_of(name, dtype)
    upstream = upstream_of(case)
    values = case.forward_steps(*case.inputs)
    by_hand = case.backward_steps(values, upstream)
    result, gradients = case.fused(*case.inputs, upstream)
    torch.testing.assert_close(result, values[-1])
    inputs = [field for field, value in values._asdict().items() if any(value is each for each in case.inputs)]
    arguments = [field for each in case.inputs for field in inputs if getattr(values, field) is each]
    assert len(gradients) == len(arguments)
    for field, fused in zip(arguments, gradients, strict=True):
        torch.testing.assert_close(fused, getattr(by_hand, field), msg=field)


@each_case
def test_steps_have_the_shapes_that_their_record_promises(name: str):
    case = case_of(name, torch.float32)
    values = case.forward_steps(*case.inputs)
    hints = typing.get_type_hints(type(values))
    for record in (values, case.backward_steps(values, upstream_of(case))):
        with jaxtyped("context"):  # one letter, one length, over the whole record
            for field, value in record._asdict().items():
                hint = typing.get_args(hints[field])[0] if isinstance(value, list) else hints[field]
                for each in value if isinstance(value, list) else [value]:
                    assert isinstance(each, hint), f"{field}: {tuple(each.shape)} is not {hint}"


@each_case
def test_nothing_that_is_passed_in_is_changed(name: str):
    case = case_of(name)
    values, upstream = case.forward_steps(*case.inputs), upstream_of(case)
    kept = [*case.inputs, upstream, *(each for v in values for each in (v if isinstance(v, list) else [v]))]
    before = [tensor.clone() for tensor in kept]
    case.backward_steps(values, upstream)
    case.fused(*case.inputs, upstream)
    assert all(map(torch.equal, before, kept))


@pytest.mark.parametrize("name", LOOKING_BACK)
@pytest.mark.parametrize("at", range(1, T))
def test_nothing_looks_ahead(name: str, at: int):
    case = case_of(name)
    x, *others = case.inputs
    changed = x.clone()
    changed[:, at:] += 1
    for results in zip(results_of(case, x, *others), results_of(case, changed, *others), strict=True):
        assert torch.equal(*(result[:, :at] for result in results))
        assert not torch.equal(*(result[:, at] for result in results))


def results_of(case: SequenceCase, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    values = case.forward_steps(*inputs)
    return values[-1], case.fused(*inputs, torch.zeros_like(values[-1]))[0]


def test_huge_logits_have_a_finite_loss():
    from backproof.rules import masked_cross_entropy

    logits = torch.tensor([[[1e4, -1e4, 0.0], [5e3, 5e3, 5e3], [1.0, torch.inf, 2.0]]])
    loss, logprobs = masked_cross_entropy.forward(logits, torch.tensor([[1, 2, -1]]))
    assert torch.isfinite(loss)
    assert torch.isfinite(masked_cross_entropy.backward(logprobs[:, :2], torch.tensor([[1, 2]]))).all()
