"""The number of threads, on a machine that is made up: a clock, and what a step takes by each number."""

from __future__ import annotations

import pytest

from backproof.engines.pace import Pace


class Machine:
    def __init__(self, most: int, *taking: tuple[int, float]) -> None:
        self.pace, self.now = Pace(most), 100.0
        self.seconds = dict(taking)
        self.made: dict[int, int] = {}

    def work(self, seconds: float, steps: int = 5000) -> dict[int, int]:
        """The steps made by each number of threads in that time."""
        self.made, end = {}, self.now + seconds
        while self.now < end:
            threads, count = self.pace.choose(steps, self.now)
            assert 1 <= count <= steps
            took = count * self.seconds[threads]
            self.now += took
            self.pace.took(count, took, self.now)
            self.made[threads] = self.made.get(threads, 0) + count
        return self.made

    def share(self, threads: int) -> float:
        """Of the time that was spent by so many."""
        times = {count: steps * self.seconds[count] for count, steps in self.made.items()}
        return times.get(threads, 0) / sum(times.values())


def test_one_core_is_never_asked_anything():
    assert Pace(1).choose(12345, 0.0) == (1, 12345)


@pytest.mark.parametrize("most", [2, 3, 6, 8])
def test_every_number_is_tried_and_the_fastest_taken(most: int):
    counts = sorted({1, 2, most} | ({4} if most > 4 else set()))
    machine = Machine(most, *((count, 1e-5 / count) for count in counts))
    machine.work(0.2)
    assert set(machine.made) == set(counts)
    machine.work(20)
    assert machine.share(most) > 0.95


def test_a_small_step_stays_on_one():
    machine = Machine(2, (1, 1e-6), (2, 2e-6))
    machine.work(10)
    assert machine.share(1) > 0.95


@pytest.mark.parametrize(("gain", "by"), [(0.96, 2), (0.98, 1)])
def test_another_core_has_to_be_worth_it(gain: float, by: int):
    machine = Machine(2, (1, 1e-5), (2, gain * 1e-5))
    machine.work(10)
    assert machine.share(by) > 0.9


def test_a_machine_that_others_take_is_seen_soon_and_costs_little():
    machine = Machine(2, (1, 1e-5), (2, 6e-6))
    machine.work(5)
    machine.seconds = {1: 1.5e-5, 2: 1.5e-4}
    machine.work(20)
    assert machine.share(2) < 0.1
    ideal = 20 / 1.5e-5
    assert sum(machine.made.values()) > ideal / 1.1


def test_a_machine_that_is_left_is_seen_too():
    machine = Machine(2, (1, 1e-5), (2, 1e-4))
    machine.work(100)
    assert machine.share(2) < 0.02
    machine.seconds = {1: 1e-5, 2: 6e-6}
    machine.work(70)
    assert machine.share(2) > 0.4


def test_work_at_the_beginning_alone_is_forgotten_soon():
    machine = Machine(2, (1, 1e-5), (2, 1e-4))
    machine.work(0.6)
    machine.seconds = {1: 1e-5, 2: 6e-6}
    machine.work(1)
    assert machine.share(2) > 0.5


def test_steps_that_take_long_are_tried_one_by_one():
    machine = Machine(2, (1, 0.5), (2, 0.3))
    assert machine.work(1.9, steps=7) == {1: 1, 2: 5}
