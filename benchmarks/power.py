"""How much each judge sees: mutants and right networks before cmp, gradcheck, assert_close and Backproof.

    python benchmarks/power.py                  a line for each mutant, then the totals
    python benchmarks/power.py --summary        the totals only
    python benchmarks/power.py --network lstm --workers 1 --json power.json

D: it saw that something is wrong. L: the values it named are exactly those whose lines are wrong. C: it
named the cause of each, rightly; x: it named a wrong cause for one. Only Backproof is held to goals; the
exit status is 1 when it misses one.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import torch

from judges import JUDGES, Opinion
from measuring.processes import in_processes
from mutants import Mutant, mutants, networks


class Score(NamedTuple):
    """What one judge made of one mutant."""

    detected: bool
    line: bool
    cause: bool
    misnamed: bool  # a cause that is not the right one
    opinion: Opinion
    seconds: float = 0.0

    def __str__(self) -> str:
        cause = "x" if self.misnamed else "C" if self.cause else "·"
        return f"{'D' if self.detected else '·'}{'L' if self.line else '·'}{cause}"


class Verdicts(NamedTuple):
    """What every judge made of one mutant."""

    mutant: Mutant
    scores: dict[str, Score]


def score(mutant: Mutant, opinion: Opinion) -> Score:
    line = opinion.named in mutant.guilty
    named = {value: cause for value, cause in opinion.causes.items() if cause is not None}
    misnamed = any(cause not in mutant.causes_of(value) for value, cause in named.items())
    return Score(opinion.fault, line, line and len(named) == len(opinion.named) and not misnamed, misnamed, opinion)


def judged(mutant: Mutant, judges: Iterable[str] = tuple(JUDGES)) -> Verdicts:
    scores = {}
    for name in judges:
        started = time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a mutant may overflow, or warn of a deprecated view
            try:
                opinion = JUDGES[name](mutant.load(), mutant)
            except Exception as error:
                if name == "Backproof":
                    opinion = Opinion(False, words=f"{name} raised {type(error).__name__}: {error}")
                else:  # the backward pass itself broke in its hands: that is seen
                    opinion = Opinion(True, words=str(error))
        scores[name] = score(mutant, opinion)._replace(seconds=time.process_time() - started)
    return Verdicts(mutant, scores)


def judged_together(found: list[Mutant], workers: int, judges: Iterable[str] = tuple(JUDGES)) -> list[Verdicts]:
    names = tuple(judges)
    if workers == 1:
        torch.set_num_threads(1)
        return [judged(mutant, names) for mutant in found]
    return in_processes(workers, judged, found, [names] * len(found))


def accused(network: str) -> list[str]:
    """The judges that accuse the network as it stands."""
    untouched = [Mutant(network, (), needs_reruns=False), Mutant(network, (), needs_reruns=True)]
    scores = [judged(mutant).scores for mutant in untouched]
    return [name for name in JUDGES if any(each[name].detected for each in scores)]


def totals(verdicts: list[Verdicts]) -> dict[str, dict[str, int]]:
    names = list(verdicts[0].scores)
    return {
        name: {
            field: sum(getattr(each.scores[name], field) for each in verdicts)
            for field in ("detected", "line", "cause", "misnamed")
        }
        for name in names
    }


def print_lines(verdicts: list[Verdicts]) -> None:
    names = list(verdicts[0].scores)
    print(f"{'cause':>8}  " + "  ".join(f"{name:^{len(name)}}" for name in names) + "  mutant")
    for each in verdicts:
        marks = "  ".join(f"{each.scores[name]!s:^{len(name)}}" for name in names)
        print(f"{each.mutant.causes:>8}  {marks}  {each.mutant.title}")
    print()


def print_totals(verdicts: list[Verdicts], wrongly: dict[str, list[str]], seconds: float) -> None:
    count = len(verdicts)
    pairs = sum(len(each.mutant.faults) == 2 for each in verdicts)
    kinds = {cause for each in verdicts for fault in each.mutant.faults for cause in fault.causes}
    print(f"{count} mutants of {len(wrongly)} networks, {pairs} with two wrong lines; {len(kinds)} causes")
    heads = f"{'detected':>14} {'right line':>14} {'right cause':>14} {'wrong cause':>12}"
    print(f"{'':13} {heads} {'right code accused':>19} {'ms a mutant':>12}")
    for name, sums in totals(verdicts).items():
        shares = " ".join(f"{sums[f]:>5} {100 * sums[f] / count:>6.1f} %" for f in ("detected", "line", "cause"))
        networks_accused = sum(name in names for names in wrongly.values())
        each_takes = 1000 * sum(each.scores[name].seconds for each in verdicts) / count
        accusations = f"{networks_accused:>11} of {len(wrongly):>4}"
        print(f"{name:13} {shares} {sums['misnamed']:>12} {accusations:>19} {each_takes:>12.0f}")
    print(f"({seconds:.0f} s, torch {torch.__version__})")


def print_by_cause(verdicts: list[Verdicts]) -> None:
    """Single faults only: how many of each kind were seen, and by Backproof named, rightly."""
    names = list(verdicts[0].scores)
    print(
        f"{'seen, by cause':14} {'mutants':>8} " + " ".join(f"{name:>12}" for name in names) + f" {'named rightly':>15}"
    )
    single = [each for each in verdicts if len(each.mutant.faults) == 1]
    for cause in sorted({each.mutant.faults[0].causes[0] for each in single}, key=lambda code: int(code[1:])):
        of_it = [each for each in single if each.mutant.faults[0].causes[0] == cause]
        seen = " ".join(f"{sum(each.scores[name].detected for each in of_it):>12}" for name in names)
        named = sum(each.scores["Backproof"].cause for each in of_it)
        print(f"{cause:14} {len(of_it):>8} {seen} {named:>15}")
    print()


def goals_missed(verdicts: list[Verdicts], wrongly: dict[str, list[str]]) -> list[str]:
    count, sums = len(verdicts), totals(verdicts)["Backproof"]
    missed = []
    if sums["detected"] < count:
        missed.append(f"{count - sums['detected']} mutants not detected")
    if sums["line"] < count:
        missed.append(f"{count - sums['line']} mutants whose culprits are not exactly the wrong lines")
    if sums["cause"] < 0.95 * count:
        missed.append(f"{sums['cause']} of {count} causes right, fewer than 95 %")
    if sums["misnamed"]:
        missed.append(f"{sums['misnamed']} mutants with a wrong cause named")
    missed += [f"{network} is right and was accused" for network, names in wrongly.items() if "Backproof" in names]
    return missed


def as_json(verdicts: list[Verdicts], wrongly: dict[str, list[str]]) -> str:
    rows = [
        {
            "network": each.mutant.network,
            "wrong": [fault.wrong for fault in each.mutant.faults],
            "right": [fault.right for fault in each.mutant.faults],
            "causes": [fault.causes for fault in each.mutant.faults],
            "guilty": [sorted(names) for names in each.mutant.guilty],
            "by": "prove" if each.mutant.needs_reruns else "check",
            "judges": {
                name: {
                    "detected": got.detected,
                    "line": got.line,
                    "cause": got.cause,
                    "misnamed": got.misnamed,
                    "named": {value: got.opinion.causes.get(value) for value in sorted(got.opinion.named)},
                    "words": got.opinion.words,
                }
                for name, got in each.scores.items()
            },
        }
        for each in verdicts
    ]
    return json.dumps({"totals": totals(verdicts), "right code accused": wrongly, "mutants": rows}, indent=1)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", choices=networks(), help="this network's mutants only")
    parser.add_argument("--summary", action="store_true", help="the totals only")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every judge's words there")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    started = time.perf_counter()
    verdicts = judged_together(list(mutants(options.network)), options.workers)
    wrongly = {name: accused(name) for name in ([options.network] if options.network else networks())}
    if not options.summary:
        print_lines(verdicts)
        print_by_cause(verdicts)
    print_totals(verdicts, wrongly, time.perf_counter() - started)
    if options.json:
        options.json.write_text(as_json(verdicts, wrongly), encoding="utf-8")
    missed = goals_missed(verdicts, wrongly)
    for goal in missed:
        print(f"missed: {goal}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
