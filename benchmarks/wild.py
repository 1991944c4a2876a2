"""What people really write: custom functions and hand-written passes, each right and with one fault.

    python benchmarks/wild.py                a line for each, then the totals
    python benchmarks/wild.py --only rope    those whose name holds it, or of one family, with what was said of them
    python benchmarks/wild.py --summary      the totals only

Backproof judges as its users would ask it: `prove_function`, `check` or `prove`. Beside it stands what
`torch.autograd.gradcheck` says of the same function in float64 (a pass that is written line by line in a notebook
cannot be given to it). The right program is accepted, not judged (the gradient that the fault would spoil was not
compared, and nothing is accused), or ACCUSED. Of the wrong one: caught, not judged, or CALLED PROVED; L: just the
wrong input or line is named; C: its cause is. Only Backproof is held to goals; the exit status is 1 when it misses one.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Mapping
from inspect import signature
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backproof import check, prove, prove_function
from backproof.proof.report.report import Report
from backproof.proof.report.rows import PROVED
from in_the_wild import Entry, Found, Function, Pair, entries
from measuring.processes import in_processes

GOALS = {"line": 0.98, "cause": 0.90}


class Said(NamedTuple):
    """What a judge says of a program: whether something is wrong, what is named, and what was compared and is right."""

    fault: bool
    named: frozenset[str] = frozenset()
    causes: Mapping[str, tuple[str, ...]] = {}
    proved: frozenset[str] = frozenset()
    ok: bool = False
    unjudged: bool = False  # it names gradients that it did not compare
    words: str = ""


class Outcome(NamedTuple):
    """What became of an entry in the hands of one judge; None where it cannot be asked."""

    right: str | None  # accepted, not judged or ACCUSED
    wrong: str | None  # caught, not judged or CALLED PROVED
    line: bool
    cause: bool
    words: str
    seconds: float = 0.0


def by_backproof(entry: Entry) -> Said:
    try:
        report = _report(entry)
    except Exception as error:
        honest = type(error).__name__ in ("CannotProveError", "CannotJudgeError", "GraphFreedError")
        return Said(not honest, words=f"{type(error).__name__}: {error}")
    # gradients compared with what a freed graph left are found wrong by value, and no line is blamed
    by_value = [row for row in report.rows if not row.ok and not row.inherited_from]
    causes = {row.name: row.named for row in report.culprits or by_value}
    proved = frozenset(row.name for row in report.rows if row.verdict in PROVED)
    return Said(bool(causes), frozenset(causes), causes, proved, report.ok, bool(report.unjudged), str(report))


def _report(entry: Entry) -> Report:
    if isinstance(entry, Function):
        return prove_function(entry.function, entry.reference, entry.inputs, **entry.options)
    if isinstance(entry, Pair):
        return prove(entry.forward, entry.backward, entry.inputs, **entry.options)
    namespace = entry.run()
    return check(namespace["loss"], namespace, **entry.options)


def by_gradcheck(entry: Entry) -> Said | None:
    """As its users call it: inputs in float64, every floating-point tensor differentiated. Names no input by name."""
    if not isinstance(entry, Function):
        return None
    inputs = entry.inputs()
    given = list(inputs.values() if isinstance(inputs, Mapping) else inputs)
    if any(not isinstance(one, Tensor) and not _plain(one) for one in given):
        return None  # tensors within lists and mappings are not perturbed
    names = list(inputs) if isinstance(inputs, Mapping) else _parameters(entry.reference, len(given))
    needed = entry.options.get("grad_inputs", names)
    double = [_double(one) if name in needed else _double(one).detach() if isinstance(one, Tensor) else one
              for name, one in zip(names, given, strict=False)]  # fmt: skip
    if not any(isinstance(one, Tensor) and one.requires_grad for one in double):
        return None
    function = entry.function
    call: Callable = function.apply if isinstance(function, type) else function  # a module has an `apply` of its own
    try:
        torch.autograd.gradcheck(call, double)
    except Exception as error:
        return Said(True, words=str(error))
    return Said(False, ok=True)


def _parameters(function: Callable, count: int) -> list[str]:
    """The names of its parameters; those of a built-in one, which hides them, are counted."""
    try:
        return list(signature(function).parameters)
    except ValueError:
        return [f"x{index}" for index in range(count)]


def _plain(given: object) -> bool:
    return given is None or isinstance(given, int | float | str | bool)


def _double(given: Any) -> Any:
    if not isinstance(given, Tensor):
        return given
    wide = torch.complex128 if given.is_complex() else torch.float64 if given.is_floating_point() else given.dtype
    wider = given.to(wide).clone()
    return wider.requires_grad_() if wide != given.dtype or given.is_floating_point() else wider


def outcome(found: Found, judge: Callable[[Entry], Said | None]) -> Outcome:
    started = time.process_time()
    answers, accepted = found.entry.fault.answers, found.entry.fault.accepted
    guilty = frozenset[str]().union(*answers)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a wrong program may overflow
        right, wrong = judge(found.entry), judge(found.wrong())
    if right is None or wrong is None:
        return Outcome(None, None, False, False, "")
    compared = right.ok and (judge is by_gradcheck or any(answer <= right.proved for answer in answers))
    of_right = "ACCUSED" if right.fault else "accepted" if compared else "not judged"
    passed = not wrong.fault and (bool(guilty & wrong.proved) or (wrong.ok and not wrong.unjudged))
    of_wrong = "caught" if wrong.fault else "CALLED PROVED" if passed else "not judged"
    line = wrong.named in answers
    named = {code for codes in wrong.causes.values() for code in codes}
    certain = {codes[0] for codes in wrong.causes.values() if len(codes) == 1}
    cause = line and certain <= accepted and (bool(named & accepted) if accepted else not named)
    words = f"--- right:\n{right.words}\n\n--- wrong: {found.entry.fault.wrong.strip()}\n{wrong.words}\n"
    return Outcome(of_right, of_wrong, line, cause, words, time.process_time() - started)


def judged(only: str, index: int) -> tuple[Outcome, Outcome]:
    found = entries(only)[index]
    return outcome(found, by_backproof), outcome(found, by_gradcheck)


def print_line(found: Found, ours: Outcome, theirs: Outcome) -> None:
    entry = found.entry
    marks = f"{'L' if ours.line else '·'}{'C' if ours.cause else '·'}"
    beside = "-" if theirs.right is None else f"{theirs.right}, {theirs.wrong}"
    at = f"{entry.fault.guilty} ({entry.fault.causes or 'none'})"
    title = f"{found.family}: {entry.name}"
    print(f"{title:48} {ours.right:10}  {ours.wrong:13} {marks}  {ours.seconds:5.1f} s  {beside:24}  {at}")


def goals_missed(found: list[Found], outcomes: list[Outcome]) -> list[str]:
    count = len(outcomes)
    missed = [f"{one.entry.name} is right and was accused"
              for one, got in zip(found, outcomes, strict=True) if got.right == "ACCUSED"]  # fmt: skip
    missed += [f"{one.entry.name} is wrong and was called proved"
               for one, got in zip(found, outcomes, strict=True) if got.wrong == "CALLED PROVED"]  # fmt: skip
    for field, called in (("line", "inputs or lines"), ("cause", "causes")):
        share = sum(getattr(got, field) for got in outcomes)
        if share < GOALS[field] * count:
            missed.append(f"{share} of {count} {called} right, fewer than {GOALS[field]:.0%}")
    return missed


def print_totals(found: list[Found], ours: list[Outcome], theirs: list[Outcome], seconds: float) -> None:
    functions = sum(isinstance(one.entry, Function) for one in found)
    print(f"\n{functions} functions and {len(found) - functions} passes, each right and with one fault")
    heads = f"{'right: accepted':>16} {'not judged':>11} {'accused':>8} {'wrong: caught':>15} {'not judged':>11}"
    print(f"{'':22} {heads} {'called proved':>14} {'right line':>11} {'right cause':>12}")
    kinds = {"functions": [isinstance(one.entry, Function) for one in found]}
    kinds["passes"] = [not function for function in kinds["functions"]]
    for kind, those in kinds.items():
        _print_total(f"Backproof, {kind}", [got for got, here in zip(ours, those, strict=True) if here])
    _print_total("Backproof", ours)
    _print_total("gradcheck, functions", [got for got in theirs if got.right is not None])
    print(f"({seconds:.0f} s, torch {torch.__version__})")


def _print_total(name: str, outcomes: list[Outcome]) -> None:
    def count(field: str, word: object) -> int:
        return sum(getattr(got, field) == word for got in outcomes)

    if not outcomes:
        return
    cells = [count("right", "accepted"), count("right", "not judged"), count("right", "ACCUSED")]
    cells += [count("wrong", "caught"), count("wrong", "not judged"), count("wrong", "CALLED PROVED")]
    widths = (16, 11, 8, 15, 11, 14)
    shown = " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
    shares = "" if name.startswith("gradcheck") else f"{_share(outcomes, 'line'):>11} {_share(outcomes, 'cause'):>12}"
    print(f"{name:22} {shown} {shares}  of {len(outcomes)}")


def _share(outcomes: list[Outcome], field: str) -> str:
    return f"{100 * sum(getattr(got, field) for got in outcomes) / len(outcomes):.1f} %"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", metavar="NAME", help="entries whose name holds it, or of that family")
    parser.add_argument("--summary", action="store_true", help="the totals only")
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    options = parser.parse_args()
    found = entries(options.only)
    if not found:
        parser.error(f"no entry has {options.only!r} in its name")
    started = time.perf_counter()
    outcomes = in_processes(options.workers, judged, [options.only] * len(found), range(len(found)))
    ours, theirs = [pair[0] for pair in outcomes], [pair[1] for pair in outcomes]
    for one, mine, other in zip(found, ours, theirs, strict=True):
        if not options.summary:
            print_line(one, mine, other)
        if options.only and not options.summary:
            print(mine.words)
    print_totals(found, ours, theirs, time.perf_counter() - started)
    missed = goals_missed(found, ours)
    for goal in missed:
        print(f"missed: {goal}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
