"""The right operation on the wrong tensor: which tensors are tried, and how many."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.by_other_tensors import (
    _of_shape,
    _rearrangements,
    another_gradient,
    exchanged_upstreams,
    memory_order,
    misplaced,
    rearranged,
    rearranged_upstream,
    shifted,
    upstream_ignored,
    wrong_upstream,
)
from backproof.proof.causes.fault import Fault

Make = Callable[..., Fault]


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sine(*shape: int) -> dict[str, Tensor]:
    x = draw(*shape).requires_grad_()
    y = x.sin()
    z = y.exp()
    return dict(x=x, y=y, z=z, loss=(z * draw(*shape, seed=1)).sum())


def own(values: dict[str, Tensor], name: str) -> Tensor:
    return torch.autograd.grad(values["loss"], values[name], retain_graph=True)[0]


def back(values: dict[str, Tensor], upstream: Tensor) -> Tensor:
    """What y sends back to x."""
    return upstream * values["x"].detach().cos()


def test_the_gradient_of_another_value(fault_of: Make) -> None:
    x, w, v = (draw(4, 3, seed=seed).requires_grad_() for seed in (0, 1, 2))
    y = x * w + v.exp()
    values = dict(x=x, w=w, v=v, y=y, loss=(y * draw(4, 3, seed=3)).sum())
    dx, dw = own(values, "x"), own(values, "w")
    (found,) = another_gradient(fault_of(values, "x", dw.clone(), given={"w": dx.clone()}))
    assert found.cause == "F10" and found.headline == "it is the gradient of w, not of x"
    assert found.next.startswith("exchange dx and dw") and found.mended is not None
    (found,) = another_gradient(fault_of(values, "x", dw.clone()))
    assert found.next.startswith("see whether dx and dw are swapped") and found.mended is None
    assert "both are read by y." in found.why
    far = dict(values, u=draw(4, 3, seed=8).requires_grad_())
    far["loss"] = values["loss"] + (far["u"] ** 3).sum()
    (found,) = another_gradient(fault_of(far, "x", own(far, "u").clone()))
    assert found.cause == "F15"


def test_the_upstream_gradient_of_its_own_reader_is_no_other_gradient(fault_of: Make) -> None:
    values = sine(4, 3)
    assert not list(another_gradient(fault_of(values, "x", own(values, "y").clone())))


@pytest.mark.parametrize(
    ("shape", "change", "words"),
    [
        ((3, 3), lambda t: t.T, "transposed"),
        ((2, 3, 3), lambda t: t.transpose(1, 2), "with dimensions 1 and 2 exchanged"),
        ((2, 3), lambda t: t.reshape(3, 2).T, "with its numbers in the order of dimensions 1 and 0"),
        ((2, 3), lambda t: t.T.reshape(2, 3), "with its numbers in the order of dimensions 1 and 0"),
        ((5, 3), lambda t: t.flip(0), "turned round along dimension 0"),
        ((5, 3), lambda t: t.flip(1), "turned round along dimension 1"),
        ((8, 1), lambda t: torch.cat(t.chunk(2)[::-1]), "with its 2 blocks along dimension 0 in the order 1 and 0"),
        ((9, 1), lambda t: torch.cat([t[3:6], t[6:], t[:3]]), "with its 3 blocks along dimension 0 in the order 1, 2"),
        ((8, 1), lambda t: torch.cat([t[:2], t[4:6], t[2:4], t[6:]]), "with its 4 blocks along dimension 0"),
    ],
)
def test_the_right_gradient_in_another_order(fault_of: Make, shape: tuple, change: Callable, words: str) -> None:
    values = sine(*shape)
    (found,) = rearranged(fault_of(values, "x", change(own(values, "x")).clone()))
    assert found.cause == "F10" and found.headline.startswith(f"it is {words}")
    (found,) = rearranged_upstream(fault_of(values, "x", back(values, change(own(values, "y")))))
    assert found.cause == "F10" and found.headline.startswith(f"dy is read {words}")


@pytest.mark.parametrize(("shape", "blocks"), [((4, 25_000), True), ((4, 25_001), False)])
def test_blocks_are_tried_in_every_order_up_to_a_hundred_thousand_elements(shape: tuple, blocks: bool) -> None:
    """There are 23 other orders of four blocks, and each is a copy."""
    assert any("blocks" in words for words, _ in _rearrangements(torch.empty(shape))) is blocks


def test_a_rearrangement_of_one_row_is_none() -> None:
    assert [words for words, _ in _rearrangements(torch.ones(1, 3))] == ["turned round along dimension 1"]
    assert [words for words, _ in _rearrangements(torch.ones(3, 1))] == ["turned round along dimension 0"]
    assert not list(_rearrangements(torch.ones(1, 1)))
    shapes = {made.shape for _, made in _rearrangements(torch.ones(2, 3, 4))}
    assert shapes == {torch.Size([2, 3, 4])}


def test_the_gradient_of_a_value_further_up_handed_on(fault_of: Make) -> None:
    values = sine(4, 3)
    (found,) = wrong_upstream(fault_of(values, "x", back(values, own(values, "z"))))
    assert found.cause == "F15" and found.headline == "dz stands where dy belongs"
    assert found.mended is not None and torch.allclose(found.mended, own(values, "x"))
    (found,) = wrong_upstream(fault_of(values, "x", back(values, values["z"].detach())))
    assert found.headline == "the value z stands where the gradient dy belongs" and found.next == "replace z by dy"


def test_the_right_upstream_gradient_of_a_step_inside_is_no_wrong_one(fault_of: Make) -> None:
    """Inside a line, the reader's own gradient may stand where that of a step belongs."""
    x = draw(4, 3).requires_grad_()
    y = x.sin().exp()
    values = dict(x=x, y=y, loss=(y * draw(4, 3, seed=1)).sum())
    fault = fault_of(values, "x", back(values, own(values, "y"))).inside()
    (found,) = wrong_upstream(fault)
    assert found.cause == "F16" and found.headline == "dy is handed on without the rest of the derivative of y"
    assert found.next == "work out d(sin(x)) first, from dy"


@pytest.mark.parametrize(("count", "tried"), [(20, 24), (57, 61), (80, 61)])
def test_sixty_other_tensors_are_tried(fault_of: Make, count: int, tried: int) -> None:
    """Gradients come first; one more value than sixty ends the list."""
    values = sine(4, 3)
    extra = {f"e{number}": draw(4, 3, seed=10 + number).requires_grad_() for number in range(count)}
    fault = fault_of({**values, **extra}, "x", draw(4, 3, seed=9), without=("y", "z"))
    found = list(_of_shape(fault, fault.parts[0]))
    assert [label for _, label, _ in found][:1] == ["dz"]
    assert len(found) == min(tried, 61)


def test_only_values_of_the_same_dtype_stand_for_a_gradient(fault_of: Make) -> None:
    values = sine(4, 3) | {"f": draw(4, 3).float().requires_grad_(), "g": draw(4, 2).requires_grad_()}
    fault = fault_of(values, "x", draw(4, 3, seed=9))
    names = {name for name, label, _ in _of_shape(fault, fault.parts[0]) if name == label}
    assert names == {"x", "y", "z"}


@pytest.mark.parametrize(
    ("take", "said"),
    [
        (torch.ones_like, "the upstream gradient dy is ignored"),
        (lambda up: up.flatten()[0].expand_as(up), "the upstream gradient dy is treated as one number"),
        (lambda up: up.mean().expand_as(up), "the upstream gradient dy is treated as one number"),
        (lambda up: up.sum().expand_as(up), "the upstream gradient dy is treated as one number"),
        (lambda up: up[:1].expand_as(up), "only index 0 of dimension 0 of the upstream gradient dy is used"),
        (lambda up: up[:, :1].expand_as(up), "only index 0 of dimension 1 of the upstream gradient dy is used"),
    ],
)
def test_an_upstream_gradient_that_is_not_used(fault_of: Make, take: Callable, said: str) -> None:
    values = sine(4, 3)
    (found,) = upstream_ignored(fault_of(values, "x", back(values, take(own(values, "y")))))
    assert found.cause == "F1" and found.headline == said


def test_an_upstream_gradient_of_equal_numbers_cannot_be_ignored(fault_of: Make) -> None:
    x = draw(4, 3).requires_grad_()
    y = x.sin()
    for loss in (y.sum(), (y * 3.0).sum()):
        values = dict(x=x, y=y, loss=loss)
        assert not list(upstream_ignored(fault_of(values, "x", back(values, torch.ones(4, 3)) * 2)))
        assert not list(upstream_ignored(fault_of(values, "x", back(values, torch.ones(4, 3)))))
    s = x.sum()
    for factor, found in ((1.0, 0), (3.0, 1)):
        values = dict(x=x, s=s, loss=s * factor)
        assert len(list(upstream_ignored(fault_of(values, "x", torch.ones(4, 3, dtype=torch.float64))))) == found


def test_memory_read_row_by_row(fault_of: Make) -> None:
    values = sine(4, 3)
    right = own(values, "y").contiguous()
    turned = right.T.contiguous().T  # the same numbers, column by column
    read = turned.as_strided((4, 3), (3, 1))
    (found,) = memory_order(fault_of(values, "x", back(values, read), given={"y": turned}))
    assert found.cause == "F2" and found.headline == "dy is read as if it were contiguous"
    assert "strides [1, 4]" in found.why
    assert found.mended is not None and torch.allclose(found.mended, own(values, "x"))
    assert not list(memory_order(fault_of(values, "x", back(values, read), given={"y": right})))
    spread = right[0, 0].expand(4, 3)  # one number in memory: reading on would be reading foreign memory
    assert not list(memory_order(fault_of(values, "x", back(values, read), given={"y": spread})))


def test_two_upstream_gradients_exchanged(fault_of: Make) -> None:
    x = draw(4, 3).requires_grad_()
    a, b = x.sin(), x.exp()
    values = dict(x=x, a=a, b=b, loss=(a * draw(4, 3, seed=1)).sum() + (b * draw(4, 3, seed=2)).sum())
    da, db = own(values, "a"), own(values, "b")
    got = db * x.detach().cos() + da * x.detach().exp()
    (found,) = exchanged_upstreams(fault_of(values, "x", got))
    assert found.cause == "F10" and found.headline == "da and db are swapped"
    assert found.mended is not None and torch.allclose(found.mended, own(values, "x"))
    assert not list(exchanged_upstreams(fault_of(values, "x", 2 * got)))


@pytest.mark.parametrize(("count", "found"), [(6, True), (5, False)])
def test_the_right_numbers_at_the_wrong_places(fault_of: Make, count: int, found: bool) -> None:
    """Six different ones, as where the gradients of a top-k go to the first columns."""
    right = torch.zeros(3, 7)
    places = torch.tensor([[0, 4], [0, 6], [1, 2], [1, 5], [2, 1], [2, 3]])[:count]
    numbers = torch.arange(1.0, count + 1) ** 1.5
    right[places[:, 0], places[:, 1]] = numbers
    w = torch.ones(3, 7).requires_grad_()
    values = dict(w=w, loss=(w * right).sum())
    first = torch.zeros(3, 7)
    first.flatten()[:count] = numbers
    assert [one.headline for one in misplaced(fault_of(values, "w", first))] == (
        ["it holds the right numbers at the wrong places"] if found else []
    )
    assert list(misplaced(fault_of(values, "w", first * 1.001))) == []


def moved(right: Tensor, by: int) -> Tensor:
    """As by a slice that begins one too early or too late; what comes in at the end is of no use."""
    got = right.roll(by, 1)
    got[:, 0 if by > 0 else -1] = 99.0
    return got


@pytest.mark.parametrize(
    ("by", "says"), [(1, "before, to rounding, but index 0"), (-1, "after, to rounding, but index 6")]
)
def test_moved_by_one_index(fault_of: Make, by: int, says: str) -> None:
    w, right = torch.ones(3, 7).requires_grad_(), draw(3, 7)
    values = dict(w=w, loss=(w * right).sum())
    (found,) = shifted(fault_of(values, "w", moved(right, by)))
    assert found.cause == "F10" and found.headline == "it is the right gradient, moved by one index along dimension 1"
    assert says in found.why
    assert not list(shifted(fault_of(values, "w", moved(right, by) * 1.001)))


@pytest.mark.parametrize(("different", "found"), [(6, True), (5, False)])
def test_few_different_numbers_may_look_moved(fault_of: Make, different: int, found: bool) -> None:
    right = torch.arange(1.0, 8.0).clamp(max=different).expand(3, 7)
    w = torch.ones(3, 7).requires_grad_()
    assert bool(list(shifted(fault_of(dict(w=w, loss=(w * right).sum()), "w", moved(right, 1))))) is found
