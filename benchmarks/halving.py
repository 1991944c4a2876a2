"""Claim: halving finds the best run of the published grid at under half its steps.

Command: python benchmarks/halving.py [--data names.txt]
The grid of the README (two learning rates, two widths, four seeds) is trained whole, and again with
`--early-stop halving`, in another folder. Steps count those after which a run was stopped; the cooled copies that are
measured take some more, which are counted beside them.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.table import Table

from backproof.sweep.halving import cooling_steps
from backproof.sweep.plan import make_plan
from backproof.sweep.records import Sweep
from backproof.sweep.run import run_sweep
from backproof.text import read_corpus
from backproof.training.settings import Settings


def main() -> int:
    """Print one row for each sweep; 1 where halving found another run, or took half of the steps."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="embedded")
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--steps", type=int, default=Settings.steps)
    parser.add_argument("--hidden", default="100,200")
    arguments = parser.parse_args()

    options = {name: str(value) for name, value in asdict(Settings(steps=arguments.steps)).items()}
    plan = make_plan(options | {"lr": "0.05,0.1", "hidden": arguments.hidden}, arguments.runs)
    corpus = read_corpus(arguments.data)
    with TemporaryDirectory() as place:
        whole = run_sweep(plan, corpus, Path(place) / "whole")
        halved = run_sweep(plan, corpus, Path(place) / "halved", halving=True)

    table = Table("sweep", "finished", "steps", "of all", "seconds", "best run", "validation loss")
    for name, sweep in {"whole": whole, "halving": halved}.items():
        steps, every = _steps(sweep), whole.steps[1]
        best = sweep.best()
        losses = best and sweep.outcome(best).losses
        finished = sum(outcome.losses is not None for outcome in sweep.outcomes.values())
        told = (sweep.plan.title(best), f"{losses.validation:.4f}") if best and losses else ("-", "-")
        table.add_row(name, str(finished), f"{steps:,}", f"{steps / every:.1%}", f"{sweep.seconds:.0f}", *told)
    Console().print(table)
    return int(whole.best() != halved.best() or 2 * _steps(halved) >= _steps(whole))


def _steps(sweep: Sweep) -> int:
    """Those of the runs, and of the copies by which they were measured."""
    rungs = [(member.settings, rung.steps) for member in sweep.plan.members for rung in sweep.outcome(member).rungs]
    copies = (cooling_steps(settings, steps) for settings, steps in rungs if isinstance(settings, Settings))
    return sweep.steps[0] + sum(copies)


if __name__ == "__main__":
    raise SystemExit(main())
