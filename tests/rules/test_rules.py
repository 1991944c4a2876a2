"""Every rule, found and not listed: its steps have their shapes, and both its passes are right."""

from __future__ import annotations

import importlib
import pkgutil
import typing
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from cases import cases
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import jaxtyped
from torch import Tensor

from backproof import rules
from backproof.rules import batchnorm, cross_entropy, embedding, linear, tanh
from backproof.testing import assert_proved

N, T, E, V, H = 7, 3, 5, 13, 11  # odd on purpose


class Case(NamedTuple):
    """A rule on given inputs: how its record of values is made, and its record of gradients from an upstream one."""

    inputs: tuple[Tensor, ...]
    forward_steps: Callable[..., Any]
    backward_steps: Callable[..., Any]
    fused: Callable[..., tuple[Tensor, ...]]
    """(upstream) -> gradients of `inputs`, by the fused passes."""


def draw(*shape: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)


def linear_case(dtype: torch.dtype, n: int = N) -> Case:
    x, W, b = draw(n, E, dtype=dtype), draw(E, H, dtype=dtype), draw(H, dtype=dtype)
    return Case((x, W, b), linear.forward_steps, linear.backward_steps, lambda dy: linear.backward(x, W, dy))


def tanh_case(dtype: torch.dtype, n: int = N) -> Case:
    x = draw(n, H, dtype=dtype)
    return Case((x,), tanh.forward_steps, tanh.backward_steps, lambda dy: (tanh.backward(tanh.forward(x), dy),))


def embedding_case(dtype: torch.dtype, n: int = N) -> Case:
    C = draw(V, E, dtype=dtype)
    ix = torch.randint(0, V - 1, (n, T), generator=torch.Generator().manual_seed(1))
    return Case(
        (C,),
        lambda C: embedding.forward_steps(C, ix),
        lambda s, d: embedding.backward_steps(s, ix, d),
        lambda d: (embedding.backward(C, ix, d),),
    )


def batchnorm_case(dtype: torch.dtype, n: int = N, correction: int = 1) -> Case:
    x, gain, bias = draw(n, H, dtype=dtype), draw(1, H, dtype=dtype), draw(1, H, dtype=dtype, seed=5)

    def fused(dy: Tensor) -> tuple[Tensor, ...]:
        _, xhat, rstd = batchnorm.forward(x, gain, bias, correction)
        return batchnorm.backward(xhat, rstd, gain, dy, correction)

    return Case(
        (x, gain, bias),
        lambda x, gain, bias: batchnorm.forward_steps(x, gain, bias, correction),
        lambda s, dy: batchnorm.backward_steps(s, dy, correction),
        fused,
    )


def biased_batchnorm_case(dtype: torch.dtype, n: int = N) -> Case:
    return batchnorm_case(dtype, n, correction=0)


def cross_entropy_case(dtype: torch.dtype, n: int = N) -> Case:
    logits = 3 * draw(n, V, dtype=dtype)
    y = torch.randint(0, V, (n,), generator=torch.Generator().manual_seed(2))
    return Case(
        (logits,),
        lambda logits: cross_entropy.forward_steps(logits, y),
        lambda s, d: cross_entropy.backward_steps(s, y, d),
        lambda d: (cross_entropy.backward(cross_entropy.forward(logits, y)[1], y, d.item()),),
    )


CASES = [linear_case, tanh_case, embedding_case, batchnorm_case, biased_batchnorm_case, cross_entropy_case]
each_case = pytest.mark.parametrize("make", CASES, ids=lambda make: make.__name__)
each_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def differentiated(case: Case) -> tuple[Any, Tensor, Any]:
    """Values, an upstream gradient, and autograd's gradient of every value."""
    leaves = [tensor.clone().requires_grad_() for tensor in case.inputs]
    values = case.forward_steps(*leaves)
    upstream = draw(*values[-1].shape, dtype=values[-1].dtype, seed=9)
    gradients = torch.autograd.grad(values[-1], list(values), upstream)
    return type(values)(*(value.detach() for value in values)), upstream, type(values)(*gradients)


def test_every_rule_has_a_case():
    modules = {module.name for module in pkgutil.iter_modules(rules.__path__)}
    others = {case.rule.__name__.rpartition(".")[2] for case in cases()}
    assert modules == {"linear", "tanh", "embedding", "batchnorm", "cross_entropy"} | others


@pytest.mark.parametrize("name", [module.name for module in pkgutil.iter_modules(rules.__path__)])
def test_a_rule_is_a_page_in_the_fixed_order(name: str):
    rule = importlib.import_module(f"backproof.rules.{name}")
    order = ["Steps", "forward_steps", "backward_steps", "forward", "backward"]
    defined = [key for key, value in vars(rule).items() if getattr(value, "__module__", "") == rule.__name__]
    assert [key for key in defined if not key.startswith("_")] == order
    assert all(getattr(rule, key).__doc__ for key in order)
    page = rule.__doc__ or ""
    assert 0 < page.index("Backward") < page.index("Source:")


@each_case
@each_dtype
@pytest.mark.parametrize("n", [N, 1, 2, 33])
def test_every_step_is_proved(make: Callable[..., Case], dtype: torch.dtype, n: int):
    case = make(dtype, n)
    if make is batchnorm_case and n == 1:
        pytest.skip("an unbiased variance needs two rows")
    assert_proved(case.forward_steps, case.backward_steps, case.inputs)


@each_case
@each_dtype
def test_the_fused_pass_agrees_with_the_steps(make: Callable[..., Case], dtype: torch.dtype):
    case = make(dtype)
    values, upstream, _ = differentiated(case)
    by_hand = case.backward_steps(values, upstream)
    for value, fused in zip(case.inputs, case.fused(upstream), strict=True):
        name = next(n for n, v in values._asdict().items() if v.shape == value.shape and torch.equal(v, value))
        torch.testing.assert_close(fused, getattr(by_hand, name), msg=name)


@each_case
def test_steps_have_the_shapes_that_their_record_promises(make: Callable[..., Case]):
    case = make(torch.float32)
    values, upstream, _ = differentiated(case)
    hints = typing.get_type_hints(type(values))
    for record in (values, case.backward_steps(values, upstream)):
        with jaxtyped("context"):  # one letter, one length, over the whole record
            for name, value in record._asdict().items():
                assert isinstance(value, hints[name]), f"{name}: {tuple(value.shape)} is not {hints[name]}"


@each_case
def test_nothing_that_is_passed_in_is_changed(make: Callable[..., Case]):
    case = make(torch.float64)
    values, upstream, _ = differentiated(case)
    before = [tensor.clone() for tensor in (*case.inputs, *values, upstream)]
    case.backward_steps(values, upstream)
    case.fused(upstream)
    assert all(map(torch.equal, before, (*case.inputs, *values, upstream)))


@pytest.mark.parametrize("make", [linear_case, tanh_case, batchnorm_case, embedding_case], ids=lambda m: m.__name__)
def test_upstream_gradients_may_have_any_layout(make: Callable[..., Case]):
    case = make(torch.float64)
    values, upstream, _ = differentiated(case)
    expected = case.backward_steps(values, upstream)
    transposed = upstream.T.contiguous().T
    strided = torch.stack([upstream, upstream], -1)[..., 0]
    for layout in (transposed, strided):
        for name, got, want in zip(values._fields, case.backward_steps(values, layout), expected, strict=True):
            torch.testing.assert_close(got, want, msg=name)
    expanded = torch.ones((), dtype=torch.float64).expand(upstream.shape)
    pairs = zip(case.fused(expanded), case.fused(expanded.clone()), strict=True)
    assert all(torch.allclose(got, want) for got, want in pairs)


@given(st.integers(2, 40), st.integers(0, 1), st.integers(-6, 6))
@settings(max_examples=30, deadline=None)
def test_batchnorm_at_any_scale(n: int, correction: int, exponent: int):
    x = draw(n, 3, dtype=torch.float64, seed=n) * 10.0**exponent
    gain, bias = torch.ones(1, 3, dtype=torch.float64), torch.zeros(1, 3, dtype=torch.float64)
    values = batchnorm.forward_steps(x, gain, bias, correction)
    dy = draw(n, 3, dtype=torch.float64, seed=1)
    steps = batchnorm.backward_steps(values, dy, correction)
    y, xhat, rstd = batchnorm.forward(x, gain, bias, correction)
    dx, dgain, dbias = batchnorm.backward(xhat, rstd, gain, dy, correction)
    scale = (rstd * dy.abs().max()).max()
    torch.testing.assert_close(y, values.y)
    torch.testing.assert_close(dx / scale, steps.x / scale, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(dgain, steps.gain)
    torch.testing.assert_close(dbias, steps.bias)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=2), st.integers(1, 9))
def test_embedding_rows_accumulate(symbols: list[int], n: int):
    ix = torch.tensor([symbols] * n)
    C = torch.zeros(6, 2)
    dC = embedding.backward(C, ix, torch.ones(n, 4))
    counts = torch.bincount(ix.flatten(), minlength=6)
    assert torch.equal(dC, counts[:, None].expand(6, 2).float())


def test_cross_entropy_pulls_up_as_much_as_it_pushes_down():
    logits = draw(N, V, dtype=torch.float64)
    y = torch.arange(N)
    _, logprobs = cross_entropy.forward(logits, y)
    dlogits = cross_entropy.backward(logprobs, y)
    torch.testing.assert_close(dlogits.sum(1), torch.zeros(N, dtype=torch.float64))
    assert (dlogits.sign().sum(1) == V - 2).all()  # all positive but the right one


def test_cross_entropy_of_huge_logits_is_finite():
    logits = torch.tensor([[1e4, -1e4, 0.0], [5e3, 5e3, 5e3]])
    y = torch.tensor([1, 2])
    loss, logprobs = cross_entropy.forward(logits, y)
    assert torch.isfinite(loss)
    assert torch.isfinite(cross_entropy.backward(logprobs, y)).all()


def test_tanh_agrees_with_pytorch_to_the_last_bit():
    x = torch.randn(501, 33, generator=torch.Generator().manual_seed(0)).requires_grad_()
    dy = torch.randn(501, 33, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad(x.tanh(), x, dy)
    assert torch.equal(tanh.backward(x.detach().tanh(), dy), expected)
