"""The one file that decides: every line of its table, from the numbers to the verdict."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.proof.report.rows import Row, Verdict
from backproof.proof.verdict.decide import Known, Numbers, of_numbers, of_value, prevailing, row_of, ruled
from backproof.proof.verdict.yardstick import Yardstick

ALLOWED = 1e-3
RIGHT = torch.tensor([1.0, -2.0, 3.0, 0.5])


def numbers(
    got: Tensor,
    expected: Tensor = RIGHT,
    autograds: Tensor | None = None,
    roots: dict[str, Verdict | None] | None = None,
    as_used: Tensor | None = None,
) -> Numbers:
    allowed = torch.full_like(got, ALLOWED)
    own = expected if autograds is None else autograds
    return Numbers(got, expected, own, Yardstick(allowed, allowed, 1.0, 1e-7), roots or {}, as_used)


WRONG_ABOVE: dict[str, Verdict | None] = {"above": Verdict.WRONG}
OTHER = RIGHT.flip(0)


@pytest.mark.parametrize(
    ("given", "known"),
    [
        (numbers(RIGHT.clone()), Known.EQUAL_BITS),
        (numbers(RIGHT + 0.9 * ALLOWED), Known.EQUAL),
        (numbers(RIGHT + 1.1 * ALLOWED), Known.DIFFERS),
        (numbers(RIGHT * float("nan")), Known.NOT_FINITE),
        (numbers(RIGHT, RIGHT / 0), Known.NOT_FINITE_ANYWAY),
        (numbers(RIGHT, autograds=OTHER, roots=WRONG_ABOVE), Known.HEIR),
        (numbers(2 * RIGHT, OTHER, RIGHT, {"above": Verdict.SHAPE}), Known.BEHIND_A_SHAPE),
        (numbers(2 * RIGHT, OTHER, RIGHT, WRONG_ABOVE), Known.DIFFERS),
        (numbers(RIGHT, 2 * RIGHT, OTHER, WRONG_ABOVE, as_used=RIGHT), Known.AS_USED),
        (numbers(torch.zeros(4), torch.full((4,), ALLOWED / 2)), Known.NOISE),
        (numbers(1.9 * ALLOWED * torch.ones(4), torch.zeros(4)), Known.NOISE),
        (numbers(2.1 * ALLOWED * torch.ones(4), torch.zeros(4)), Known.DIFFERS),
        (numbers(1.9 * ALLOWED * torch.ones(4), torch.zeros(4), roots=WRONG_ABOVE), Known.DIFFERS),
    ],
)
def test_what_the_numbers_say(given: Numbers, known: Known) -> None:
    assert of_numbers(given).known is known


def test_who_is_at_fault_and_who_suffers() -> None:
    assert of_numbers(numbers(RIGHT, autograds=OTHER, roots=WRONG_ABOVE)).roots == ("above",)
    assert of_numbers(numbers(RIGHT.clone(), roots=WRONG_ABOVE)).roots == ()  # right by value: nothing is handed on
    used = of_numbers(numbers(RIGHT, 2 * RIGHT, OTHER, WRONG_ABOVE, as_used=RIGHT))
    assert used.as_used and used.roots == ("above",)
    right_as_used = of_numbers(numbers(RIGHT, 2 * RIGHT, RIGHT, WRONG_ABOVE, as_used=RIGHT))
    assert right_as_used.known is Known.EQUAL_BITS and right_as_used.as_used and right_as_used.roots == ()


def test_a_line_that_did_not_read_the_wrong_gradient_stands_alone() -> None:
    collapsed = numbers(RIGHT.clone(), OTHER, RIGHT, WRONG_ABOVE)
    assert of_numbers(collapsed).known is Known.EQUAL_BITS
    undone = numbers(RIGHT.clone(), 2 * RIGHT, RIGHT, WRONG_ABOVE)  # also where a factor 2 above may be undone here
    assert of_numbers(undone) == (Known.EQUAL_BITS, (), False, True)
    nothing = numbers(torch.zeros(4), RIGHT, torch.zeros(4), WRONG_ABOVE)  # a zero is right by chance
    assert of_numbers(nothing).known is Known.DIFFERS
    nothing_came = numbers(RIGHT.clone(), torch.zeros(4), RIGHT, WRONG_ABOVE)
    assert of_numbers(nothing_came).known is Known.EQUAL_BITS


@pytest.mark.parametrize(("count", "known"), [(12, Known.EQUAL_BITS), (11, Known.NOISE)])
def test_rounding_equal_to_the_last_bit_in_twelve_elements_is_a_proof(count: int, known: Known) -> None:
    """Each element of a sum that cancels has a few bits to agree in by chance: in twelve of them it is no chance."""
    noise = torch.zeros(40)
    noise[:count] = torch.arange(1, count + 1) * 2.0**-20
    assert of_numbers(numbers(noise.clone(), noise)).known is known


@pytest.mark.parametrize(("count", "known"), [(12, Known.NEGATED_NOISE), (11, Known.NOISE)])
def test_rounding_that_is_negated_in_twelve_different_elements_is_a_wrong_sign(count: int, known: Known) -> None:
    noise = torch.zeros(40)
    noise[:count] = torch.arange(1, count + 1) * 2.0**-20
    assert of_numbers(numbers(-noise, noise)).known is known


def test_rounding_that_is_another_is_no_wrong_sign() -> None:
    noise = torch.arange(1, 41) * 2.0**-20
    assert of_numbers(numbers(2 * noise, noise)).known is Known.NOISE


def test_one_rounding_spread_over_many_elements_may_have_either_sign() -> None:
    noise = 2.0**-20 * torch.pi * torch.arange(1, 41)  # all digits: a rest times something
    assert of_numbers(numbers(-noise, noise)).known is Known.NOISE


def test_the_value_of_an_output() -> None:
    assert of_value(RIGHT.clone(), RIGHT, fine=False) is Known.EQUAL_BITS
    assert of_value(RIGHT + 1, RIGHT, fine=True) is Known.EQUAL
    assert of_value(RIGHT + 1, RIGHT, fine=False) is Known.VALUE_DIFFERS


def test_a_row_takes_verdict_and_fault_from_the_table() -> None:
    for known in Known:
        row = row_of("x", known)
        assert (row.verdict, row.culprit) == (known.verdict, known.at_fault)
        assert not (row.culprit and row.ok)
    heir = Row("x", Verdict.INHERITED, inherited_from=("y",))
    assert ruled(heir, Known.SHOWN_BY_A_REPLAY) == Row("x", Verdict.WRONG, culprit=True)
    assert ruled(heir, Known.READ_DAMAGE) == heir  # still inherited, and from the same
    assert ruled(Row("x", Verdict.WRONG, culprit=True), Known.READ_DAMAGE, inherited_from=("y",)) == heir


def test_no_two_lines_of_the_table_mean_the_same() -> None:
    assert len({known.meaning for known in Known}) == len(Known)


WRONG = row_of("x", Known.DIFFERS)
PROVED = row_of("x", Known.EQUAL)
NOISE = row_of("x", Known.NOISE)


@pytest.mark.parametrize(
    ("before", "now", "knows_better", "kept"),
    [
        (None, PROVED, False, PROVED),
        (PROVED, WRONG, False, WRONG),
        (WRONG, row_of("x", Known.RAISES), False, WRONG),
        (WRONG, row_of("x", Known.RAISES, cause="F3"), True, row_of("x", Known.RAISES, cause="F3")),
        (WRONG, PROVED, False, WRONG),
        (NOISE, PROVED, False, row_of("x", Known.EQUAL)),
        (NOISE, row_of("x", Known.HEIR), False, NOISE),
        (PROVED, NOISE, False, PROVED),
    ],
)
def test_what_prevails_of_two_runs(before: Row | None, now: Row, knows_better: bool, kept: Row) -> None:
    assert prevailing(before, now, knows_better=knows_better) == kept
