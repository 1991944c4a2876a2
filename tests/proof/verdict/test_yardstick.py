"""Right code is never accused, however badly conditioned; real faults are, however small."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backproof.proof.check import check
from backproof.proof.graph.graph import trace
from backproof.proof.report.report import Report
from backproof.proof.report.rows import PROVED
from backproof.proof.verdict.signs import signed
from backproof.proof.verdict.yardstick import (
    MULTIPLE,
    Yardstick,
    _squares_vanish,
    allowance,
    outside,
    within,
    yardsticks,
)

FLOATS = [torch.float32, torch.float64]


def draw(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def leaf(value: Tensor) -> Tensor:
    return value.detach().clone().requires_grad_()


def one_by_one(terms: Tensor) -> Tensor:
    total = torch.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def names_of(report: Report) -> list[str]:
    return [row.name for row in report.culprits]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("rows", [1, 2, 501, 3001])
def test_sums_in_another_order(dtype: torch.dtype, rows: int) -> None:
    """All terms of one sign: a running sum then loses most."""
    x, w = leaf(draw(rows, 3, dtype=dtype).abs()), leaf(draw(3, seed=1, dtype=dtype))
    y = x * w
    dy = torch.ones_like(y)
    dw = one_by_one((dy * x).detach())
    assert check(y.sum(), dict(x=x, w=w, y=y, dy=dy, dw=dw, dx=(dy * w).detach())).ok


@pytest.mark.parametrize("dtype", FLOATS)
def test_signed_terms_sorted_by_sign(dtype: torch.dtype) -> None:
    """A running sum climbs to half the sum of all sizes, and comes back to almost nothing."""
    x = leaf(draw(2000, 2, dtype=dtype).sort(0).values)
    w = leaf(torch.ones(2, dtype=dtype))
    dw = one_by_one(x.detach())
    assert check((x * w).sum(), dict(x=x, w=w, dw=dw)).ok


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("sharpness", [1, 30, 1000])
def test_sharp_softmax(dtype: torch.dtype, sharpness: int) -> None:
    z = leaf(draw(16, 9, dtype=dtype) * sharpness)
    p = z.softmax(1)
    up = draw(16, 9, seed=3, dtype=dtype)
    dz = (p * (up - (p * up).sum(1, keepdim=True))).detach()
    assert check((p * up).sum(), dict(z=z, p=p, dp=up, dz=dz)).ok
    y = torch.arange(16) % 9
    dz = (z.softmax(1).detach() - functional.one_hot(y, 9)) / 16
    assert check(functional.cross_entropy(z, y), dict(z=z, dz=dz)).ok


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 8, 20])
def test_saturation(dtype: torch.dtype, size: int) -> None:
    z, up = leaf(draw(7, 5, dtype=dtype) * 0.1 + size), draw(7, 5, seed=1, dtype=dtype)
    h = torch.tanh(z)
    assert check((h * up).sum(), dict(z=z, h=h, dh=up, dz=((1 - h * h) * up).detach())).ok
    s = 1 / (1 + torch.exp(-z))
    assert check((s * up).sum(), dict(z=z, s=s, ds=up, dz=(s * (1 - s) * up).detach())).ok


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("offset", [0.0, 100.0, 1e4])
@pytest.mark.parametrize("n", [2, 3, 40])
def test_collapsed_normalisation_far_from_zero(dtype: torch.dtype, offset: float, n: int) -> None:
    """Subtracting the mean loses digits, and a formula that relies on sums of zero shows it."""
    x, w, b = leaf(draw(n, 6, dtype=dtype) + offset), leaf(draw(6, seed=1, dtype=dtype)), leaf(draw(6, dtype=dtype))
    up = draw(n, 6, seed=2, dtype=dtype)
    mean = x.mean(0)
    diff = x - mean
    rstd = ((diff**2).mean(0) + 1e-5) ** -0.5
    xhat = diff * rstd
    y = xhat * w + b
    with torch.no_grad():
        u = up * w
        collapsed = rstd / n * (n * u - u.sum(0) - xhat * (u * xhat).sum(0))
        ddiff = rstd * u + 2 * diff * (-0.5 * rstd**3 * (u * diff).sum(0) / n)
        dmean = -(u * rstd).sum(0)
    names = dict(x=x, w=w, y=y, mean=mean, diff=diff, xhat=xhat, dy=up, dxhat=u, dx=collapsed)
    assert check((y * up).sum(), names).ok
    assert check((y * up).sum(), names | dict(ddiff=ddiff, dmean=dmean)).ok
    fused = functional.batch_norm(x, None, None, w, b, training=True)
    assert check((fused * up).sum(), dict(x=x, w=w, b=b, y=fused, dy=up, dx=collapsed, db=up.sum(0))).ok


def test_layer_normalisation_of_one_feature() -> None:
    """The normalised value is zero, or what rounding leaves of it."""
    x, w = leaf(draw(9, 1) * 100), leaf(draw(1, seed=1))
    up = draw(9, 1, seed=2)
    y = functional.layer_norm(x, (1,), w)
    assert check((y * up).sum(), dict(x=x, w=w, y=y, dy=up, dw=torch.zeros(1), dx=torch.zeros(9, 1))).ok


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("n", [1, 2, 33])
def test_scales_layouts_and_ties(dtype: torch.dtype, scale: float, n: int) -> None:
    x = leaf((draw(n, 5, dtype=dtype) * 2).round() * scale)
    W = leaf(draw(5, 4, seed=1, dtype=dtype).T * 1e3)
    a = x @ W.T
    r = torch.relu(a)
    top, place = r.max(1, keepdim=True)
    with torch.no_grad():
        dtop = torch.ones(1, 1, dtype=dtype).expand(n, 1)
        dr = torch.zeros_like(r).scatter(1, place, dtop)
        da = (dr.T * (a > 0).T).T
        dW = (x.T @ da).T
        dx = torch.stack([da[i] @ W for i in range(n)])
    names = dict(x=x, W=W, a=a, r=r, top=top, dtop=dtop, dr=dr, da=da, dW=dW, dx=dx)
    assert check(top.sum(), names).ok


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_low_precision(dtype: torch.dtype) -> None:
    x, w = leaf(draw(501, 8, dtype=dtype)), leaf(draw(8, seed=1, dtype=dtype))
    y = torch.tanh(x * w)
    with torch.no_grad():
        dy = 2 * y
        dz = (1 - y * y) * dy
        dw = (dz * x).sum(0)
        in_float = ((1 - y.float() ** 2) * dy.float() * x.float()).sum(0).to(dtype)
    for gradient in (dw, in_float):
        assert check((y**2).sum(), dict(x=x, w=w, y=y, dy=dy, dw=gradient)).ok
    assert names_of(check((y**2).sum(), dict(x=x, w=w, y=y, dy=dy, dw=2 * dw))) == ["w"]


def test_a_long_sum_in_half_precision_is_a_fault() -> None:
    x, w = leaf(draw(3000, 4, dtype=torch.bfloat16).abs()), leaf(torch.ones(4, dtype=torch.bfloat16))
    y = x * w
    stuck = one_by_one(x.detach())  # a running sum in bfloat16 stops growing
    assert names_of(check(y.sum(), dict(x=x, w=w, y=y, dy=torch.ones_like(y), dw=stuck))) == ["w"]


def linear(n: int, dtype: torch.dtype) -> dict[str, Tensor]:
    x, W = draw(n, 6, dtype=dtype), leaf(draw(6, 4, seed=1, dtype=dtype))
    y = x @ W
    up = draw(n, 4, seed=2, dtype=dtype)
    return dict(x=x, W=W, y=y, dy=up, loss=(y * up).sum(), dW=x.T @ up)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("n", [2, 33, 1000])
def test_small_faults_are_told_from_rounding(dtype: torch.dtype, n: int) -> None:
    names = linear(n, dtype)
    x, up, dW = names["x"], names["dy"], names["dW"]
    one = dW.clone()
    one[3, 2] *= 1.001
    faults = {
        "n - 1 for n": dW * (n / (n - 1)),
        "a row left out": x[:-1].T @ up[:-1],
        "one in a thousand": dW * 1.001,
        "one element": one,
        "another scale": dW * (1 + 1e-3 * draw(6, 4, seed=9, dtype=dtype)),
    }
    assert check(names["loss"], names).ok
    for what, wrong in faults.items():
        assert names_of(check(names["loss"], {**names, "dW": wrong})) == ["W"], what


def test_a_wrong_row_is_seen_beside_a_huge_one() -> None:
    x = draw(20, 5)
    x[3] *= 2000
    W = leaf(draw(5, 4, seed=1))
    y = x @ W
    h = torch.sigmoid(y) * y
    up = draw(20, 4, seed=2)
    s = torch.sigmoid(y).detach()
    dy = up * (s + y.detach() * s * (1 - s))
    names = dict(W=W, y=y, h=h, dh=up, dy=dy, loss=(h * up).sum())
    assert check(names["loss"], names).ok
    assert names_of(check(names["loss"], {**names, "dy": up * (s - y.detach() * s * (1 - s))})) == ["y"]


def test_two_shares_from_one_operation_that_cancel() -> None:
    """x - x sends back a gradient and its negative; what rounds between the two is no fault."""
    x = leaf(draw(40, 6) * 1e-4)
    nothing = x - x
    square = x**2
    loss = (nothing * 1e3 + square).sum()
    dnothing = torch.full_like(x, 1e3)
    dsquare = torch.ones_like(x)
    dx = 2 * x.detach() * dsquare + (dnothing - dnothing)
    report = check(loss, dict(x=x, nothing=nothing, square=square, dnothing=dnothing, dsquare=dsquare, dx=dx))
    assert report.ok, report
    assert not report["x"].exact


def test_random_signs_neither_cancel_nor_touch_the_users_generator() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(0)
    one, other = signed(torch.ones(1000), generator), signed(torch.ones(1000), generator)
    assert torch.equal(torch.get_rng_state(), state)
    assert float(one.abs().min()) >= 0.75 and float(one.abs().max()) <= 1.25
    assert bool(((one + other) != 0).all())
    assert abs(float(one.mean())) < 0.1


def test_the_allowance_grows_with_the_sum_but_not_in_half_precision() -> None:
    eps = torch.finfo(torch.float32).eps
    assert allowance(eps, 100.0) == pytest.approx(10 * allowance(eps, 1.0))
    assert allowance(eps, 1.0) == pytest.approx(MULTIPLE * eps)
    half = torch.finfo(torch.bfloat16).eps
    assert allowance(half, 100.0) == allowance(half, 1.0) < 0.05
    assert math.isclose(allowance(half, 1.0) / half, 4)


# Each number that decides, from both sides. The allowance of an element is three units: for its own terms, for its own
# size, and for the root mean square of all; a unit is MULTIPLE roundings times the root of the number of terms.


@pytest.mark.parametrize(
    ("dtype", "roundings", "right"),
    [
        (torch.float32, 45, True),
        (torch.float32, 75, False),
        (torch.float64, 45, True),
        (torch.float64, 75, False),
        (torch.bfloat16, 9, True),
        (torch.bfloat16, 14, False),
        (torch.float16, 9, True),
        (torch.float16, 14, False),
    ],
)
def test_how_many_roundings_are_allowed(dtype: torch.dtype, roundings: int, right: bool) -> None:
    """Of a product of two numbers: 16 · 3 in full precision, and 4 · 3 where kernels add in float32."""
    x, w = draw(40, dtype=dtype).abs() + 1, leaf(draw(40, seed=1, dtype=dtype))
    off = (x.double() * (1 + roundings * torch.finfo(dtype).eps)).to(dtype)
    assert check((x * w).sum(), dict(w=w, dw=off)).ok is right


@pytest.mark.parametrize(
    ("n", "roundings", "right"), [(100, 150, True), (100, 210, False), (10_000, 1400, True), (10_000, 1900, False)]
)
def test_the_allowance_of_a_sum_grows_with_the_root_of_its_length(n: int, roundings: int, right: bool) -> None:
    """A running sum of equal terms makes about the root of N roundings' worth of error: 16 · √N are allowed."""
    w, eps = leaf(torch.ones(3)), torch.finfo(torch.float32).eps
    report = check((torch.ones(n, 3) * w).sum(), dict(w=w, dw=torch.full((3,), n * (1 + roundings * eps))))
    assert report.ok is right


LEAST = torch.finfo(torch.float32).tiny * torch.finfo(torch.float32).eps  # the spacing of the smallest numbers


@pytest.mark.parametrize(
    ("n", "spacings", "tells"), [(1, 20, False), (1, 50, True), (100, 1, False), (100, 4, True), (400, 1, True)]
)
def test_a_gradient_of_a_few_of_the_smallest_numbers_proves_nothing(n: int, spacings: int, tells: bool) -> None:
    """16 · (1 + √N) spacings may be rounding: 32 for one term, 176 for a sum of 100, 336 for one of 400."""
    w = leaf(torch.ones(3))
    x = torch.full((n, 3), spacings * LEAST)
    report = check((x * w).sum(), dict(w=w, dw=x.sum(0) + LEAST))
    assert (report["w"].verdict in PROVED) is tells


def test_differences_of_numbers_too_small_for_their_digits_are_none() -> None:
    tiny = torch.finfo(torch.float32).tiny
    nothing = torch.zeros(2)
    assert not outside(torch.tensor([0.9 * tiny, 0.0]), nothing, nothing).any()
    assert outside(torch.tensor([1.1 * tiny, 0.0]), nothing, nothing).tolist() == [True, False]


@pytest.mark.parametrize(("dtype", "exponent"), [(torch.float32, 45), (torch.float64, 356)])
def test_a_sigmoid_written_with_a_square_that_overflows(dtype: torch.dtype, exponent: float) -> None:
    """e / (1 + e)² is 0 from there on where s(1 - s) is not; a wrong gradient ten thousand times that size is seen."""
    z = leaf(torch.full((5,), -float(exponent), dtype=dtype))
    s = torch.sigmoid(z)
    up, e = torch.ones(5, dtype=dtype), (-z).detach().exp()
    names = dict(z=z, s=s, ds=up, dz=up * e / (1 + e) ** 2)
    assert not names["dz"].any() and s.all()
    report = check((s * up).sum(), names)
    assert report.ok, report
    assert not check((s * up).sum(), {**names, "dz": 1e4 * s.detach()}).ok


def test_a_reader_that_saturates_may_bring_its_own_rounding() -> None:
    """|dr| · min(1, |r / v|) is added, so that v, 16 times r here, has a sixteenth of the reader's gradient more."""
    v = leaf(torch.full((5,), 16.0))
    r = 1 + v * 0.0
    graph = trace(dict(v=v, r=r), r.sum())
    for handed, own in ((torch.zeros(5), 0.0), (torch.ones(5), 1 / 16), (torch.full((5,), 3.0), 3 / 16)):
        found = yardsticks(graph, {"r": handed}, {"v": torch.zeros(5)})["v"]
        unit = allowance(found.eps, found.terms)
        assert found.fine[0].item() == pytest.approx(unit * own, rel=1e-3, abs=1e-30)
        assert found.allowed[0].item() == pytest.approx(2 * unit * own, rel=1e-3, abs=1e-30)


def test_a_reader_larger_than_the_value_brings_no_more_than_its_gradient() -> None:
    v = leaf(torch.full((5,), 0.5))
    r = 100 + v * 0.0
    found = yardsticks(trace(dict(v=v, r=r), r.sum()), {"r": torch.ones(5)}, {"v": torch.zeros(5)})["v"]
    assert found.fine[0].item() == pytest.approx(allowance(found.eps, found.terms), rel=1e-3)


def test_a_number_that_is_not_finite_excuses_nothing() -> None:
    """What is allowed beside an infinite gradient would be infinite, and every number right."""
    w = leaf(torch.ones(3))
    graph = trace(dict(w=w), (w * 2.0).sum())
    expected = torch.tensor([math.inf, math.nan, 2.0])
    found = yardsticks(graph, {}, {"w": expected})["w"]
    assert bool(found.allowed.isfinite().all()) and bool(found.fine.isfinite().all())
    assert outside(torch.tensor([3.0, 3.0, 2.0]), expected, found.allowed).tolist() == [True, True, False]


def test_an_element_without_terms_is_allowed_what_the_others_need() -> None:
    """The root of the mean square of all elements; also where their squares would overflow or vanish."""
    for size in (1.0, 1e30, 1e-30):
        w = leaf(torch.ones(4))
        graph = trace(dict(w=w), (w * torch.tensor([0.0, size, size, size])).sum())
        found = yardsticks(graph, {}, {"w": torch.zeros(4)})["w"]
        unit = allowance(found.eps, found.terms) * size
        assert 0.75 * 0.75**0.5 < float(found.allowed[0]) / unit < 1.25 * 0.75**0.5
        assert float(found.fine[0]) < 1e-3 * unit


def test_an_empty_value_and_one_without_terms_have_a_yardstick() -> None:
    for w in (leaf(torch.ones(0, 3)), leaf(torch.ones(2, 3))):
        found = yardsticks(trace(dict(w=w), (w * 0.0).sum()), {}, {"w": torch.zeros_like(w)})["w"]
        assert found.allowed.shape == w.shape and bool((found.allowed < 1e-30).all())


def test_in_float16_a_reader_that_vanishes_brings_nothing() -> None:
    """The bound below which squares vanish would be 8 there, and every reader's gradient in doubt."""
    assert _squares_vanish(torch.float16) == 0.0
    assert _squares_vanish(torch.float32) == pytest.approx(9.1e-13, rel=0.01)


def terms(loss: Tensor, **values: Tensor) -> dict[str, float]:
    graph = trace(values, loss)
    handed = {name: torch.ones_like(value) for name, value in values.items() if value.grad_fn is not None}
    found = yardsticks(graph, handed, {name: torch.ones_like(value) for name, value in values.items()})
    return {name: one.terms for name, one in found.items()}


def test_how_many_terms_a_sum_may_have() -> None:
    """Counted from shapes since the nearest gradient that was given, rather too many than too few."""
    x, w = torch.ones(6, 5), leaf(torch.ones(5))
    W = leaf(torch.ones(5, 4))
    assert terms((x * w).sum(), w=w)["w"] == 1 + 6  # broadcast along six rows
    assert terms((x @ W).sum(), W=W)["W"] >= 6  # a product of matrices sums over the rows
    y = x @ W
    z = y * 2.0
    found = terms((z * 3.0).sum(), W=W, y=y, z=z)
    assert found["y"] == 1.0 and found["z"] == 2.0  # z: of the product, and of the sum before it
    both = w * 2.0 + w * 3.0 + w * 4.0
    assert terms(both.sum(), w=w)["w"] > terms((w * 2.0).sum(), w=w)["w"]  # each further reader adds one


def test_the_yardstick_costs_four_backward_passes() -> None:
    """One would be small by chance, where random signs cancel; more would make every check slower."""
    passes: list[int] = []
    w = leaf(torch.ones(3))
    y = w * 2.0
    y.register_hook(lambda gradient: passes.append(1))
    graph = trace(dict(w=w, y=y), y.sum())
    passes.clear()
    yardsticks(graph, {}, {"w": torch.ones(3)})
    assert len(passes) == 4


def test_an_average_of_random_signs_is_not_small_by_chance() -> None:
    """Of a sum of a thousand ones: about the root of a thousand, within a factor of eight, whatever is drawn."""
    w = leaf(torch.ones(300))
    found = yardsticks(trace(dict(w=w), (torch.ones(1000, 300) * w).sum()), {}, {"w": torch.zeros(300)})["w"]
    scale = found.fine / allowance(found.eps, found.terms)
    assert float(scale.min()) > 1000**0.5 / 8 and float(scale.max()) < 1000**0.5 * 2


def test_extra_doubt_widens_what_is_allowed_and_not_what_is_fine() -> None:
    one = Yardstick(torch.ones(3), torch.full((3,), 0.5), 1.0, 1e-7)
    wider = one.widened(torch.tensor([1.0, float("inf"), float("nan")]))
    assert wider.allowed.tolist() == [2.0, 1.0, 1.0] and wider.fine is one.fine


def test_equal_infinities_and_two_nan_agree() -> None:
    inf, nan = float("inf"), float("nan")
    one = Yardstick(torch.zeros(3), torch.zeros(3), 1.0, 1e-7)
    assert within(torch.tensor([inf, nan, 1.0]), torch.tensor([inf, nan, 1.0]), one)
    for got, expected in ((inf, -inf), (nan, 1.0), (1.0, nan), (inf, 1.0)):
        assert not within(torch.tensor([got]), torch.tensor([expected]), one)
