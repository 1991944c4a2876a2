"""What came out of a sweep: one outcome a run, mean and spread a configuration, and `sweep.json`.

That file is for people and programs to read. A sweep that goes on asks its runs themselves (`sweep.folder`).
"""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import version
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from backproof.files import write_text
from backproof.record import Rung, SplitLosses
from backproof.sweep.plan import SEEDS, Member, Plan
from backproof.training.folder import FolderError
from backproof.training.kinds import flat

FILE = "sweep.json"
_FORMAT = "backproof-sweep-1"


class End(StrEnum):
    """How a run of a sweep ended; the first three as in `backproof.training.status.Status`."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    DIVERGED = "diverged"
    STOPPED = "stopped early"
    FAILED = "failed"
    NOT_STARTED = "not started"


@dataclass(frozen=True)
class Outcome:
    """How one run ended, small enough to send between processes.

    `losses` are there only when the run finished; `reason` is a sentence whenever it did not. `saved` says whether
    the run left a folder; `seconds` is the training loop's time; `details` is the traceback of an unexpected error;
    `rungs` are what it was measured by on its way.
    """

    end: End
    steps: int = 0
    seconds: float = 0.0
    losses: SplitLosses | None = None
    saved: bool = False
    reason: str = ""
    details: str = ""
    rungs: tuple[Rung, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether nothing more can become of the run: it came to its end, or to infinity."""
        return self.end in (End.FINISHED, End.DIVERGED)


class Spread(NamedTuple):
    """Mean and standard deviation (n − 1; None for a single run)."""

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Summary:
    """The finished runs of one configuration: `losses` by split, empty when none finished."""

    differences: Mapping[str, Any]
    runs: int
    finished: int
    losses: Mapping[str, Spread]


@dataclass
class Sweep:
    """A sweep that is going on or over: `outcomes` by the name of the run.

    It is trained by `workers` processes of this machine, or on the cluster of `scheduler`, an address.
    """

    plan: Plan
    folder: Path
    data_source: str
    data_sha256: str
    workers: int | None
    scheduler: str | None = None
    halving: bool = False
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    status: str = "running"
    seconds: float = 0.0

    def outcome(self, member: Member) -> Outcome:
        """How a run ended; NOT_STARTED also while it is still on its way."""
        return self.outcomes.get(member.name, Outcome(End.NOT_STARTED))

    @property
    def steps(self) -> tuple[int, int]:
        """Those that the runs have taken, and those that they would take if each went on to its end."""
        taken = sum(outcome.steps for outcome in self.outcomes.values())
        return taken, sum(member.settings.steps for member in self.plan.members)

    @property
    def failures(self) -> list[tuple[Member, Outcome]]:
        """The runs that broke: neither finished, nor stopped or never begun because of Ctrl-C."""
        harmless = {End.FINISHED, End.STOPPED, End.NOT_STARTED}
        if self.status == "interrupted":
            harmless.add(End.INTERRUPTED)
        pairs = [(member, self.outcome(member)) for member in self.plan.members]
        return [(member, outcome) for member, outcome in pairs if outcome.end not in harmless]

    def best(self) -> Member | None:
        """The finished run with the lowest validation loss."""
        outcomes = [(self.outcome(member).losses, member) for member in self.plan.members]
        finished = [(losses.validation, member) for losses, member in outcomes if losses]
        return min(finished, key=lambda pair: pair[0])[1] if finished else None

    def summaries(self) -> list[Summary]:
        """Mean and spread of the three losses, a configuration each."""
        return [
            Summary(dict(configuration), len(members), *_spreads(self.outcome(member).losses for member in members))
            for configuration, members in self.plan.configurations().items()
        ]


def write_record(sweep: Sweep) -> Path:
    """Write `sweep.json` beside and rename it; raises FolderError when that fails."""
    path = sweep.folder / FILE
    try:
        write_text(path, json.dumps(_description(sweep), indent=2, ensure_ascii=False, allow_nan=False))
    except OSError as error:
        raise FolderError(f"{path} could not be written ({error.strerror}); make room or check permissions.") from None
    return path


def _spreads(losses: Iterable[SplitLosses | None]) -> tuple[int, dict[str, Spread]]:
    there = [each for each in losses if each is not None]
    columns = zip(SplitLosses._fields, zip(*there, strict=True), strict=False)  # no columns when nothing finished
    return len(there), {name: Spread(fmean(v), stdev(v) if len(v) > 1 else None) for name, v in columns}


def _description(sweep: Sweep) -> dict[str, Any]:
    plan = sweep.plan
    shared = {n: v for n, v in flat(plan.members[0].settings).items() if n not in plan.varied}
    return {
        "format": _FORMAT,
        "status": sweep.status,
        "data": {"source": sweep.data_source, "sha256": sweep.data_sha256},
        "workers": sweep.workers,
        "scheduler": sweep.scheduler,
        "early_stop": "halving" if sweep.halving else None,
        "seconds": round(sweep.seconds, 3),
        "versions": {"backproof": version("backproof"), "python": platform.python_version()},
        "machine": platform.platform(),
        "settings": shared,
        "varied": list(plan.varied),
        "seeds": [name for name in plan.varied if name in SEEDS],
        "configurations": [
            {
                "settings": summary.differences,
                "runs": summary.runs,
                "finished": summary.finished,
                "losses": {name: spread._asdict() for name, spread in summary.losses.items()},
            }
            for summary in sweep.summaries()
        ],
        "runs": [_run(sweep, member) for member in plan.members],
        "failures": [
            {"run": member.name, "settings": plan.differences(member), "reason": o.reason, "details": o.details}
            for member, o in sweep.failures
        ],
    }


def _run(sweep: Sweep, member: Member) -> dict[str, Any]:
    outcome = sweep.outcome(member)
    return {
        "name": member.name,
        "folder": member.name if outcome.saved else None,
        "settings": sweep.plan.differences(member),
        "status": outcome.end.value,
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 3),
        "losses": outcome.losses._asdict() if outcome.losses else None,
        "rungs": [rung._asdict() for rung in outcome.rungs],
    }
