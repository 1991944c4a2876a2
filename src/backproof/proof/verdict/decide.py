"""Who decides that a gradient is wrong? This file, and no other: elsewhere it is gathered what is known.

Each gradient is compared twice, with automatic differentiation's own and with what its line should have given for
the upstream gradients that the user really had (the forced pass of `blame.py`):

| autograd's own | what the user's upstream gradients should give | verdict                       |
| -------------- | ---------------------------------------------- | ----------------------------- |
| equal          | equal                                          | exact, or rounding            |
| differs        | equal                                          | inherited                     |
| either         | differs                                        | wrong: this line is the fault |

`Known` is the whole table: that one, what is known before a number is read, and what replays add.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backproof.proof.report.rows import PROVED, Row, Verdict
from backproof.proof.verdict.blocks import blocks
from backproof.proof.verdict.yardstick import Yardstick, outside, within

# By value alone, in eps of the largest element: right gradients of the published network with up to 4,096 examples are
# within 6, and ten times that is nobody's fault.
_LEFT = 64
_NEAR = 1e-3  # terms that cancel to a thousandth leave so much rounding in float32; faults are mostly larger
_FINGERPRINT = 12  # elements of pure rounding that, equal to the last bit, cannot be so by chance
_NEAR_NOISE = 2  # times what is allowed: in bfloat16, sums that cancel reached 1.6 of it, once in 10,000 passes


class Known(Enum):
    """What may be known of a gradient; the verdict that it makes, whether the line is at fault, and its meaning."""

    # before a number is read
    NO_VALUE = Verdict.MISSING, True, "there is no tensor of its value's name"
    COMPLEX = Verdict.NOT_TESTABLE, False, "its value is complex, and only real ones are judged"
    INTEGER = Verdict.DTYPE, False, "its value holds integers, which have no gradient"
    NO_GRADIENT_OF_INTEGERS = Verdict.NOT_TESTABLE, False, "its value holds integers, and it has none, as is right"
    SPARSE = Verdict.NOT_TESTABLE, False, "its value is sparse"
    NOT_ORDINARY = Verdict.DTYPE, True, "it is nested or quantized, and its value is not"
    NO_GRAPH = Verdict.UNREACHABLE, False, "automatic differentiation does not follow its value"
    UNUSED_AND_ZERO = Verdict.NOT_TESTABLE, False, "the output does not depend on its value, and it is zero or none"
    UNUSED = Verdict.UNREACHABLE, False, "the output does not depend on its value, since what reads that is unused too"
    UNUSED_ITSELF = Verdict.UNREACHABLE, True, "nothing on the way to the output reads its value"
    OF_ANOTHER_PASS = Verdict.UNREACHABLE, False, "the output was not computed from its value, which may be left over"
    ABSENT = Verdict.MISSING, True, "there is none, and the output depends on its value"
    BLOCKED = Verdict.NOT_TESTABLE, False, "autograd cannot go back past a value that was changed in place"
    OTHER_DEVICE = Verdict.DTYPE, True, "it is on another device than its value"
    OTHER_SHAPE = Verdict.SHAPE, True, "its shape is not its value's"
    SHAPE_FROM_ABOVE = Verdict.INHERITED, False, "its shape is what a gradient of a wrong shape above broadcasts to"
    OTHER_DTYPE = Verdict.DTYPE, True, "its dtype is not its value's"
    NOTHING_OF_AUTOGRADS = Verdict.NOT_TESTABLE, False, "automatic differentiation has none to compare it with"
    EMPTY = Verdict.NOT_TESTABLE, False, "it has no element"
    # the numbers, in the order in which they are looked at
    NOT_FINITE = Verdict.NOT_FINITE, True, "NaN or infinity where its line should have given a number"
    NOT_FINITE_ANYWAY = Verdict.NOT_FINITE, False, "automatic differentiation's own is not finite either"
    AS_USED = Verdict.INHERITED, False, "right for an upstream gradient that was changed in place afterwards"
    BEHIND_A_SHAPE = Verdict.INHERITED, False, "differs, and cannot be judged behind a gradient of a wrong shape"
    DIFFERS = Verdict.WRONG, True, "its line should have given other numbers"
    HEIR = Verdict.INHERITED, False, "what its line should have given; a gradient it is computed from is wrong"
    NEGATED_NOISE = Verdict.WRONG, True, "the rounding left of a zero, negated bit for bit"
    NOISE = Verdict.NOT_TESTABLE, False, "zero, or the rounding left of one, which a wrong line might give as well"
    EQUAL_BITS = Verdict.EXACT, False, "automatic differentiation's own, bit for bit"
    EQUAL = Verdict.ROUNDING, False, "automatic differentiation's own, to rounding"
    # beside the .grad that backward() left
    NOT_WHAT_IS_LEFT = Verdict.WRONG, False, "not what backward() left, and without a graph no line can be blamed"
    NEAR_WHAT_IS_LEFT = Verdict.NOT_TESTABLE, False, "near what backward() left, but not as near as rounding usually is"
    # beside a plain reference
    VALUE_MISFIT = Verdict.SHAPE, True, "an output of the reference is missing, or has another shape"
    VALUE_DTYPE = Verdict.DTYPE, True, "an output has another dtype than the reference's"
    VALUE_DIFFERS = Verdict.WRONG, True, "an output is not what the reference computes"
    NOT_COMPARED = Verdict.NOT_TESTABLE, False, "only one side depends on its value, so nothing is there to compare"
    AS_PRECISE = Verdict.ROUNDING, False, "as close to float64 as the reference's own gradient"
    SUBGRADIENT = Verdict.ROUNDING, False, "right beside kinks and ties, and one of several right gradients at them"
    BESIDE_KINKS = Verdict.NOT_TESTABLE, False, "right beside ties that a replay has made, and no gradient at them"
    WITHIN_SPREAD = Verdict.ROUNDING, False, "it differs from call to call, by no more than was allowed"
    # what else explains the numbers
    PART_OF_A_TWIN = Verdict.NOT_TESTABLE, False, "one tensor has two names, and this is the share of one of them"
    CHANGED_SINCE = Verdict.NOT_TESTABLE, False, "a tensor that it depends on was changed after the output was computed"
    OF_THE_STEP_BEFORE = Verdict.ROUNDING, False, "right for what its value's own operation takes, under the same name"
    NAME_REUSED = Verdict.NOT_TESTABLE, False, "its name may stand for another tensor than its value's does"
    READ_DAMAGE = Verdict.INHERITED, False, "right for what it read, which another line had changed in place"
    SHOWN_BY_A_REPLAY = Verdict.WRONG, True, "a second run, under other conditions, shows that its line is wrong"
    RAISES = Verdict.WRONG, True, "the backward pass raises under some conditions"

    def __init__(self, verdict: Verdict, at_fault: bool, meaning: str) -> None:
        self.verdict, self.at_fault, self.meaning = verdict, at_fault, meaning


def row_of(name: str, known: Known, **fields: Any) -> Row:
    """A new row with the verdict that `known` makes."""
    return Row(name, known.verdict, culprit=known.at_fault, **fields)


def ruled(row: Row, known: Known, **fields: Any) -> Row:
    """`row` with the verdict that `known` makes in place of its own, and other fields."""
    roots = row.inherited_from if known.verdict in (Verdict.INHERITED, Verdict.UNREACHABLE) else ()
    return replace(row, **{"verdict": known.verdict, "culprit": known.at_fault, "inherited_from": roots, **fields})


def acquitted(row: Row, known: Known, **fields: Any) -> Row:
    """The row of a culprit that is none, by what is `known`; all that was said against it is gone."""
    charges = {"cause": None, "evidence": None, "candidates": (), "certainty": None, "applicability": None}
    return ruled(row, known, **(charges | fields))


def prevailing(before: Row | None, now: Row, *, knows_better: bool) -> Row:
    """Of what was known of a gradient and what a replay says now, what holds.

    The first to show a fault keeps it, unless a later one `knows_better` why; a proof counts where nothing could be
    tested before; anything else that a replay finds right is no news.
    """
    if before is None:
        return now
    if now.culprit and (not before.culprit or knows_better):
        return now
    if before.verdict is Verdict.NOT_TESTABLE and now.verdict in PROVED:
        return replace(before, verdict=now.verdict)
    return before


class Numbers(NamedTuple):
    """A gradient that can be compared, and all that it is compared with; all tensors have its value's shape."""

    got: Tensor
    expected: Tensor  # what its line should have given for the upstream gradients that were there
    autograds: Tensor
    yardstick: Yardstick
    roots: Mapping[str, Verdict | None]  # the culprits that its upstream gradients are, or suffer from
    as_used: Tensor | None = None  # `expected`, had no upstream gradient been changed in place after use


class Decision(NamedTuple):
    """What is known of the numbers, the culprits that they suffer from, and whether they are right only `as_used`.

    `alone` says that they are right though the gradients that their line should have used are not.
    """

    known: Known
    roots: tuple[str, ...] = ()
    as_used: bool = False
    alone: bool = False


def of_numbers(numbers: Numbers) -> Decision:
    """The table's second part, from top to bottom."""
    got, expected, autograds, yardstick, suffered, as_used = numbers
    roots = tuple(suffered)
    if any(bool((torch.isfinite(right) & ~torch.isfinite(own)).any()) for own, right in blocks(got, expected)):
        return Decision(Known.NOT_FINITE, roots)
    if not roots and not _all_finite(expected):
        return Decision(Known.NOT_FINITE_ANYWAY)
    parts = blocks(got, expected, yardstick.allowed)
    if any(bool((outside(*part) & torch.isfinite(part[1])).any()) for part in parts):
        if as_used is not None and within(got, as_used, yardstick):
            if within(got, autograds, yardstick):
                return Decision(_equal(got, autograds), as_used=True, alone=bool(roots))
            return Decision(Known.AS_USED, roots, as_used=True)
        if roots and _is_right_all_the_same(got, autograds, yardstick):
            return Decision(_equal(got, autograds), alone=True)
        if not roots and proves_nothing(got, expected, yardstick) and _near_noise(got, yardstick):
            return Decision(Known.NOISE)
        behind = Verdict.SHAPE in suffered.values()
        return Decision(Known.BEHIND_A_SHAPE if behind else Known.DIFFERS, roots)
    if roots and not within(got, autograds, yardstick):
        return Decision(Known.HEIR, roots)
    if proves_nothing(got, expected, yardstick):
        return Decision(Known.NEGATED_NOISE, roots) if _negated_noise(got, expected) else Decision(Known.NOISE)
    return Decision(_equal(got, autograds))


def is_plainly_exact(got: Tensor, expected: Tensor, autograds: Tensor) -> bool:
    """Whether `of_numbers` says that the bits are equal whatever is allowed, so that no yardstick is needed."""
    if not torch.equal(got, expected) or not torch.equal(got, autograds) or not _all_finite(got):
        return False
    return int(torch.count_nonzero(got)) >= min(_FINGERPRINT, got.numel()) > 0


def _all_finite(numbers: Tensor) -> bool:
    return all(bool(torch.isfinite(part).all()) for (part,) in blocks(numbers))


def of_value(got: Tensor, expected: Tensor, *, fine: bool) -> Known:
    """An output of a kernel beside its reference's; `fine` says whether the difference is one of rounding."""
    if torch.equal(got, expected):
        return Known.EQUAL_BITS
    return Known.EQUAL if fine else Known.VALUE_DIFFERS


def of_retained(got: Tensor, kept: Tensor, largest: float) -> Known:
    """A gradient beside what backward() left, where no graph tells how large its terms were.

    They may be as large as the `largest` element of all gradients: one that is zero but for rounding proves nothing.
    """
    if got.shape != kept.shape:
        return Known.OTHER_SHAPE
    if got.dtype != kept.dtype or got.device != kept.device:
        return Known.OTHER_DTYPE
    if torch.equal(got, kept):
        return Known.EQUAL_BITS
    difference, size = (got - kept).abs().max(), kept.abs().max()
    rounding = _LEFT * torch.finfo(kept.dtype).eps
    if bool(difference <= rounding * size):
        return Known.EQUAL
    near = bool(difference <= max(_NEAR * float(size), rounding * largest))
    return Known.NEAR_WHAT_IS_LEFT if near else Known.NOT_WHAT_IS_LEFT


def _equal(got: Tensor, autograds: Tensor) -> Known:
    return Known.EQUAL_BITS if torch.equal(got, autograds) else Known.EQUAL


def _is_right_all_the_same(got: Tensor, autograds: Tensor, yardstick: Yardstick) -> bool:
    """Right by value although an upstream gradient is wrong: computed without it, as a collapsed formula is.

    A second fault that makes good for the first looks the same. Then the first is found, and the second as soon as
    that is mended; a right line is not accused in the meantime.
    """
    return within(got, autograds, yardstick) and bool((autograds.abs() > yardstick.allowed).any())


def proves_nothing(got: Tensor, expected: Tensor, yardstick: Yardstick) -> bool:
    """A zero, or the rounding left of one, would look the same with a term missing or a sign flipped.

    Unless the rounding itself, element for element and to the last bit, is autograd's.
    """
    if any(bool((right.abs() > allowed).any()) for right, allowed in blocks(expected, yardstick.allowed)):
        return False
    return not (torch.equal(got, expected) and int((expected != 0).sum()) >= min(_FINGERPRINT, expected.numel()))


def _near_noise(got: Tensor, yardstick: Yardstick) -> bool:
    """Whether a gradient that should be zero is no clearer than a chance of rounding: nothing to accuse a line of."""
    return not any(bool((one.abs() > _NEAR_NOISE * allowed).any()) for one, allowed in blocks(got, yardstick.allowed))


def _negated_noise(got: Tensor, expected: Tensor) -> bool:
    """The rounding left of a zero, bit for bit, negated, in many elements that were rounded each for itself.

    What is left when a sum cancels has few binary digits. A number with all its digits is such a rest times
    something: one rounding, spread over many elements, whose sign is a matter of chance.
    """
    if not torch.equal(got, -expected):
        return False
    digits = round(-math.log2(torch.finfo(expected.dtype).eps)) // 2
    mantissa = torch.frexp(expected.double()).mantissa * 2**digits
    rests = expected[(mantissa != 0) & (mantissa == mantissa.round())]
    return len(rests.abs().unique()) >= _FINGERPRINT
