"""Advice that is said to mend a gradient does: it is read by another reader here, and done to the letter.

The mutants of the benchmark are asked. Where the advice is a formula on the gradient, or a change of the wrong line,
it is followed without the prover's own numbers, and what comes out is compared with automatic differentiation's.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from random import Random

import pytest
import torch
from torch import Tensor

from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.rows import Row
from judges import Run, checked, run, theirs
from mutants import Mutant, as_module, mutants, networks

SINGLE = [m for m in mutants() if not m.needs_reruns and [len(names) for names in m.guilty] == [1]]
NUMBER = r"(-?\d+(?:\.\d+)?(?:e[+-]?\d+)?)"
SHAPE = r"\[([\d, ]*)\]"


def sample(size: int) -> list[Mutant]:
    """Some of every network, drawn by a seed."""
    random = Random(11)
    return [m for network in networks() for m in random.sample([s for s in SINGLE if s.network == network], size)]


def advice(row: Row) -> str:
    """The advice of a message, however it is called."""
    (line,) = re.findall(r"^  (?:mend|next): (.*)$", row.message, re.MULTILINE)
    return line


def scaled(by: Callable[[float, float], float]) -> Callable[..., Tensor]:
    return lambda got, _, *numbers: got * by(*(float(n) for n in (*numbers, "nan")[:2]))


def resized(got: Tensor, _: Mapping[str, Tensor], shape: str) -> Tensor:
    wanted = [int(size) for size in shape.split(",") if size.strip()]
    if got.numel() == torch.Size(wanted).numel():
        return got.reshape(wanted)
    return got.expand(wanted) if got.numel() < torch.Size(wanted).numel() else got.sum_to_size(wanted)


def evaluated(text: str, names: Mapping[str, Tensor]) -> Tensor:
    return eval(text, {"__builtins__": {}, **vars(torch)}, dict(names))


def flowing_back(name: str, d: str, line: str, names: Mapping[str, Tensor]) -> Tensor:
    """What comes back to `name` through one line of the forward pass, by automatic differentiation of that line."""
    leaf = names[name].detach().clone().requires_grad_()
    made = evaluated(line.partition(" = ")[2], {**names, name: leaf})
    return torch.autograd.grad(made, leaf, names[d])[0]


def added(times: float) -> Callable[..., Tensor]:
    return lambda got, names, d, line: got + times * flowing_back(str(names["name of the value"]), d, line, names)


FORMULAS: list[tuple[str, Callable[..., Tensor]]] = [
    (r"flip the sign", lambda got, _: -got),
    (rf"divide by {NUMBER} once", scaled(lambda n, _: 1 / n)),
    (rf"divide by {NUMBER}, not {NUMBER}", scaled(lambda right, wrong: wrong / right)),
    (rf"multiply by {NUMBER}", scaled(lambda n, _: n)),
    (rf"take the factor {NUMBER} out(?: once)?", scaled(lambda n, _: 1 / n)),
    (rf"put the factor {NUMBER} back in(?:, as for x\*\*2)?", scaled(lambda n, _: n)),
    (rf"(?:sum with keepdim=True, or |sum without keepdim, or )?reshape (?:it )?to {SHAPE}", resized),
    (rf"(?:expand|sum) it to {SHAPE}(?:: .*)?", resized),
    (r"transpose it: \w+\.mT, or .*", lambda got, _: got.mT),
    (r"multiply by ([a-z]\w*(?:\*\*[-\d.]+)?)", lambda got, names, x: got * evaluated(x, names)),
    (r"take ([a-z]\w*(?:\*\*[-\d.]+)?) out", lambda got, names, x: got / evaluated(x, names)),
    (r"multiply (d\w+) by (\w+)", lambda got, names, d, x: (names[d] * names[x]).sum_to_size(got.shape)),
    (r"use ([^:,]*@[^:,]*)", lambda got, names, x: evaluated(x, names)),
    (r"derive .* again: use (.*)", lambda got, names, x: evaluated(x, names)),
    (r"use ([^:,@]*)(?:, summed to .*)?(?:: .*)?", lambda got, names, x: evaluated(x, names).sum_to_size(got.shape)),
    (r"add what flows back from (d\w+) through (.*) once", added(-1.0)),
    (r"add what flows back from (d\w+) through (.*)", added(1.0)),
    (r"flip the sign of what flows back from (d\w+) through (.*)", added(2.0)),
]


def followed(mutant: Mutant, row: Row, ours: Run) -> Tensor | None:
    """The gradient after the advice was followed; None where this reader cannot read it."""
    words, got = advice(row), ours.gradients[row.name]
    names = {k: v.detach() for k, v in ours.namespace().items() if isinstance(v, Tensor)}
    if ours.upstream is not None:
        names[f"d{list(ours.values)[-1]}"] = ours.upstream
    if found := re.fullmatch(r"replace (\w+) by (\w+)", words):
        return changed(mutant, row, *found.groups())
    for pattern, formula in FORMULAS:
        if got is not None and (found := re.fullmatch(pattern, words)):
            try:
                return formula(got, {**names, "name of the value": row.name}, *found.groups())
            except (NameError, SyntaxError, AttributeError, TypeError, RuntimeError, KeyError):
                return None  # a line with a fused kernel in it, say, which is written as no program
    return None


def changed(mutant: Mutant, row: Row, wrong: str, right: str) -> Tensor | None:
    """The gradient of the mutant whose wrong line has one name in place of another."""
    fault = mutant.faults[0]
    line = re.sub(rf"(?<![\w.]){wrong}\b", right, fault.wrong)
    if line == fault.wrong:
        return None
    mended = Mutant(mutant.network, (fault._replace(wrong=line),), needs_reruns=False, dtype=mutant.dtype)
    return run(as_module(mutant.network, mended.source()), mutant.dtype).gradients[row.name]


def near(got: Tensor, right: Tensor, dtype: torch.dtype) -> bool:
    if got.shape != right.shape:
        return False
    largest = right.abs().max().clamp(min=1e-30)
    return bool((got.to(dtype) - right).abs().max() <= 200 * torch.finfo(dtype).eps * largest)


@pytest.mark.filterwarnings("ignore")
def test_advice_that_is_said_to_mend_mends_and_causes_rest_on_what_was_seen_or_fits() -> None:
    read, unread = Counter[str](), []
    for mutant in sample(9):
        ours = run(mutant.load(), mutant.dtype)
        (row,) = checked(ours).culprits
        evident = row.verdict in ("missing", "not finite") or "it is zero everywhere" in row.message
        assert row.certainty is (Certainty.SEEN if evident else Certainty.FITS), row.message
        assert row.applicability is not None, mutant.title
        if row.applicability is Applicability.LOOK:
            assert "  next: " in row.message
            continue
        assert "  mend: " in row.message
        mended, right = followed(mutant, row, ours), theirs(ours)[row.name]
        if mended is None:
            unread.append(advice(row))
            continue
        read[str(row.cause)] += 1
        assert near(mended, right, mutant.dtype), f"{mutant.title}\n{row.message}"
    assert sum(read.values()) >= 50 and len(read) >= 7, read
    assert sum(read.values()) >= 2 * len(unread), unread


@pytest.mark.filterwarnings("ignore")
def test_what_the_reader_here_makes_of_wrong_advice_is_wrong() -> None:
    """The other half: a reader that calls everything mended would prove nothing."""
    mutant = next(m for m in SINGLE if m.title == "rmsnorm: dsq[rows] = dms[rows]")
    ours = run(mutant.load(), mutant.dtype)
    (row,) = checked(ours).culprits
    right = theirs(ours)[row.name]
    assert near(followed(mutant, row, ours), right, mutant.dtype)  # type: ignore[arg-type]
    assert advice(row) == "divide by 10 once"
    for wrong in ("divide by 11 once", "multiply by 10", "flip the sign", "take the factor 2 out"):
        other = Row(row.name, row.verdict, message=f"wrong\n  mend: {wrong}")
        assert not near(followed(mutant, other, ours), right, mutant.dtype)  # type: ignore[arg-type]
