"""Claim: a check costs milliseconds, in proportion to the graph, and a diagnosis less than a second.

    python benchmarks/check_time.py [--repeats 9] [--json FILE]

`backproof.check` on three kinds of backward pass: the published network (H = 64, n = 32) right and with each
of its wrong lines from mutants/, chains of 125 to 500 named values, and one linear layer of ten thousand to a
million parameters. A right pass is checked `--repeats` times, a wrong one a third as often; figures are medians,
and the slowest fault's. Beside them stands what one backward pass of autograd takes, to all the same values.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import torch
from rich import box
from rich.console import Console
from rich.table import Table
from torch import Tensor

from backproof.proof.check import check
from judges import Run, run
from measuring import machine
from mutants import EXAMPLES, as_module, mutants

CLEAN_GOAL, DIAGNOSIS_GOAL = 0.05, 1.0  # seconds, on the published network
Fault = tuple[str, Callable[[Tensor], Tensor]]


class Figures(NamedTuple):
    """Seconds for one kind of graph; the last two for its faults, by their medians."""

    values: int
    elements: int
    backward: float
    clean: float
    with_fault: float
    slowest: float


def published() -> tuple[Run, list[Run]]:
    """The network of the exercise: right, and with every wrong line that one run can show."""
    right = run(as_module("ninja", (EXAMPLES / "ninja.py").read_text(encoding="utf-8")))
    wrong = [one for one in mutants("ninja") if not one.needs_reruns and one.dtype == torch.float32]
    return right, [run(one.load()) for one in wrong]


def chain(length: int) -> tuple[Run, list[Run]]:
    """h = tanh(s · h) over and over, each h and each s named; a wrong sign and a lost factor half way."""
    generator = torch.Generator().manual_seed(3)
    h = torch.randn(32, 64, generator=generator, requires_grad=True)
    values, gradients = {"h0": h}, {}
    count = (length - 2) // 2
    for i in range(count):
        s = (1 + 0.1 * torch.rand(64, generator=generator)).requires_grad_()
        values[f"s{i}"], h = s, torch.tanh(s * h)
        values[f"h{i + 1}"] = h
    loss = values["loss"] = h.square().sum()
    with torch.no_grad():
        dh = gradients[f"h{count}"] = 2 * h
        for i in reversed(range(count)):
            slope = (1 - values[f"h{i + 1}"] ** 2) * dh
            gradients[f"s{i}"] = (slope * values[f"h{i}"]).sum(0)
            dh = gradients[f"h{i}"] = slope * values[f"s{i}"]
    right = Run(values, gradients, loss, None)
    middle = count // 2
    return right, [_spoiled(right, f"s{middle}", torch.neg), _spoiled(right, f"h{middle}", lambda d: d * values["s1"])]


def layer(inputs: int, outputs: int) -> tuple[Run, list[Run]]:
    """One linear layer and a squared error: a wrong sign, a mean for a sum, rows left out, a bias not summed."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(64, inputs, generator=generator)
    W = (torch.randn(inputs, outputs, generator=generator) / inputs**0.5).requires_grad_()
    b = torch.zeros(outputs, requires_grad=True)
    y = x @ W + b
    loss = y.square().sum()
    dy = 2 * y.detach()
    gradients = {"y": dy, "W": x.T @ dy, "b": dy.sum(0)}
    right = Run({"x": x, "W": W, "b": b, "y": y, "loss": loss}, gradients, loss, None)
    return right, [
        _spoiled(right, "W", torch.neg),
        _spoiled(right, "W", lambda d: d / len(x)),
        _spoiled(right, "W", lambda d: torch.cat([d[:-3], torch.zeros_like(d[-3:])])),
        _spoiled(right, "W", lambda d: torch.randn(d.shape, generator=generator)),
        _spoiled(right, "b", lambda d: dy[0]),
    ]


def measure(right: Run, wrong: list[Run], repeats: int) -> Figures:
    """Medians; every check must find what is there to be found, and nothing else."""
    assert not _seconds(right, 1)[1], "right code is accused"
    wanted = [value for value in right.values.values() if value.requires_grad]

    def backward() -> None:
        torch.autograd.grad(right.output, wanted, right.upstream, retain_graph=True)

    faults = []
    for one in wrong:
        seconds, found = _seconds(one, -(-repeats // 3))
        assert found, "a fault is not seen"
        faults.append(seconds)
    elements = sum(value.numel() for value in wanted)
    clean = _seconds(right, repeats)[0]
    return Figures(len(wanted), elements, _median(backward, repeats), clean, median(faults), max(faults))


def _seconds(one: Run, repeats: int) -> tuple[float, bool]:
    found = []
    namespace = one.namespace()
    seconds = _median(lambda: found.append(check(one.output, namespace, upstream=one.upstream).ok), repeats)
    return seconds, not all(found)


def _median(work: Callable[[], object], repeats: int) -> float:
    taken = []
    for _ in range(repeats):
        started = perf_counter()
        work()
        taken.append(perf_counter() - started)
    return median(taken)


def _spoiled(right: Run, name: str, spoil: Callable[[Tensor], Tensor]) -> Run:
    """The same run with one gradient wrong; what follows it stays as it was, and stands alone."""
    gradient = right.gradients[name]
    assert gradient is not None
    return right._replace(gradients={**right.gradients, name: spoil(gradient)})


GRAPHS: dict[str, Callable[[], tuple[Run, list[Run]]]] = {
    "published network": published,
    "chain": lambda: chain(125),
    "chain, twice as long": lambda: chain(250),
    "chain, four times": lambda: chain(500),
    "layer of 10⁴ parameters": lambda: layer(100, 100),
    "layer of 10⁵ parameters": lambda: layer(250, 400),
    "layer of 10⁶ parameters": lambda: layer(1000, 1000),
}


def main() -> int:
    """Print one row a graph; the exit status is 1 when the published network misses a goal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the figures too")
    arguments = parser.parse_args()
    if arguments.repeats < 1:
        parser.error("--repeats has to be at least 1")
    heads = "backward ms", "clean check ms", "with a fault ms", "slowest ms"
    table = Table("graph", "values", "elements", *heads, box=box.MARKDOWN)
    figures = {}
    for name, make in GRAPHS.items():
        figures[name] = one = measure(*make(), arguments.repeats)
        times = (one.backward, one.clean, one.with_fault, one.slowest)
        table.add_row(name, f"{one.values}", f"{one.elements:,}", *(f"{1e3 * seconds:.1f}" for seconds in times))
    console = Console(highlight=False, markup=False, width=max(110, Console().width))
    console.print(table)
    goals = figures["published network"]
    met = goals.clean <= CLEAN_GOAL and goals.slowest <= DIAGNOSIS_GOAL
    console.print(
        f"Published network: goals {CLEAN_GOAL * 1e3:g} ms clean, {DIAGNOSIS_GOAL * 1e3:g} ms with a diagnosis: "
        f"{'met' if met else 'not met'}.\n\n{machine.lines(machine.describe())}",
        soft_wrap=True,
    )
    if arguments.json:
        machine.write_json(arguments.json, {name: one._asdict() for name, one in figures.items()})
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
