"""What a sweep tells of, while it goes on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from backproof.sweep.plan import Member
from backproof.sweep.records import Outcome


class Pace(NamedTuple):
    """How far a run is: `loss` is the mean of its last 1,000 steps."""

    steps_done: int
    loss: float
    steps_a_second: float


class Found(NamedTuple):
    """A sweep begins or goes on: what has become of its runs by now, by name, of those that were begun."""

    outcomes: Mapping[str, Outcome]


class Started(NamedTuple):
    """A worker has begun with a run, or goes on with it."""

    member: Member


class Advanced(NamedTuple):
    """A run has come so far."""

    member: Member
    pace: Pace


class Paused(NamedTuple):
    """A run was measured on its way, and waits for what becomes of it."""

    member: Member
    outcome: Outcome


class Ended(NamedTuple):
    """A run is over, one way or another."""

    member: Member
    outcome: Outcome


class Stopping(NamedTuple):
    """A signal came: the runs at hand are being saved, no other begins."""


Event = Found | Started | Advanced | Paused | Ended | Stopping
