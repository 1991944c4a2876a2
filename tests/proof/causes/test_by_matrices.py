"""Matrix products: a factor transposed, on the wrong side, or another tensor in its place."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.by_matrices import _products, other_factor
from backproof.proof.causes.fault import Fault

Make = Callable[..., Fault]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def square(n: int = 4, scale: float = 1.0) -> dict[str, Tensor]:
    x, W, V = (draw(n, n, seed=seed).requires_grad_() for seed in (0, 1, 2))
    y = (x @ W) * scale if scale != 1 else x @ W
    return dict(x=x, W=W, V=V, y=y, loss=(y * draw(n, n, seed=3)).sum() + (V**2).sum())


def up(values: dict[str, Tensor]) -> Tensor:
    return torch.autograd.grad(values["loss"], values["y"], retain_graph=True)[0]


@pytest.mark.parametrize(
    ("name", "wrong", "text", "right"),
    [
        ("x", lambda d, v: d @ v["W"], "dy @ W", "dy @ W.mT"),
        ("x", lambda d, v: v["W"].T @ d, "W.mT @ dy", "dy @ W.mT"),
        ("x", lambda d, v: v["W"] @ d, "W @ dy", "dy @ W.mT"),
        ("x", lambda d, v: d.T @ v["W"], "dy.mT @ W", "dy @ W.mT"),
        ("x", lambda d, v: d.T @ v["W"].T, "dy.mT @ W.mT", "dy @ W.mT"),
        ("x", lambda d, v: v["W"] @ d.T, "W @ dy.mT", "dy @ W.mT"),
        ("x", lambda d, v: v["W"].T @ d.T, "W.mT @ dy.mT", "dy @ W.mT"),
        ("W", lambda d, v: d.T @ v["x"], "dy.mT @ x", "x.mT @ dy"),
        ("W", lambda d, v: d @ v["x"].T, "dy @ x.mT", "x.mT @ dy"),
    ],
)
def test_a_factor_transposed_or_on_the_wrong_side(
    fault_of: Make, name: str, wrong: Callable, text: str, right: str
) -> None:
    values = square()
    plain = {key: value.detach() for key, value in values.items()}
    (found,) = other_factor(fault_of(values, name, wrong(up(values), plain)))
    assert found.cause == "F10" and found.next == f"use {right}"
    assert found.headline == f"it is made as {text}, with a factor transposed or on the wrong side"
    own = torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0]
    assert found.mended is not None and torch.allclose(found.mended, own)


def test_another_tensor_in_the_place_of_a_factor(fault_of: Make) -> None:
    values = square()
    (found,) = other_factor(fault_of(values, "x", up(values) @ values["V"].detach().T))
    assert found.cause == "F14" and found.headline == "V stands where W belongs"
    (found,) = other_factor(fault_of(values, "x", up(values) @ (2 * values["V"].detach()).T))
    assert found.cause == "F15" and found.headline == "the gradient dV stands where the value W belongs"


def test_a_number_in_the_product_stays(fault_of: Make) -> None:
    """y = (x @ W) * 0.5 has a step in between; the right formula carries the number."""
    values = square()
    values["loss"] = values["loss"] * 0.5
    W = values["W"].detach()
    fault = fault_of(values, "x", up(values) @ W)
    (found,) = other_factor(fault)
    assert found.next == "use dy @ W.mT"
    assert not list(other_factor(fault_of(values, "x", 3 * up(values) @ W)))


def test_a_share_that_is_no_product_is_left_alone(fault_of: Make) -> None:
    x = draw(4, 4, seed=0).requires_grad_()
    y = x.sin()
    values = dict(x=x, y=y, loss=(y * draw(4, 4, seed=3)).sum())
    assert not list(other_factor(fault_of(values, "x", up(values) @ x.detach())))


def test_a_value_of_zeros_is_no_factor(fault_of: Make) -> None:
    x, W, V = draw(4, 4, seed=0).requires_grad_(), torch.zeros(4, 4).double().requires_grad_(), draw(4, 4, seed=2)
    y = x @ W + x @ V.requires_grad_()
    values = dict(x=x, W=W, V=V, y=y, loss=(y * draw(4, 4, seed=3)).sum())
    (found,) = other_factor(fault_of(values, "x", up(values) @ V.detach()))
    assert found.next == "use dy @ V.mT"


def test_products_of_batches(fault_of: Make) -> None:
    """A batch is kept where the value has it, and summed where it has not."""
    x, W = draw(3, 4, 5, seed=0).requires_grad_(), draw(5, 4, seed=1).requires_grad_()
    y = x @ W
    values = dict(x=x, W=W, y=y, loss=(y * draw(3, 4, 4, seed=3)).sum())
    right = torch.autograd.grad(values["loss"], W, retain_graph=True)[0]
    texts = {form.text for form, made in _products(up(values), x.detach(), W.shape) if torch.allclose(made, right)}
    assert texts == {"({b}.mT @ {a}).sum(0)"}
    assert not list(_products(draw(3, 4, 5, seed=0), draw(2, 5, 4, seed=1), torch.Size([3, 4, 4])))
    assert not list(_products(draw(4, seed=0), draw(4, 4, seed=1), torch.Size([4, 4])))
    assert not list(_products(draw(4, 4, seed=0), draw(4, 4, seed=1), torch.Size([4])))


def test_a_complex_value_is_no_factor(fault_of: Make) -> None:
    x, z = draw(4, 4, seed=0).requires_grad_(), draw(4, 4, seed=1).to(torch.complex128).requires_grad_()
    y = x @ z.real
    values = dict(x=x, z=z, y=y, loss=(y * draw(4, 4, seed=3)).sum())
    assert not list(other_factor(fault_of(values, "x", up(values) @ z.detach().real, without=("z",))))


def test_integers_are_no_factor(fault_of: Make) -> None:
    values = square() | {"t": torch.arange(16).reshape(4, 4)}
    (found,) = other_factor(fault_of(values, "x", up(values) @ values["W"].detach()))
    assert found.next == "use dy @ W.mT"
