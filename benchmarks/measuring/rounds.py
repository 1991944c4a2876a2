"""Timing that survives a noisy machine: everybody takes a turn in every round, and ratios are taken within a round."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np

Prepare = Callable[[int], Callable[[], object]]
"""Takes a number of steps, makes all that they need, and returns what is to be timed."""

CLOCKS = {"wall": perf_counter, "cpu": process_time}
"""`cpu` counts all threads of the process and leaves out what other processes take: for a machine that is not quiet."""


class Turn(NamedTuple):
    """One turn: seconds a step by the chosen clock, cores that were used, and the yardstick beside it."""

    seconds: float
    cores: float
    yardstick: float


class Timed(NamedTuple):
    """All turns of one contestant, a turn a round, each of `steps` steps."""

    steps: int
    turns: list[Turn]


class Spread(NamedTuple):
    """The quartiles of some figures."""

    low: float
    median: float
    high: float


def spread(values: list[float]) -> Spread:
    """Quartiles; `median` is the figure to quote."""
    return Spread(*map(float, np.percentile(values, [25, 50, 75])))


def steps_for(prepare: Prepare, seconds: float) -> int:
    """How many steps fill about `seconds`. Every count is run twice, since the first run may compile."""
    steps = 1
    while True:
        work = prepare(steps)
        work()
        taken = _timed(work, "wall")[0]
        if taken >= seconds / 8:
            return max(1, round(steps * seconds / taken))
        steps *= 8


def interleave(
    contestants: Mapping[str, Prepare],
    rounds: int,
    seconds_a_turn: float = 0.075,
    clock: str = "wall",
    yardstick: Callable[[], float] = lambda: 0.0,
    seconds_at_most: float = float("inf"),
) -> dict[str, Timed]:
    """Time everybody for about `seconds_a_turn` in each of `rounds` rounds, in another order every time.

    `yardstick` is measured between the turns, and a turn keeps the larger of its two neighbours. No round after the
    third begins when `seconds_at_most` are over.
    """
    started = perf_counter()
    works, timed = {}, {}
    for name, prepare in contestants.items():
        timed[name] = Timed(steps_for(prepare, seconds_a_turn), [])
        works[name] = prepare(timed[name].steps)
        works[name]()  # whatever is only done the first time has been done
    order, shuffle = list(works), Random(0).shuffle
    for done in range(rounds):
        if done >= 3 and perf_counter() - started > seconds_at_most:
            break
        shuffle(order)
        before = yardstick()
        for name in order:
            seconds, cores = _timed(works[name], clock)
            after = yardstick()
            timed[name].turns.append(Turn(seconds / timed[name].steps, cores, max(before, after)))
            before = after
    return timed


def _timed(work: Callable[[], object], clock: str) -> tuple[float, float]:
    """Seconds by `clock`, and how many cores were at work."""
    now = CLOCKS[clock]
    wall, cpu, start = perf_counter(), process_time(), now()
    work()
    seconds = now() - start
    return seconds, (process_time() - cpu) / max(perf_counter() - wall, 1e-9)
