import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from backproof.optimisers.options import OptimiserError
from backproof.optimisers.schedules import Constant, Cosine, Drop, Schedule

SCHEDULES: list[Schedule] = [
    Constant(lr=0.1),
    Drop(lr=0.1, at=0.5, after=0.01),
    Cosine(lr=3e-3),
    Cosine(lr=3e-3, warmup=30, final=0.0),
    Cosine(lr=3e-3, warmup=10**6),
]


def torch_rates(schedule: Callable[[torch.optim.Optimizer], torch.optim.lr_scheduler.LRScheduler], lr: float, n: int):
    optimiser = torch.optim.SGD([torch.zeros(1)], lr=lr)
    theirs, rates = schedule(optimiser), []
    for _ in range(n):
        rates.append(optimiser.param_groups[0]["lr"])
        optimiser.step()
        theirs.step()
    return torch.tensor(rates, dtype=torch.float64)


def close(ours: torch.Tensor, theirs: torch.Tensor) -> bool:
    return torch.allclose(ours, theirs, rtol=1e-11, atol=1e-15)


def test_constant():
    assert Constant(lr=0.3).rates(5, 9, 100).tolist() == [0.3] * 4


def test_drop_is_pytorchs():
    ours = Drop(lr=0.1, at=0.5, after=0.01).rates(0, 101, 101)
    step = torch.optim.lr_scheduler.MultiStepLR
    assert close(ours, torch_rates(lambda optimiser: step(optimiser, [50], gamma=0.1), 0.1, 101))


@pytest.mark.parametrize(("at", "first"), [(0.0, 0), (0.3, 23), (0.5, 38), (0.999, 77), (1.0, 77)])
def test_drop_is_that_of_the_published_run(at: float, first: int):
    rates = Drop(lr=0.2, at=at, after=0.3).rates(0, 77, 77).tolist()
    assert rates == [0.2] * first + [0.3] * (77 - first)


def test_cosine_without_a_warm_up_is_pytorchs():
    annealing = torch.optim.lr_scheduler.CosineAnnealingLR
    theirs = torch_rates(lambda optimiser: annealing(optimiser, T_max=149, eta_min=0.2 * 0.05), 0.05, 150)
    assert close(Cosine(lr=0.05, final=0.2).rates(0, 150, 150), theirs)


def test_warm_up_is_pytorchs():
    linear = torch.optim.lr_scheduler.LinearLR
    theirs = torch_rates(lambda optimiser: linear(optimiser, start_factor=1 / 40, total_iters=39), 0.05, 40)
    assert close(Cosine(lr=0.05, warmup=40).rates(0, 40, 150), theirs)


def test_warm_up_then_cosine_in_closed_form():
    rates = Cosine(lr=0.5, warmup=4, final=0.2).rates(0, 12, 12).tolist()
    assert rates[:4] == [0.125, 0.25, 0.375, 0.5]
    assert rates[7] == pytest.approx(0.5 * (0.2 + 0.8 / 2), rel=1e-12)  # half-way from step 3 to step 11
    assert rates[3:] == pytest.approx([0.3 + 0.2 * math.cos(math.pi * i / 8) for i in range(9)], rel=1e-12)
    assert rates[11] == 0.5 * 0.2


@pytest.mark.parametrize(("warmup", "steps"), [(0, 1), (1, 1), (1, 2), (5, 5), (5, 6), (5, 3), (0, 2)])
def test_short_runs(warmup: int, steps: int):
    rates = Cosine(lr=1.0, warmup=warmup, final=0.1).rates(0, steps, steps).tolist()
    up, down = rates[:warmup], rates[max(warmup - 1, 0) :]
    assert up == [pytest.approx((s + 1) / warmup) for s in range(len(up))]
    assert down == sorted(down, reverse=True)
    if steps > max(warmup, 1):
        assert down[0] == 1 and down[-1] == pytest.approx(0.1)


@given(st.sampled_from(SCHEDULES), st.integers(1, 300), st.data())
@settings(max_examples=60, deadline=None)
def test_rates_are_the_same_bits_in_however_many_pieces(schedule: Schedule, steps: int, data: st.DataObject):
    start = data.draw(st.integers(0, steps))
    stop = data.draw(st.integers(start, steps))
    whole, part = schedule.rates(0, steps, steps), schedule.rates(start, stop, steps)
    assert whole.dtype == part.dtype == torch.float64 and whole.shape == (steps,)
    assert torch.equal(part, whole[start:stop])
    assert whole.isfinite().all() and (whole >= 0).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(lr=-0.1), "--lr is -0.1; it has to be at least 0."),
        (lambda: Constant(lr=math.inf), "--lr is inf; it has to be at most 3.4e+38."),
        (lambda: Drop(lr=1.0, at=1.5, after=0.1), "--lr-drop-at is 1.5; it has to be at most 1."),
        (lambda: Drop(lr=1.0, at=0.5, after=math.nan), "--lr-after is nan; it has to be a number."),
        (lambda: Cosine(lr=1.0, warmup=-1), "--warmup is -1; it has to be at least 0."),
        (lambda: Cosine(lr=1.0, final=2.0), "--lr-final is 2.0; it has to be at most 1."),
    ],
)
def test_options_that_make_no_sense(make: Callable[[], Schedule], message: str):
    with pytest.raises(OptimiserError) as error:
        make()
    assert str(error.value) == message


def test_a_warm_up_of_half_a_step():
    schedule = Cosine(lr=1.0)
    object.__setattr__(schedule, "warmup", 1.5)  # as where nobody checks types
    with pytest.raises(OptimiserError, match=r"^--warmup is 1\.5; it has to be a whole number\.$"):
        schedule.__post_init__()
