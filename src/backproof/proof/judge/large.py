"""Why a large gradient is wrong: told from some of its numbers, and then held against all of them in pieces.

The search for a cause takes dozens of tensors of the gradient's size, which is nothing for a notebook's and more than
there is for an embedding's. So of a large one only zeros and factors are told; a smaller batch says the rest.
"""

from __future__ import annotations

from dataclasses import replace

from backproof.proof.causes import by_constants, by_terms
from backproof.proof.causes.case import Case, Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.sample import evenly
from backproof.proof.causes.wording import told, worst
from backproof.proof.report.rows import Row
from backproof.proof.verdict.blame import Blame
from backproof.proof.verdict.blocks import blocks

_SAMPLE = 1 << 14  # elements: a factor is known from fewer, and all are looked at afterwards


def explain_large(row: Row, blamed: Blame, case: Case) -> Row:
    """The row of a culprit; its cause where a zero or a factor explains every number, to rounding."""
    fault = Fault(case, _thinned(blamed))
    found = next((one for look in (by_terms.nothing, by_constants.constant_factor, by_constants.odd_factor)
                  for one in look(fault) if _holds(one, blamed)), None)  # fmt: skip
    advice = (
        f"it has {blamed.numbers.got.numel():,} elements; check a smaller batch or layer, where the cause is looked for"
    )
    return told(row, fault, found, advice, worst(blamed.numbers.got, blamed.numbers.expected))


def _thinned(blamed: Blame) -> Blame:
    numbers = blamed.numbers
    at = evenly(numbers.got.numel(), _SAMPLE, numbers.got.device)
    got, expected, allowed, fine = (
        one.flatten()[at] for one in (numbers.got, numbers.expected, numbers.yardstick.allowed, numbers.yardstick.fine)
    )
    yardstick = replace(numbers.yardstick, allowed=allowed, fine=fine, undoubted=None)
    return replace(blamed, numbers=numbers._replace(got=got, expected=expected, yardstick=yardstick))


def _holds(finding: Finding, blamed: Blame) -> bool:
    """Whether what the finding says of some numbers is so of all."""
    factor, numbers = finding.factor or 0.0, blamed.numbers
    parts = blocks(numbers.got, numbers.expected, numbers.yardstick.allowed)
    return all(bool(((got - factor * expected).abs() <= allowed).all()) for got, expected, allowed in parts)
