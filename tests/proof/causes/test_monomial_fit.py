"""A share laid out for trying formulas: what it is tried on, and how close one has to come."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.fault import Fault
from backproof.proof.causes.monomial_fit import Bench, Column, Monomial, benches, power_of

Make = Callable[..., Fault]


def product(rows: int = 40, columns: int = 30) -> dict[str, Tensor]:
    """y = x * w with w broadcast along the rows, so that dw is a sum over them."""
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(rows, columns, generator=generator, dtype=torch.float64) + 0.5).requires_grad_()
    w = (torch.rand(columns, generator=generator, dtype=torch.float64) + 0.5).requires_grad_()
    up = torch.randn(rows, columns, generator=generator, dtype=torch.float64)
    y = x * w
    return dict(x=x, w=w, y=y, loss=(y * up).sum())


def bench_of(make: Make, name: str = "x", **shape: int) -> Bench:
    values = product(**shape)
    got = torch.randn(values[name].shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (bench,) = benches(make(values, name, got))
    return bench


def test_a_formula_is_tried_on_ten_indices_of_each_dimension(fault_of: Make) -> None:
    """Five where the gradient is most wrong, five spread evenly; all of a short one."""
    bench = bench_of(fault_of)
    assert bench.take(bench.part.upstream).shape == torch.Size([len(bench.indices[0]), len(bench.indices[1])])
    assert 8 <= len(bench.indices[0]) <= 10 and 8 <= len(bench.indices[1]) <= 10
    assert {0, 39} <= set(bench.indices[0].tolist())
    wrong = (bench.fault.difference / bench.fault.measure).abs()
    assert set(wrong.amax(1).topk(5).indices.tolist()) <= set(bench.indices[0].tolist())
    short = bench_of(fault_of, rows=4, columns=3)
    assert short.take(short.part.upstream).shape == (4, 3)


def test_what_is_summed_away_is_taken_whole(fault_of: Make) -> None:
    bench = bench_of(fault_of, "w")
    assert bench.lost == (0,) and list(bench.indices) == [1]
    assert bench.take(bench.part.upstream).shape[0] == 40
    assert bench.take_sum(bench.part.expected).numel() == len(bench.indices[1])
    x = bench.column("x", bench.fault.graph.values["x"].detach(), 1.0)
    assert x is not None
    assert torch.allclose(bench.made(bench.part.upstream, (x,)), bench.part.expected)


@pytest.mark.parametrize(("off", "fits"), [(0.0, True), (4e-3, True), (6e-3, False)])
def test_a_formula_may_be_off_by_half_a_hundredth_on_the_sample(fault_of: Make, off: float, fits: bool) -> None:
    """It is then held against all elements and their rounding: this only spares the search hopeless ones."""
    bench = bench_of(fault_of)
    start = bench.part.upstream
    other = torch.randn(start.shape, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    wanted, noise = bench.take_sum(start), bench.take_sum(other)
    noise -= wanted * (noise @ wanted) / (wanted @ wanted)
    target = start * 3.0
    mixed = torch.zeros_like(target)
    flat = bench.take_sum(target) + noise * (off * float((3 * wanted).norm() / noise.norm()))
    grid = torch.meshgrid(bench.indices[0], bench.indices[1], indexing="ij")
    mixed[grid] = flat.reshape(len(bench.indices[0]), -1)
    found = list(bench.fits(mixed, start, [()]))
    assert bool(found) is fits
    assert all(c == pytest.approx(3.0) for c, _ in found)


def test_each_of_many_formulas_is_tried_once(fault_of: Make) -> None:
    bench = bench_of(fault_of)
    x = bench.column("x", bench.fault.graph.values["x"].detach(), 1.0)
    assert x is not None
    wrong = x._replace(sample=torch.randn(x.sample.shape, generator=torch.Generator().manual_seed(3)).double())
    right = {10, 255, 256, 300, 511, 512, 599}
    tries: list[tuple[Column, ...]] = [
        (x._replace(name=str(number)) if number in right else wrong,) for number in range(600)
    ]
    target = bench.part.upstream * x.whole
    found = list(bench.fits(target, bench.part.upstream, tries))
    assert [int(columns[0].name) for _, columns in found] == sorted(right)
    assert not list(bench.fits(torch.zeros_like(target), bench.part.upstream, tries))


def test_columns_are_powers_with_their_signs(fault_of: Make) -> None:
    bench = bench_of(fault_of, rows=4, columns=3)
    x = torch.tensor([[-2.0, 1.0, 3.0]]).expand(4, 3)
    for power, first in ((1.0, -2.0), (2.0, 4.0), (3.0, -8.0), (-1.0, -0.5), (0.5, -(2**0.5))):
        column = bench.column("x", x, power)
        assert column is not None and column.whole[0, 0].item() == pytest.approx(first)


def test_a_column_that_tells_no_factor_is_none(fault_of: Make) -> None:
    bench = bench_of(fault_of, rows=4, columns=3)
    assert bench.column("same", torch.full((4, 3), 2.0), 1.0) is None
    assert bench.column("nan", torch.tensor([[1.0, float("nan"), 2.0]]), 1.0) is None
    assert bench.column("other shape", torch.ones(4, 5), 1.0) is None
    inverse = bench.column("zero", torch.tensor([[0.0, 1.0, 2.0]]), -1.0)
    assert inverse is not None and inverse.whole[0].tolist() == [0.0, 1.0, 0.5]


def test_one_element_is_too_little_for_a_formula(fault_of: Make) -> None:
    x = torch.ones((), dtype=torch.float64, requires_grad=True)
    assert not list(benches(fault_of(dict(x=x, loss=x.exp()), "x", torch.tensor(2.0, dtype=torch.float64))))


def test_a_formula_in_words(fault_of: Make) -> None:
    bench = bench_of(fault_of, rows=4, columns=3)
    x, cubed = (bench.column("x", bench.fault.graph.values["x"].detach(), power) for power in (1.0, 3.0))
    inverse = bench.column("x", bench.fault.graph.values["x"].detach(), -1.0)
    assert x is not None and cubed is not None and inverse is not None
    assert str(Monomial(1, "dy", (x,))) == "dy * x"
    assert str(Monomial(-1, "dy", (x, cubed))) == "-dy * x**4"
    assert str(Monomial(0.5, "dy", (x, inverse))) == "0.5 * dy"
    assert Monomial(1, "dy", (x, inverse)).powers == {}
    assert (power_of("x", 1), power_of("x", 0.5), power_of("x", -2.0)) == ("x", "x**0.5", "x**-2")
