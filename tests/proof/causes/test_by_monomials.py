"""Products of powers: a factor left out, put in, exchanged, or to another power."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.by_monomials import (
    _columns,
    _plain,
    changed_factor,
    changed_factor_and_constant,
    exchanged_factor,
    others,
    plain_product,
    two_strangers,
)
from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.monomial_fit import benches

Make = Callable[..., Fault]
Search = Callable[[Fault], "list[Finding]"]


def draw(*shape: int, seed: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def product(*shape: int) -> dict[str, Tensor]:
    """y = x * w * v, so that dx = dy * w * v, and z read elsewhere."""
    shape = shape or (8, 5)
    x, w, z = (draw(*shape, seed=seed).requires_grad_() for seed in (0, 1, 2))
    y = x * w
    return dict(x=x, w=w, z=z, y=y, loss=(y * draw(*shape, seed=3)).sum() + (z**2 * draw(*shape, seed=4)).sum())


def up(values: dict[str, Tensor], name: str = "y") -> Tensor:
    return torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0]


def first(search: Callable, fault: Fault) -> Finding | None:
    return next(search(fault), None)


def number(values: dict[str, Tensor], name: str) -> Tensor:
    return values[name].detach()


@pytest.mark.parametrize("power", [-1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1.5, -1.5])
def test_a_factor_to_another_power(fault_of: Make, power: float) -> None:
    values = product()
    found = first(changed_factor, fault_of(values, "x", up(values) * number(values, "w") ** power))
    assert found is not None and found.cause == "F14"
    assert found.headline.startswith(f"w**{power:g} stands where w belongs")


@pytest.mark.parametrize("power", [4.0, 2.5, -4.0])
def test_and_no_others(fault_of: Make, power: float) -> None:
    values = product()
    found = first(changed_factor, fault_of(values, "x", up(values) * number(values, "w") ** power))
    assert found is None or f"w**{power:g} stands" not in found.headline


def test_a_factor_left_out_or_put_in_or_exchanged(fault_of: Make) -> None:
    values = product()
    w, x, y = (number(values, name) for name in ("w", "x", "y"))
    left_out = first(changed_factor, fault_of(values, "x", up(values).clone()))
    assert left_out is not None and left_out.headline == "the factor w is left out" and left_out.cause == "F16"
    put_in = first(changed_factor, fault_of(values, "w", up(values) * x * w))
    assert put_in is not None and put_in.cause == "F14"
    assert left_out.mended is not None and torch.allclose(left_out.mended, up(values, "x"))
    twice = first(changed_factor, fault_of(values, "x", up(values) * w * w * y))
    assert twice is not None


def test_one_of_two_factors_left_out(fault_of: Make) -> None:
    x, w = (draw(8, 5, seed=seed).requires_grad_() for seed in (0, 1))
    y = (x * w).exp()
    values = dict(x=x, w=w, y=y, loss=(y * draw(8, 5, seed=3)).sum())
    for kept, lost in (("w", "y"), ("y", "w")):
        found = first(changed_factor, fault_of(values, "x", up(values) * number(values, kept)))
        assert found is not None and found.headline == f"the factor {lost} is left out"
        assert found.mended is not None and torch.allclose(found.mended, up(values, "x"))


def test_a_neighbour_that_does_not_belong_there(fault_of: Make) -> None:
    x, w, v = (draw(8, 5, seed=seed).requires_grad_() for seed in (0, 1, 2))
    y = x * w + v
    values = dict(x=x, w=w, v=v, y=y, loss=(y**2).sum())
    found = first(changed_factor, fault_of(values, "x", up(values) * w.detach() * v.detach()))
    assert found is not None
    assert (found.cause, found.headline, found.next) == ("F16", "the factor v does not belong there", "take v out")


def test_a_wrong_constant_beside_a_wrong_factor_is_the_last_thing_that_is_tried(fault_of: Make) -> None:
    values = product()
    wrong = fault_of(values, "x", 2 * up(values) * number(values, "w") ** 2)
    assert first(changed_factor, wrong) is None
    found = first(changed_factor_and_constant, wrong)
    assert found is not None and found.headline.startswith("w**2 stands where w belongs")
    assert found.headline.endswith("and a factor 2 is too much")
    right = fault_of(values, "x", up(values) * number(values, "w") ** 2)
    found = first(changed_factor_and_constant, right)
    assert found is not None and "too much" not in found.headline


@pytest.mark.parametrize(("elements", "tells"), [(6, True), (5, False)])
def test_formulas_far_from_the_right_one_need_six_elements(fault_of: Make, elements: int, tells: bool) -> None:
    """y = exp(x) * w: dx = dy * y; x**2 alone is far from it, and few numbers fit some pair of powers."""
    x, w = draw(elements, seed=0).requires_grad_(), draw(elements, seed=1).requires_grad_()
    y = x.exp() * w
    values = dict(x=x, w=w, y=y, loss=(y * draw(elements, seed=2)).sum())
    found = first(changed_factor, fault_of(values, "x", up(values) * x.detach() ** 2))
    assert (found is not None) is tells


@pytest.mark.parametrize(("off", "plain"), [(0.009, True), (0.011, False)])
def test_a_constant_within_a_hundredth_of_a_quarter_is_meant_as_one(off: float, plain: bool) -> None:
    assert (_plain(1.5 * (1 + off)) == 1.5) is plain
    assert _plain(0.1) == 0.1 and _plain(-2.01) == -2.0


@pytest.mark.parametrize(
    ("c", "named"), [(1.0, False), (1.0005, False), (1.0009, False), (1.0012, True), (1.002, True)]
)
def test_a_constant_that_is_off_by_a_thousandth_is_said(fault_of: Make, c: float, named: bool) -> None:
    values = product()
    fault = fault_of(values, "x", c * up(values) * number(values, "w") ** 2, allowed=2e-3)
    found = first(changed_factor_and_constant, fault)
    assert found is not None and ("too much" in found.headline) is named


@pytest.mark.parametrize(("c", "fits"), [(1.0, True), (1.008, True), (1.012, False)])
def test_without_a_constant_the_factor_has_to_be_right_to_a_hundredth(fault_of: Make, c: float, fits: bool) -> None:
    values = product()
    got = c * up(values) * number(values, "w") ** -2
    fault = fault_of(values, "x", got, allowed=0.2)
    assert (first(changed_factor, fault) is not None) is fits


def test_another_value_where_a_factor_belongs(fault_of: Make) -> None:
    values = product()
    found = first(exchanged_factor, fault_of(values, "x", up(values) * number(values, "z")))
    assert found is not None and found.cause == "F14"
    assert found.headline == "z stands where w belongs, as in the derivative of a different forward pass"
    assert found.next == "use dy * w" and "dy * z, to rounding" in found.why


def test_a_gradient_where_a_factor_belongs(fault_of: Make) -> None:
    values = product()
    found = first(exchanged_factor, fault_of(values, "x", up(values) * up(values, "z")))
    assert found is not None and found.cause == "F15"
    assert found.headline == "the gradient dz stands where the value w belongs"


def test_another_value_as_it_is_where_a_power_belongs(fault_of: Make) -> None:
    x, z = draw(8, 5, seed=0).requires_grad_(), draw(8, 5, seed=2).requires_grad_()
    y = x**3
    values = dict(x=x, z=z, y=y, loss=(y * draw(8, 5, seed=3)).sum() + z.sum())
    for wrong, text in ((z.detach() ** 2, "z**2"), (z.detach(), "z")):
        found = first(exchanged_factor, fault_of(values, "x", 3 * up(values) * wrong))
        assert found is not None and found.headline.startswith(f"{text} stands where x**2 belongs")


def test_two_tensors_that_do_not_belong_there(fault_of: Make) -> None:
    values = product()
    fault = fault_of(values, "x", up(values, "z") * number(values, "z"))
    found = first(two_strangers, fault)
    assert found is not None and found.cause == "F15"
    assert "stand where dy * w belongs" in found.headline
    rough = fault_of(values, "x", up(values, "z") * number(values, "z"), eps=0.01)
    assert first(two_strangers, rough) is None  # too few digits to tell so many products apart


@pytest.mark.parametrize(("c", "fits"), [(1.0, True), (1.02, False)])
def test_two_strangers_with_another_constant_are_a_coincidence(fault_of: Make, c: float, fits: bool) -> None:
    values = product()
    fault = fault_of(values, "x", c * up(values, "z") * number(values, "z"), allowed=0.2)
    assert (first(two_strangers, fault) is not None) is fits


def test_an_integer_is_no_factor(fault_of: Make) -> None:
    values = product() | {"n": torch.arange(40).reshape(8, 5)}
    fault = fault_of(values, "x", up(values) * values["n"])
    assert "n" not in {name for name, _, _ in others(fault)}
    bench = next(benches(fault))
    assert [column.name for column in _columns(bench, ("w", "n"), (1.0,))] == ["w"]


def test_a_plain_product_where_the_right_share_is_none(fault_of: Make) -> None:
    x = draw(8, 5, seed=0).requires_grad_()
    y = x.sin()
    values = dict(x=x, y=y, loss=(y * draw(8, 5, seed=3)).sum())
    for sign, text in ((1, "dy * x"), (-1, "-dy * x")):
        found = first(plain_product, fault_of(values, "x", sign * up(values) * x.detach()))
        assert found is not None and found.cause == "F14" and f"equals {text}, to rounding" in found.why
    assert first(plain_product, fault_of(values, "x", 2 * up(values) * x.detach())) is None
    right = product()
    assert first(plain_product, fault_of(right, "x", up(right) * number(right, "x"))) is None  # it has a formula


def softmax() -> dict[str, Tensor]:
    """The right share is no product of powers."""
    x = draw(8, 5, seed=0).requires_grad_()
    p = x.softmax(1)
    return dict(x=x, p=p, loss=(p * draw(8, 5, seed=3)).sum())


def test_a_factor_beside_a_share_that_has_no_formula(fault_of: Make) -> None:
    values = softmax()
    right, p = up(values, "x"), number(values, "p")
    put_in = first(changed_factor, fault_of(values, "x", right * p))
    assert put_in is not None and put_in.headline == "the factor p does not belong there"
    left_out = first(changed_factor, fault_of(values, "x", right / p))
    assert left_out is not None and left_out.headline == "the factor p is left out"
    assert first(changed_factor_and_constant, fault_of(values, "x", right * p)) is None


@pytest.mark.parametrize(("count", "known", "gradients"), [(10, 14, 13), (54, 58, 57), (55, 59, 58), (70, 59, 59)])
def test_sixty_values_and_sixty_gradients_of_other_lines_are_tried(
    fault_of: Make, count: int, known: int, gradients: int
) -> None:
    """The loss, which is one number, is one of them and passed over. In a larger network many pairs fit by chance."""
    values = product()
    extra = {f"e{number}": draw(8, 5, seed=10 + number).requires_grad_() for number in range(count)}
    values = {**values, **extra, "loss": values["loss"] + sum(value.sum() for value in extra.values())}
    found = others(fault_of(values, "x", up(values)))
    assert [name for name, _, _ in found][:3] == ["x", "y", "w"]
    assert [gradient for _, gradient, _ in found] == [False] * known + [True] * gradients
