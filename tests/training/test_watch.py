"""A run that measures itself: when, what is kept, and that its state is all of it."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor

from backproof.training.watch import Measured, Watched, belong


class Counter:
    """An engine whose only parameter counts its steps; the loss of a step is its number."""

    name = "counter"

    def __init__(self) -> None:
        self.w = torch.zeros(1)

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        losses = self.w + torch.arange(float(len(indices)))
        self.w = self.w + len(indices)
        return losses

    def state(self) -> dict[str, Tensor]:
        return {"w": self.w.clone(), "masks": torch.zeros(3)}

    def load(self, state: Mapping[str, Tensor]) -> None:
        self.w = state["w"].clone()


def watched(losses: Mapping[int, float] | None = None, every: int = 3, told: list[int] | None = None) -> Watched:
    heard = [] if told is None else told
    return Watched(
        Counter(), ["w"], every, lambda p: (losses or {}).get(int(p["w"]), 9.0), lambda m, _: heard.append(m.steps)
    )


def steps(engine: Watched, *counts: int) -> Tensor:
    runs = [engine.run(torch.zeros(n, 1, dtype=torch.int64), torch.zeros(n, dtype=torch.float64)) for n in counts]
    return torch.cat(runs)


@pytest.mark.parametrize("counts", [(10,), (1,) * 10, (2, 4, 4), (3, 3, 4), (0, 7, 3)])
def test_it_measures_at_the_same_steps_however_they_are_grouped(counts: tuple[int, ...]):
    told: list[int] = []
    engine = watched({6: 1.0}, told=told)
    assert steps(engine, *counts).tolist() == list(range(10))
    assert engine.curve == (Measured(3, 1.0, 9.0), Measured(6, 4.0, 1.0), Measured(9, 7.0, 9.0))
    engine.measure()
    engine.measure()  # nothing new
    assert engine.curve[3:] == (Measured(10, 9.0, 9.0),)
    assert told == [3, 6, 9, 10]
    assert engine.best == Measured(6, 4.0, 1.0) and engine.best_parameters() == {"w": torch.tensor([6.0])}


def test_the_first_of_equals_is_kept_and_never_what_is_not_finite():
    engine = watched({3: float("nan"), 6: 2.0, 9: 2.0, 12: float("-inf"), 15: float("nan"), 18: 3.0})
    steps(engine, 4)
    assert engine.best is None and engine.best_parameters() == {"w": torch.tensor([4.0])}
    steps(engine, 14)
    assert engine.best and engine.best.steps == 6
    assert engine.best_parameters() == {"w": torch.tensor([6.0])}


def test_more_steps_than_are_taken_are_never_measured():
    engine = watched(every=100)
    steps(engine, 5)
    assert engine.curve == ()


@pytest.mark.parametrize("at", [1, 3, 5, 6, 8])
def test_a_state_put_back_goes_on_as_if_nothing_had_been(at: int):
    losses = {3: 2.0, 6: 1.0, 9: 1.5}
    whole, begun, other = watched(losses), watched(losses), watched(losses)
    steps(whole, 10)
    steps(begun, at)
    other.load(begun.state())
    steps(other, 10 - at)
    assert other.curve == whole.curve and other.best == whole.best
    one, two = whole.state(), other.state()
    assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)


def test_who_repeats_steps_is_told_of_them_once():
    told: list[int] = []
    engine = watched(told=told)
    before = engine.state()
    steps(engine, 6)
    engine.load(before)
    steps(engine, 9)
    assert told == [3, 6, 9]


def extra(at: int) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    engine = watched()
    steps(engine, at)
    state, own = engine.state(), Counter().state()
    return {name: tensor for name, tensor in state.items() if name not in own}, own


@pytest.mark.parametrize("at", [0, 2, 3, 7])
def test_what_it_adds_to_a_state_belongs(at: int):
    assert belong(*extra(at))


@pytest.mark.parametrize(
    "changes",
    [
        {"watch.curve": None},
        {"watch.steps": None},
        {"watch.since": None},
        {"more": torch.zeros(1)},
        {"best.more": torch.zeros(1)},
        {"best.w": torch.zeros(2)},
        {"best.w": torch.tensor([torch.nan])},
        {"best.w": torch.zeros(1, dtype=torch.float64)},
        {"watch.curve": torch.zeros(2, 2, dtype=torch.float64)},
        {"watch.curve": torch.zeros(2, 3)},
        {"watch.curve": torch.full((1, 3), torch.nan, dtype=torch.float64)},
        {"watch.curve": torch.zeros((), dtype=torch.float64)},
        {"watch.steps": torch.zeros(1, dtype=torch.int64)},
        {"watch.steps": torch.zeros(())},
        {"watch.since": torch.zeros(1, 1)},
        {"watch.since": torch.tensor([torch.inf])},
    ],
)
def test_what_was_altered_does_not_belong(changes: dict[str, Tensor | None]):
    added, own = extra(7)
    assert not belong({name: t for name, t in (added | changes).items() if t is not None}, own)
