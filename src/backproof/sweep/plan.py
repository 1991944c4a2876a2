"""Which models a sweep trains: the cross product of comma lists, each point with as many seeds as were asked for."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import TYPE_CHECKING, Any, get_type_hints

from backproof.training.kinds import flat
from backproof.training.settings import Settings

if TYPE_CHECKING:
    from backproof.training.kinds import AnySettings

MOST_RUNS = 10_000
SEEDS = ("seed", "affine_seed")  # they tell the runs of one configuration apart

_KINDS: dict[str, type] = get_type_hints(Settings)
_NOUN = {int: "a whole number", float: "a number"}


class SweepError(Exception):
    """A sweep that cannot be done as asked; the message says what to change."""


@dataclass(frozen=True)
class Member:
    """One run of a sweep; `name` is also the name of its folder."""

    name: str
    settings: AnySettings


@dataclass(frozen=True)
class Plan:
    """The runs of a sweep in their order, and the settings in which they differ, in the order of `Settings`."""

    members: tuple[Member, ...]
    varied: tuple[str, ...]

    def differences(self, member: Member) -> dict[str, Any]:
        """What tells this run from the others: every varied setting and its value here."""
        every = flat(member.settings)
        return {name: every[name] for name in self.varied}

    @property
    def shown(self) -> tuple[str, ...]:
        """What of `varied` a person has to see: not `affine_seed` where it only moves along with `seed`."""
        if "affine_seed" not in self.varied:
            return self.varied
        seeds = [flat(member.settings) for member in self.members]
        pairs = {(each["seed"], each["affine_seed"]) for each in seeds}
        if "seed" in self.varied and len(pairs) == len({seed for seed, _ in pairs}):
            return tuple(name for name in self.varied if name != "affine_seed")
        return self.varied

    def title(self, member: Member) -> str:
        """A run for a person: `run-3 (lr 0.1, seed 7)`."""
        here = self.differences(member)
        told = ", ".join(f"{name.replace('_', '-')} {here[name]}" for name in self.shown)
        return f"{member.name} ({told})" if told else member.name

    def configuration(self, member: Member) -> tuple[tuple[str, Any], ...]:
        """The varied settings but the seeds: runs that share it are repeats of each other."""
        return tuple((name, value) for name, value in self.differences(member).items() if name not in SEEDS)

    def configurations(self) -> dict[tuple[tuple[str, Any], ...], list[Member]]:
        """The runs by configuration, both in the order of the plan."""
        groups: dict[tuple[tuple[str, Any], ...], list[Member]] = {}
        for member in self.members:
            groups.setdefault(self.configuration(member), []).append(member)
        return groups


def make_plan(
    options: Mapping[str, str],
    runs: int,
    kinds: Mapping[str, type] = _KINDS,
    settings_of: Callable[[dict[str, Any]], AnySettings] = lambda point: Settings(**point),
) -> Plan:
    """Plan a sweep over `options`, as typed: values of these `kinds`, with commas between where there are several.

    `settings_of` makes the settings of a run out of one value of each.

    Every point of the grid is trained `runs` times. Time k (from 0) adds k to `seed` and to `affine_seed`, so that
    the initial parameters, gain and bias, and the minibatches differ; `split_seed` stays, so that all runs learn from
    the same words and are measured on the same words. Raises SweepError for a list that cannot be read, SettingsError
    for a value that makes no sense.
    """
    if runs < 1:
        raise SweepError(f"--runs is {runs}; it has to be at least 1.")
    values = {name: _values(name, text, kinds[name]) for name, text in options.items()}
    for name in SEEDS:
        if runs > 1 and len(values.get(name, ())) > 1:
            raise SweepError(
                f"{flag(name)} is a list and --runs is {runs}, which counts seeds up by itself; give one of the two."
            )
    total = runs * math.prod(map(len, values.values()))
    if total > MOST_RUNS:
        raise SweepError(f"This grid has {total:,} runs; at most {MOST_RUNS:,} are done in one sweep.")
    points = [settings_of(dict(zip(values, point, strict=True))) for point in product(*values.values())]
    settings = [_reseeded(point, k) for point in points for k in range(runs)]
    width = len(str(total))
    members = tuple(Member(f"run-{number:0{width}d}", each) for number, each in enumerate(settings, 1))
    return Plan(members, _varied(settings))


def flag(name: str) -> str:
    """A setting as it is typed: `--batch-size`."""
    return "--" + name.replace("_", "-")


def _values(name: str, text: str, kind: type) -> list[Any]:
    if kind not in _NOUN:
        return text.split(",") if kind is list else [text]
    values = []
    for part in text.split(","):
        try:
            value = kind(part)
        except ValueError:
            raise SweepError(
                f"{flag(name)} holds {part.strip()!r}, which is not {_NOUN[kind]}; give one, or several with commas "
                "between and no spaces."
            ) from None
        if value in values:
            raise SweepError(
                f"{flag(name)} names {value} twice; name every value once (--runs repeats with new seeds)."
            )
        values.append(value)
    return values


def _reseeded(settings: AnySettings, k: int) -> AnySettings:
    return replace(settings, **{name: value + k for name, value in flat(settings).items() if name in SEEDS})


def _varied(settings: list[AnySettings]) -> tuple[str, ...]:
    every = [flat(each) for each in settings]
    common = [name for name in every[0] if all(name in each for each in every)]  # sizes of one model say nothing new
    return tuple(name for name in common if any(each[name] != every[0][name] for each in every))
