"""How many threads to take for a step: what was fastest when it was last tried."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

_PIECE = 0.004  # seconds: as long as another program mostly has a core for
_TRIAL = 4 * _PIECE  # so that one piece does not decide
_RUN = 5 * _PIECE  # between trials: after so long it is seen that the machine has changed
_TRIED_AGAIN_AFTER = 0.25  # seconds: soon at first, as a program begins with other work beside
_AT_MOST_AFTER = 32.0  # each trial that loses doubles it: a machine that stays as it is costs less than a thousandth
_REST = 20  # times what a trial took, at least: steps may take long
_FAR_SLOWER = 1.5  # ends a trial; two threads that have to share a core are ten times slower
_WORTH_A_CORE = 0.97  # of the time of fewer threads


@dataclass
class _Count:
    """A number of threads: its seconds a step, when it is tried next, and what its trial has taken until now."""

    threads: int
    seconds: float = inf
    due: float = -inf
    wait: float = _TRIED_AGAIN_AFTER
    spent: float = 0.0
    done: int = 0


class Pace:
    """Asked before some steps by how many threads they are to be made, and told afterwards how long they took.

    Takes what was fastest, and tries other numbers again now and then: other programs come and go, and threads that
    wait for one without a core are far slower than one thread. `now` is any clock, in seconds.
    """

    def __init__(self, most: int) -> None:
        powers = [2**k for k in range(most.bit_length())]
        self._counts = [_Count(threads) for threads in sorted({*powers, most})]
        self._best = self._counts[0]
        self._tried: _Count | None = None

    def choose(self, steps: int, now: float) -> tuple[int, int]:
        """How many threads, and for how many of the next `steps` steps."""
        if len(self._counts) == 1:
            return self._best.threads, steps
        self._tried = next((each for each in self._counts if each.due <= now), None)
        tried = self._tried
        if tried is None:
            seconds, a_step = _RUN, self._best.seconds
        else:
            seconds, a_step = _PIECE, tried.spent / tried.done if tried.done else self._best.seconds
        return (tried or self._best).threads, max(1, min(steps, int(seconds / a_step)))

    def took(self, steps: int, seconds: float, now: float) -> None:
        """How long it took to make the steps that `choose` has said."""
        tried, best = self._tried, self._best
        if tried is None:
            if seconds / steps > _FAR_SLOWER * best.seconds:
                for each in self._counts:
                    each.due, each.wait = now, _TRIED_AGAIN_AFTER
            best.seconds = seconds / steps
            return
        tried.spent += seconds
        tried.done += steps
        tried.seconds = tried.spent / tried.done
        if tried.spent >= _TRIAL or (tried is not best and tried.seconds > _FAR_SLOWER * best.seconds):
            self._judge(tried, now)

    def _judge(self, tried: _Count, now: float) -> None:
        before = self._best
        for each in self._counts:  # from few to many
            if each.seconds < self._best.seconds * (_WORTH_A_CORE if each.threads > self._best.threads else 1):
                self._best = each
        lost = tried is not self._best and self._best is before
        tried.wait = min(2 * tried.wait, _AT_MOST_AFTER) if lost else _TRIED_AGAIN_AFTER
        tried.due = now + max(tried.wait, _REST * tried.spent)
        tried.spent, tried.done = 0.0, 0
