"""The tables at the end of a sweep, as lines: they have to be whole in a pipe, however narrow the terminal is."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from backproof.record import SplitLosses
from backproof.sweep.records import Outcome, Spread, Sweep


def table_of_runs(sweep: Sweep) -> list[str]:
    """A line a run: what tells it from the others, and its three losses or how it ended."""
    heads = ["run", *map(_title, sweep.plan.shown), *SplitLosses._fields]
    rows = [
        [
            member.name,
            *(str(value) for name, value in sweep.plan.differences(member).items() if name in sweep.plan.shown),
            *_cells(sweep.outcome(member)),
        ]
        for member in sweep.plan.members
    ]
    return _aligned(heads, rows)


def summary_table(sweep: Sweep) -> list[str]:
    """A line a configuration: how many of its runs finished, mean and standard deviation of the three losses."""
    summaries = sweep.summaries()
    heads = [*map(_title, summaries[0].differences), "finished", *SplitLosses._fields]
    rows = [
        [
            *map(str, summary.differences.values()),
            f"{summary.finished} of {summary.runs}",
            *(_spread(summary.losses.get(name)) for name in SplitLosses._fields),
        ]
        for summary in summaries
    ]
    return _aligned(heads, rows)


def _title(name: str) -> str:
    return name.replace("_", "-")


def _cells(outcome: Outcome) -> list[str]:
    if outcome.losses:
        return [f"{loss:.4f}" for loss in outcome.losses]
    return [f"{outcome.end} at {outcome.steps:,}" if outcome.steps else outcome.end.value]


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{spread.mean:.4f}" + ("" if spread.deviation is None else f" {plus_minus()} {spread.deviation:.4f}")


def plus_minus() -> str:
    """The sign ±, or +/- where the output's encoding has none."""
    try:
        "±".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return "+/-"
    return "±"


def _aligned(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Columns two spaces apart, the right edges in line; a row may end early, its last cell then runs on."""
    widths = [len(head) for head in heads]
    for row in rows:
        whole = row if len(row) == len(heads) else row[:-1]
        widths[: len(whole)] = map(max, widths, map(len, whole))
    return ["  ".join(map(str.rjust, row, widths)) for row in [heads, *rows]]
