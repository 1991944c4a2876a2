"""No accusation of right code for PyTorch's own operations, with offsets and scales from mild to hard.

    python benchmarks/operations.py [--cases 24] [--seed 0] [--only norm] [--workers 1]

A case is one line `y = operation(x, …)` of a network (torch_lines/), alone, between two others, or between two
others and without a name. Inputs have an offset of up to 30,000 times their spread, scales from 1e-3 to 1e3,
odd sizes, float32 or float64. The gradients are right and not autograd's own of this operation: those of the
same computed from elementary operations in the same precision, or those of the operation in float64, rounded.
Prints a line an operation. The exit status is 1 on any accusation.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.check import check
from expressions import Case
from measuring.processes import in_processes
from torch_lines import LINES, OFFSETS, Draw, Line

_ATTEMPTS = 30  # draws that overflow, divide by zero or cannot be inverted are drawn again
_FACTOR = 0.7  # of the line before


class Outcome(NamedTuple):
    """What became of one case; `accusation` is "" where there is none."""

    operation: str
    accusation: str
    not_testable: int


def judge_case(name: str, seed: int, index: int) -> Outcome:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        case = operation_case(name, seed, index)
        namespace = {**case.values, **{f"d{key}": gradient for key, gradient in case.gradients.items()}}
        try:
            report = check(case.output, namespace, upstream=case.upstream)
        except Exception as error:
            return Outcome(name, f"{case.story}\nraised {type(error).__name__}: {error}", 0)
    accusation = "" if report.ok and not report.culprits else f"{case.story}\n{report}"
    return Outcome(name, accusation, sum(row.verdict == "not testable" for row in report.rows))


def operation_case(name: str, seed: int, index: int, *, mild: bool = False) -> Case:
    """A line with right gradients; `mild` leaves offsets and scales away."""
    random = Random(f"{seed}/{name}/{index}")
    for _ in range(_ATTEMPTS):
        dtype = random.choice([torch.float32, torch.float32, torch.float64])
        offset, scale = (0.0, 1.0) if mild else (random.choice(OFFSETS), 10 ** random.uniform(-3, 3))
        line = LINES[name](Draw(random, dtype, offset, scale))
        network = random.choice(["alone", "between", "unnamed"])
        way = "float64" if line.plain is None else random.choice(["plain", "plain", "float64"])
        shapes = ", ".join(f"{key} {tuple(value.shape)}" for key, value in line.inputs.items())
        story = f"{name}: {shapes}, {dtype}, offset {offset:g}, scale {scale:.1e}, {network}, by {way}"
        with suppress(torch.linalg.LinAlgError):  # pyright: ignore[reportPrivateImportUsage]
            case = _case(random, line, network, way, story)
            if case is not None:
                return case
    raise ValueError(f"{name}: no draw of {_ATTEMPTS} stays finite.")


def _case(random: Random, line: Line, network: str, way: str, story: str) -> Case | None:
    inputs = {key: value.detach().clone().requires_grad_() for key, value in line.inputs.items()}
    if network == "alone":
        y = line.torch(*inputs.values())
        upstream = _like(random, y)
        values, gradients = {**inputs, "y": y}, {**right_gradients(line, inputs, upstream, way), "y": upstream}
        return _finite(Case(values, gradients, y, upstream, story))
    before = {f"{key}0": (value.detach() / _FACTOR).requires_grad_() for key, value in inputs.items()}
    inputs = {key: before[f"{key}0"] * _FACTOR for key in inputs}
    y = line.torch(*inputs.values())
    after = _like(random, y)
    out = y * after
    upstream = _like(random, out)
    dy = upstream * after
    own = right_gradients(line, inputs, dy, way)
    values = {**before, **inputs, "y": y, "out": out}
    gradients = {**{f"{key}0": gradient * _FACTOR for key, gradient in own.items()}, **own, "y": dy, "out": upstream}
    if network == "unnamed":
        hidden = {"y", *inputs}
        values = {key: value for key, value in values.items() if key not in hidden}
        gradients = {key: value for key, value in gradients.items() if key not in hidden}
    return _finite(Case(values, gradients, out, upstream, story))


def _like(random: Random, value: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(random.getrandbits(62))
    return torch.randn(value.shape, generator=generator, dtype=torch.float64).to(value.dtype)


def right_gradients(line: Line, inputs: Mapping[str, Tensor], dy: Tensor, way: str) -> dict[str, Tensor]:
    """Computed apart from the graph that is checked."""
    wide = torch.float64 if way == "float64" else dy.dtype
    copies = {key: value.detach().to(wide).requires_grad_() for key, value in inputs.items()}
    result = (line.plain if way == "plain" and line.plain else line.torch)(*copies.values())
    found = torch.autograd.grad(result, list(copies.values()), dy.to(wide), allow_unused=True)
    zeros = (torch.zeros_like(value) for value in copies.values())
    return {
        key: (zero if gradient is None else gradient).to(dy.dtype)
        for key, gradient, zero in zip(copies, found, zeros, strict=True)
    }


def _finite(case: Case) -> Case | None:
    """None where automatic differentiation overflows as well: that is not the line's fault."""
    named = [case.values[name] for name in case.gradients]
    theirs = torch.autograd.grad(case.output, named, case.upstream, retain_graph=True, allow_unused=True)
    numbers = [case.output, *(g for g in theirs if g is not None), *case.gradients.values()]
    return case if case.output.numel() and all(bool(one.isfinite().all()) for one in numbers) else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=24, help="cases an operation (default 24)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="", help="operations whose name contains this")
    parser.add_argument("--workers", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--show", type=int, default=3, help="accusations shown in full (default 3)")
    options = parser.parse_args()
    started = time.perf_counter()
    names = [name for name in LINES if options.only in name for _ in range(options.cases)]
    if not names:
        parser.error(f"no operation's name contains {options.only!r}")
    indices = [index for _ in range(len(names) // options.cases) for index in range(options.cases)]
    if options.workers == 1:
        torch.set_num_threads(1)
    outcomes = in_processes(options.workers, judge_case, names, [options.seed] * len(names), indices)
    accused = [(index, outcome) for index, outcome in zip(indices, outcomes, strict=True) if outcome.accusation]
    for index, outcome in accused[: options.show]:
        print(f"--- case {index} of seed {options.seed}: {outcome.accusation}\n")
    wrongly = Counter(outcome.operation for _, outcome in accused)
    for name in dict.fromkeys(names):
        which = [index for index, outcome in accused if outcome.operation == name]
        print(f"{name:32} {options.cases:>5} cases {wrongly[name]:>4} accused", *which[:20])
    untestable = sum(outcome.not_testable for outcome in outcomes)
    print(
        f"{len(outcomes)} right lines of {len(set(names))} operations ({untestable} gradients not testable):"
        f" {len(accused)} accusations ({time.perf_counter() - started:.0f} s)"
    )
    return 1 if accused else 0


if __name__ == "__main__":
    sys.exit(main())
