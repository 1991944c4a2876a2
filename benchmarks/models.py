"""Does the staged proof find what is wrong in a model of whole words? Its mutants, one wrong line each, are judged.

    python benchmarks/models.py                        what was not found, and a table: model, mutants, found
    python benchmarks/models.py --lines                a line for each mutant, too
    python benchmarks/models.py --model gru --workers 1

The claim: each model has at least 15 mutants (`benchmarks/mutants/of_models/`), and the proof of its table of links,
step by step, accuses exactly the gradients whose line is wrong, at each place where the line is used, and no other.
The exit status is 1 where that is not so, or where a right model is accused. Causes are counted, and no goal.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import NamedTuple

import torch

from backproof.models.registry import NAMES
from backproof.proof.network import prove_page
from measuring.processes import in_processes
from mutants.of_models import ModelMutant, mutants, network

FEWEST = 15


class Verdict(NamedTuple):
    """What the prover made of one mutant."""

    mutant: ModelMutant
    detected: bool
    line: bool  # the values it accuses are those at fault, and no others
    cause: bool
    misnamed: bool
    words: str

    def __str__(self) -> str:
        cause = "x" if self.misnamed else "C" if self.cause else "·"
        return f"{'D' if self.detected else '·'}{'L' if self.line else '·'}{cause}"


class Totals(NamedTuple):
    """A line of the table."""

    model: str
    mutants: int
    detected: int
    line: int
    cause: int
    misnamed: int
    missed: int  # beside those, known not to be found
    accused: bool  # though it is right

    @property
    def good(self) -> bool:
        return self.mutants >= FEWEST and self.line == self.mutants and not self.accused


def judged(mutant: ModelMutant, **sizes: int) -> Verdict:
    """The verdict on it in a small network; `sizes` are those that are to be otherwise."""
    small = network(mutant.model, **sizes)
    guilty = mutant.guilty(small.links)
    try:
        report = mutant.proved(small)
    except Exception as error:
        return Verdict(mutant, False, False, False, False, f"raised {type(error).__name__}: {error}")
    accused = frozenset(row.name.partition("[")[0] for row in report.culprits)  # of a list, the steps together
    causes = {row.cause for row in report.culprits if row.cause}
    line, misnamed = accused in guilty, not causes <= set(mutant.fault.causes)
    named = all(row.cause for row in report.culprits) and not misnamed
    words = f"accused {', '.join(sorted(accused)) or 'none'}\nat fault {' or '.join(map(_list, guilty))}\n{report}"
    return Verdict(mutant, not report.ok, line, line and named, misnamed, words)


def totals(model: str, verdicts: list[Verdict]) -> Totals:
    whole = [each for each in verdicts if each.mutant.model == model]
    of_it = [each for each in whole if not each.mutant.missed]

    def count(field: str) -> int:
        return sum(getattr(each, field) for each in of_it)

    return Totals(
        model, len(of_it), count("detected"), count("line"), count("cause"), count("misnamed"),
        missed=sum(each.mutant.missed and not each.line for each in whole),
        accused=not prove_page(*network(model), grain="steps").ok,
    )  # fmt: skip


def print_totals(rows: list[Totals], seconds: float) -> None:
    heads = f"{'right line':>11} {'right cause':>12} {'wrong cause':>12} {'known missed':>13}"
    print(f"{'model':14} {'mutants':>8} {'seen':>6} {heads}")
    for row in rows:
        remark = "" if row.good else "  missed" + ", and accused though it is right" * row.accused
        print(f"{row.model:14} {row.mutants:>8} {row.detected:>6} {row.line:>11} {row.cause:>12} {row.misnamed:>12}"
              f" {row.missed:>13}{remark}")  # fmt: skip
    print(f"({seconds:.0f} s, torch {torch.__version__})")


def _list(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=NAMES, help="this model's mutants only")
    parser.add_argument("--lines", action="store_true", help="a line for each mutant")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    started = time.perf_counter()
    torch.set_num_threads(1)
    models = [options.model] if options.model else NAMES
    found = [mutant for model in models for mutant in mutants(model, network(model).links)]
    verdicts = in_processes(options.workers, judged, found)
    for each in verdicts:
        if options.lines or not each.line:
            print(f"{each}  {'|'.join(each.mutant.fault.causes):>7}  {each.mutant.title}")
        if not each.line:
            print("     " + each.words.replace("\n", "\n     ") + "\n")
    rows = [totals(model, verdicts) for model in models]
    print_totals(rows, time.perf_counter() - started)
    return 0 if all(row.good for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
