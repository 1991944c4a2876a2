"""No accusation of right code: random right backward passes before Backproof, which must find nothing.

    python benchmarks/correct.py [--cases 10000] [--seed 0] [--workers 2]

Two kinds in turn: random expression graphs (expressions.py), and the example networks with lines rewritten
in other right ways (same.py). Sizes include 1 and 2 and odd ones; scales go from 1e-6 to 1e6; numbers are
float32, float64 and bfloat16; tensors lie strided, transposed and expanded; there are ties in maxima,
saturated tanh, sharp softmax. One case in fifty of the examples is also run by `prove`, with all its
replays. The exit status is 1 on any accusation.
"""

from __future__ import annotations

import argparse
import sys
import time
import warnings
from collections import Counter
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.prove import prove
from expressions import Case, random_case
from judges import leaf
from measuring.processes import in_processes
from mutants import EXAMPLES, as_module, networks, replaced
from same import SAME


class Outcome(NamedTuple):
    """What became of one case."""

    kind: str
    gradients: int
    accusation: str  # "" where there is none
    not_testable: int


def judge_case(seed: int, index: int) -> Outcome:
    random = Random(f"{seed}/{index}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if index % 3:
            return _checked("expression", random_case(random))
        network = networks()[index // 3 % len(networks())]
        if index % 50 == 0:
            return _proved(random, network)
        return _checked(network, _example_case(random, network))


def _checked(kind: str, case: Case) -> Outcome:
    namespace = {**case.values, **{f"d{name}": gradient for name, gradient in case.gradients.items()}}
    try:
        report = check(case.output, namespace, upstream=case.upstream)
    except Exception as error:
        return Outcome(kind, len(case.gradients), f"{case.story}\nraised {type(error).__name__}: {error}", 0)
    accusation = "" if report.ok and not report.culprits else f"{case.story}\n{report}"
    untestable = sum(row.verdict == "not testable" for row in report.rows)
    return Outcome(kind, len(case.gradients), accusation, untestable)


def _proved(random: Random, network: str) -> Outcome:
    source, story = _rewritten(random, network)
    module = as_module(network, source)
    try:
        report = prove(module.forward, module.backward, module.inputs)
    except Exception as error:
        return Outcome("prove", 0, f"{story}\nraised {type(error).__name__}: {error}", 0)
    accusation = "" if report.ok and not report.culprits else f"{story}\n{report}"
    return Outcome("prove", len(report.rows), accusation, 0)


def _rewritten(random: Random, network: str) -> tuple[str, str]:
    """The example's source with some of its lines written in another right way, and which."""
    source, story = (EXAMPLES / f"{network}.py").read_text(encoding="utf-8"), network
    for line, others in SAME[network].items():
        if random.random() < 0.4:
            other = random.choice(others)
            source, story = replaced(source, line, other), f"{story}\n  {other}"
    return source, story


def _example_case(random: Random, network: str) -> Case:
    source, story = _rewritten(random, network)
    module = as_module(network, source)
    while True:
        dtype = random.choice([torch.float32, torch.float32, torch.float64])
        n = random.choice([1, 2, 3, 5, 7, 13, 32, 33])
        if network == "ninja" and n == 1:
            continue
        inputs = module.inputs(n, **({"hidden": random.choice([1, 3, 64])} if "ninja" in network else {}))
        inputs = {name: leaf(value, dtype) for name, value in inputs.items()}
        how = f"{story}\n  {dtype}, n = {n}"
        floats = [name for name, value in inputs.items() if value.is_floating_point()]
        for name in random.sample(floats, random.choice([0, 0, 1, 1, 2])):
            scale = 10 ** random.uniform(-6, 6)
            inputs[name] = _laid_out(random, inputs[name].detach() * scale).detach().requires_grad_()
            how += f", {name} × {scale:.1e} with strides {inputs[name].stride()}"
        steps = module.forward(**inputs)
        output, upstream = steps[-1], None
        if output.dim() or random.random() < 0.5:
            noise = torch.randn(output.shape, generator=torch.Generator().manual_seed(random.getrandbits(32)))
            upstream = _laid_out(random, noise.to(dtype) * 10 ** random.choice([0.0, random.uniform(-6, 6)]))
        handed = torch.ones_like(output) if upstream is None else upstream
        gradients = module.backward(type(steps)(*(value.detach() for value in steps)), handed)
        values = steps._asdict()
        named = [values[name] for name in gradients]
        theirs = torch.autograd.grad(output, named, upstream, retain_graph=True)
        # what overflows, or divides by what underflowed, is automatic differentiation's trouble as well
        if all(g.isfinite().all() for g in (output, *theirs, *gradients.values())):
            return Case(values, gradients, output, upstream, how)


def _laid_out(random: Random, x: Tensor) -> Tensor:
    way = random.randrange(4)
    if x.dim() < 2 or way == 0:
        return x
    if way == 1:
        return x.mT.contiguous().mT
    if way == 2:
        return x.repeat_interleave(2, -1)[..., ::2]
    return x[..., :1].expand(x.shape)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes (default 2)")
    parser.add_argument("--show", type=int, default=3, help="accusations shown in full (default 3)")
    options = parser.parse_args()
    started = time.perf_counter()
    work = [options.seed] * options.cases, range(options.cases)
    outcomes = in_processes(options.workers, judge_case, *work)
    accused = [(index, outcome) for index, outcome in enumerate(outcomes) if outcome.accusation]
    for index, outcome in accused[: options.show]:
        print(f"--- case {index} of seed {options.seed}: {outcome.accusation}\n")
    counts, wrongly = Counter(o.kind for o in outcomes), Counter(o.kind for _, o in accused)
    for kind in sorted(counts):
        print(f"{kind:16} {counts[kind]:>6} cases {wrongly[kind]:>5} accused")
    gradients, untestable = sum(o.gradients for o in outcomes), sum(o.not_testable for o in outcomes)
    print(
        f"{len(outcomes)} right backward passes, {gradients} gradients ({untestable} not testable):"
        f" {len(accused)} accusations ({time.perf_counter() - started:.0f} s)"
    )
    if accused:
        print("accused cases:", *(index for index, _ in accused[:50]))
    return 1 if accused else 0


if __name__ == "__main__":
    sys.exit(main())
