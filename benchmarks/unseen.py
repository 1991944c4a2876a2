"""Faults in networks that nobody has seen: one fault, at random, in a random expression graph.

    python benchmarks/unseen.py [--cases 2000] [--seed 0] [--workers 2]

The mutants of power.py are known to those who improve the prover; these are not. A graph is grown
(expressions.py), one named value's gradient is spoilt on the way back, and all lines behind it go on with
what they were given. Faults that change less than a thousandth of the gradient are not counted. Prints, for
each kind of fault, how many were detected, blamed on the right line alone, and named rightly; a cause that
is not the right one counts as named wrongly, and silence does not. "Not testable" is the prover's own word
for a gradient whose terms cancel, so that one run cannot tell right from wrong.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.check import check
from expressions import Graph, random_graph, walked_back
from measuring.processes import in_processes

Shares = list[Tensor]


class Kind(NamedTuple):
    """A way to spoil a gradient: `spoil` gives the wrong shares, or None where it does not apply."""

    causes: tuple[str, ...]
    spoil: Callable[[Random, Shares], Shares | None]


class Finding(NamedTuple):
    """What became of one spoilt gradient."""

    kind: str
    detected: bool
    untestable: bool
    line: bool
    cause: bool
    misnamed: bool
    words: str


def _scaled(factor: float) -> Callable[[Random, Shares], Shares]:
    return lambda random, shares: [factor * share for share in shares]


def _dropped(random: Random, shares: Shares) -> Shares | None:
    return random.sample(shares, len(shares) - 1) if len(shares) > 1 else None


def _doubled(random: Random, shares: Shares) -> Shares | None:
    return [*shares, random.choice(shares)] if len(shares) > 1 else None


def _flipped(random: Random, shares: Shares) -> Shares | None:
    if len(shares) == 1 or not sum(shares[1:], -shares[0]).any():
        return None
    return [-shares[0], *shares[1:]]


def _by_count(random: Random, shares: Shares) -> Shares | None:
    count = shares[0].shape[0] if shares[0].dim() else 1
    return [share / count for share in shares] if count > 2 else None


def _without_last_rows(random: Random, shares: Shares) -> Shares | None:
    total = sum(shares[1:], shares[0]).clone()
    if total.dim() != 2 or total.shape[0] < 3:
        return None
    total[-random.randint(1, total.shape[0] // 2) :] = 0
    return [total] if total.any() else None


def _transposed(random: Random, shares: Shares) -> Shares | None:
    total = sum(shares[1:], shares[0])
    return [total.T] if total.dim() == 2 and total.shape[0] == total.shape[1] > 1 else None


def _low_precision(random: Random, shares: Shares) -> Shares | None:
    return [share.bfloat16().to(share.dtype) for share in shares]


KINDS = {
    "sign": Kind(("F13",), _scaled(-1)),
    "twice": Kind(("F12", "F6"), _scaled(2)),  # where there is one share, or equal ones, it may be counted twice
    "half": Kind(("F12", "F6"), _scaled(0.5)),
    # the share of one reader among several; within one reader's share it would be that reader's derivative
    "share dropped": Kind(("F6",), _dropped),
    "share doubled": Kind(("F6", "F12"), _doubled),
    "share's sign": Kind(("F13",), _flipped),
    "divided by n": Kind(("F8",), _by_count),
    "last rows left out": Kind(("F7",), _without_last_rows),
    "transposed": Kind(("F10",), _transposed),
    "in bfloat16": Kind(("F5",), _low_precision),
}


def judge_case(seed: int, index: int) -> Finding:
    """One fault that makes a visible difference."""
    random = Random(f"unseen {seed}/{index}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        while True:
            finding = _tried(random, random.choice(list(KINDS)), random_graph(random))
            if finding is not None:
                return finding


def _tried(random: Random, called: str, graph: Graph) -> Finding | None:
    kind = KINDS[called]
    victim, place = random.choice(list(graph.names.items()))
    if place == len(graph.values) - 1 or graph.values[0].dtype == torch.bfloat16:
        return None  # the output's gradient is given; bfloat16 hides small faults
    if called.startswith("share") and not _has_readers_of_its_own(graph, place):
        return None
    seen: dict[str, Tensor] = {}

    def spoil(i: int, shares: Shares) -> Shares:
        wrong = kind.spoil(random, shares) if i == place else shares
        if i == place and wrong is not None:
            seen["right"], seen["wrong"] = sum(shares[1:], shares[0]), sum(wrong[1:], wrong[0])
        return shares if wrong is None else wrong

    gradients = walked_back(random, graph, spoil)
    if not seen or not all(gradients[i].isfinite().all() for i in graph.names.values()):
        return None
    change = (seen["wrong"] - seen["right"]).abs().max()
    if change <= 1e-3 * seen["right"].abs().max():
        return None
    namespace = {name: graph.values[i] for name, i in graph.names.items()}
    namespace |= {f"d{name}": gradients[i] for name, i in graph.names.items()}
    story = f"{called} at {victim}\n{graph.story}"
    try:
        report = check(graph.values[-1], namespace, upstream=graph.upstream)
    except Exception as error:
        return Finding(called, False, False, False, False, False, f"{story}\nraised {type(error).__name__}: {error}")
    causes = {row.name: row.cause for row in report.culprits}
    right = [cause for cause in causes.values() if cause in kind.causes]
    other = [cause for cause in causes.values() if cause is not None and cause not in kind.causes]
    line = set(causes) == {victim}
    untestable = report.ok and report[victim].verdict == "not testable"
    words = f"{story}\n{report}"
    return Finding(called, not report.ok, untestable, line, line and bool(right), bool(other), words)


def _has_readers_of_its_own(graph: Graph, place: int) -> bool:
    """Whether each share of the value comes through another named value."""
    leaves = len(graph.values) - len(graph.tape)
    read_by = [leaves + made for made, (_, picked) in enumerate(graph.tape) for i in picked if i == place]
    return len(set(read_by)) == len(read_by) and set(read_by) <= set(graph.names.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--show", type=int, default=0, help="failures shown in full (default 0)")
    options = parser.parse_args()
    started = time.perf_counter()
    work = [options.seed] * options.cases, range(options.cases)
    findings = in_processes(options.workers, judge_case, *work)
    failed = [(i, f) for i, f in enumerate(findings) if not (f.line or f.untestable) or f.misnamed]
    for index, finding in failed[: options.show]:
        print(f"--- case {index} of seed {options.seed}: {finding.words}\n")
    heads = f"{'detected':>9} {'not testable':>13} {'right line':>11} {'right cause':>12} {'wrong cause':>12}"
    print(f"{'fault':20} {'cases':>6} {heads}")
    for called in [*KINDS, "all"]:
        some = [f for f in findings if called in (f.kind, "all")]
        widths = {"detected": 9, "untestable": 13, "line": 11, "cause": 12, "misnamed": 12}
        columns = (f"{sum(getattr(f, field) for f in some):>{width}}" for field, width in widths.items())
        print(f"{called:20} {len(some):>6} {' '.join(columns)}")
    print(f"({time.perf_counter() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
