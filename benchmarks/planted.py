"""How many small bugs, planted in a copy of the prover, do its tests catch?

    python benchmarks/planted.py                       120 bugs drawn by seed 1: a line for each, then the rate
    python benchmarks/planted.py --seed 7 --count 200  others
    python benchmarks/planted.py --only verdict/       in some files
    python benchmarks/planted.py --list                what would be planted
    python benchmarks/planted.py --show 17             one of them: its patch, and what pytest says of it

Bugs are drawn, not chosen: a quarter each of numbers, of conditions, of operators, and of statements and arguments.
Wording is left alone. A bug is caught when a test fails or does not end. The exit status is 1 when fewer than 95 of
100 are caught, and 2 when the tests fail with nothing planted.
"""

from __future__ import annotations

import argparse
import sys
import textwrap
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from planting.children import load
from planting.draw import Bug, Family, draw
from planting.ground import Ground
from planting.trial import Known, TestsFailError, Verdict, judge, know

GOAL = 0.95
PROVER = Ground(
    root=Path(__file__).resolve().parents[1],
    package="src/backproof/proof",
    tests=("tests/proof", "tests/test_power.py", "tests/test_testing.py"),
    preload=("torch", "numpy", "matplotlib"),
    plugins=("jaxtyping",),
    beside=("benchmarks", "examples"),
)


def main(arguments: Sequence[str] | None = None, ground: Ground = PROVER) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1, help="which bugs are drawn (default 1)")
    parser.add_argument("--count", type=int, default=120, help="how many (default 120)")
    parser.add_argument("--only", default="", metavar="PATH", help="in files whose path holds this")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--list", action="store_true", help="say what would be planted, and plant nothing")
    parser.add_argument("--show", type=int, metavar="N", help="plant the bug of this number alone, and show all of it")
    options = parser.parse_args(arguments)
    bugs = draw(ground.files, options.seed, options.count, options.only)
    if not bugs:
        parser.error(f"there is no place for a bug in a file whose path holds {options.only!r}")
    if options.show is not None and not 1 <= options.show <= len(bugs):
        parser.error(f"--show takes a number from 1 to {len(bugs)}")
    if options.list:
        print(*(f"{number:>4}  {place(bug, ground)}  {bug.kind}: {bug.change}" for number, bug in enumerate(bugs, 1)),
              sep="\n")  # fmt: skip
        return 0
    load(ground)
    try:
        known = know(ground, options.workers, ground.root / "build" / "planted")
    except TestsFailError as error:
        print(error)
        return 2
    return show(ground, known, bugs[options.show - 1]) if options.show else table(ground, known, bugs, options.workers)


def place(bug: Bug, ground: Ground) -> str:
    return f"{bug.path.relative_to(ground.root / ground.package)}:{bug.line}"


def show(ground: Ground, known: dict[str, Known], bug: Bug) -> int:
    print(bug.diff(str(bug.path.relative_to(ground.root))))
    ((_, verdict),) = judge(ground, known, [bug], 1, aloud=True)
    print(f"{place(bug, ground)}  {told(verdict)}")
    return 0 if verdict.caught_by else 1


def told(verdict: Verdict) -> str:
    if verdict.caught_by is None:
        return f"MISSED{verdict.why and ': '}{verdict.why}"
    file, _, test = verdict.caught_by.partition("::")
    name = f"{Path(file).name}::{test}"
    return f"{name} {verdict.why}" if verdict.why == "hangs" else name


def table(ground: Ground, known: dict[str, Known], bugs: Sequence[Bug], workers: int) -> int:
    """A line for each bug, in their order and as soon as it can be said, then the totals."""
    started, verdicts = time.perf_counter(), {}
    widest = max(len(place(bug, ground)) for bug in bugs)
    print(f"{'bug':>4}  {'place':<{widest}}  {'what was changed':<70}  caught by")
    for position, verdict in judge(ground, known, bugs, workers):
        before = len(_settled(verdicts))
        verdicts[position] = verdict
        for number in _settled(verdicts)[before:]:
            bug = bugs[number]
            change = textwrap.shorten(f"{bug.kind}: {bug.change}", 70, placeholder=" ...")
            line = f"{number + 1:>4}  {place(bug, ground):<{widest}}  {change:<70}  {told(verdicts[number])}"
            print(line, flush=True)
    return _totals(bugs, verdicts, known, time.perf_counter() - started)


def _settled(verdicts: dict[int, Verdict]) -> list[int]:
    """The positions from the first bug on whose verdicts are known."""
    return list(range(next(i for i in range(len(verdicts) + 1) if i not in verdicts)))


def _totals(bugs: Sequence[Bug], verdicts: dict[int, Verdict], known: dict[str, Known], seconds: float) -> int:
    caught = {i for i, verdict in verdicts.items() if verdict.caught_by}
    drawn, found = (Counter(bugs[i].family for i in some) for some in (range(len(bugs)), caught))
    print()
    for family in Family:
        if drawn[family]:
            print(f"{family.value:<42} {found[family]:>4} of {drawn[family]:>4}")
    rate = len(caught) / len(bugs)
    alone = sum(one.seconds for one in known.values())
    print(f"{'caught':<42} {len(caught):>4} of {len(bugs):>4}, {100 * rate:.1f} %")
    print(f"({seconds:.0f} s; {len(known)} tests, which take {alone:.0f} s of processor time when they are watched)")
    if rate < GOAL:
        print(f"missed: fewer than {100 * GOAL:.0f} % are caught")
    return 1 if rate < GOAL else 0


if __name__ == "__main__":
    sys.exit(main())
