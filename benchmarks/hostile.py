"""Claim: whatever a file or an option holds, a command does what it should or says in one sentence why not.

Command: python benchmarks/hostile.py [--cases N] [--seed S] [--only KIND]
Mutants of run folders, states of runs, words, options and files to prove, each given to the command that reads it, in a
process that is replaced when it dies. Refused is exit code 2 with one line; of options also the page that names the
option, which shows what was typed as it was typed. Nothing may end in a traceback, take longer than its limit, steer
the terminal, or change what it was given. A mutant is made again by its kind, its number and the seed:
--only KIND --number N.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import re
import signal
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from rich.console import Console
from rich.table import Table

from backproof import plots
from backproof.cli import main as command
from enemies.bytes import snapshot
from enemies.kinds import KINDS, base

_SECONDS = 60  # of a mutant, on a machine that has other work
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]")
_ACCEPTED = (0, 1)  # 1: diverged, or not proved
GOOD = ("accepted", "refused")
BAD = ("traceback", "hang", "crash", "changed", "escapes", "not a sentence")


def judge(kind: str, seed: int, number: int) -> tuple[str, str]:
    """What becomes of one mutant, and what was said of it."""
    draw = random.Random(f"{kind} {seed} {number}")
    with TemporaryDirectory(prefix="enemy-") as folder:
        place = Path(folder)
        given = KINDS[kind](place, draw)
        before = snapshot(place)
        out, err = io.StringIO(), io.StringIO()
        os.chdir(place)
        try:
            with redirect_stdout(out), redirect_stderr(err):
                code = command(given)
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 2
        except BaseException:
            return "traceback", f"{given}\n{traceback.format_exc()}"
        finally:
            os.chdir("/")
        told = f"{given}\nexit code {code}\n{out.getvalue()[-2000:]}{err.getvalue()}"
        if "Traceback" in err.getvalue():
            return "traceback", told
        if kind != "options" and _OBEYED.search(out.getvalue() + err.getvalue()):
            return "escapes", told
        if code in _ACCEPTED:
            return "accepted", told
        after = snapshot(place)
        if any(after.get(name) != content for name, content in before.items()):
            return "changed", told
        lines = err.getvalue().splitlines()
        if kind == "proofs":  # before the sentence the file may have been warned, by Python or PyTorch
            lines = lines[-1:]
        if code != 2 or not lines:
            return "not a sentence", told
        if kind != "options" and (len(lines) != 1 or not lines[0].startswith("backproof: ")):
            return "not a sentence", told
        return "refused", told


def judged(kind: str, seed: int, numbers: range) -> Iterator[tuple[int, str, str]]:
    """All of them, in children that go on to the next one until one of them ends a child."""
    at = numbers.start
    while at < numbers.stop:
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            _serve(kind, seed, range(at, numbers.stop), writing)
        os.close(writing)
        with os.fdopen(reading, encoding="utf-8") as told:
            for line in told:
                number, what, said = json.loads(line)
                yield number, what, said
                at = number + 1
        _, status = os.waitpid(child, 0)
        if at < numbers.stop:  # it did not come to the end
            ended = os.waitstatus_to_exitcode(status)
            yield at, "hang" if ended == -signal.SIGALRM else "crash", f"the process ended with {ended}"
            at += 1


def _serve(kind: str, seed: int, numbers: range, writing: int) -> None:
    torch.set_num_threads(1)
    plots.loss_png = plots.dlogits_png = lambda *_: b"a picture"  # they take most of the time, and read nothing
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    try:
        for number in numbers:
            signal.alarm(_SECONDS)
            what, said = judge(kind, seed, number)
            os.write(writing, (json.dumps((number, what, said[:6000])) + "\n").encode())
    finally:
        os._exit(0)


def main() -> int:
    """Print one row for each kind, and how to make again what went wrong; 1 where something did."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=100, help="mutants of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=list(KINDS), metavar="KIND")
    parser.add_argument("--number", type=int, help="make this one alone, and print what is said of it")
    arguments = parser.parse_args()
    if not hasattr(os, "fork"):
        parser.error("the mutants run in forks, which this system has not")
    base()
    if arguments.number is not None:
        print(*judge(arguments.only, arguments.seed, arguments.number), sep="\n")
        return 0
    table, wrong = Table("kind", "mutants", *GOOD, *BAD), 0
    for kind in [arguments.only] if arguments.only else KINDS:
        counts: Counter[str] = Counter()
        for number, what, said in judged(kind, arguments.seed, range(arguments.cases)):
            counts[what] += 1
            if what in BAD:
                wrong += 1
                print(f"--only {kind} --number {number} --seed {arguments.seed}: {what}\n{said}\n", flush=True)
        table.add_row(kind, f"{counts.total():,}", *(f"{counts[name]:,}" for name in (*GOOD, *BAD)))
    Console(width=140).print(table)
    return int(wrong > 0)


if __name__ == "__main__":
    raise SystemExit(main())
