"""What several replays say of one value, in one row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backproof.proof.replays.ledger import Ledger, factor_of, whole_factor
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Certainty
from backproof.proof.report.rows import Evidence, Row
from backproof.proof.verdict.decide import Known, row_of

PROVED = row_of("x", Known.EQUAL)
NOISE = row_of("x", Known.NOISE)
NUMBERS = torch.tensor([1.0, -2.0, 4.0], dtype=torch.float64)


def wrong(cause: Cause | None = None, factor: float = 3.0) -> Row:
    evidence = Evidence((2,), 4 * factor, 4.0, NUMBERS * factor, NUMBERS)
    return row_of("x", Known.DIFFERS, cause=cause, message="dx is wrong.", evidence=evidence)


def merged(before: Row, now: Row) -> Row:
    ledger = Ledger([before])
    ledger.add([now], "size 7")
    return ledger.rows["x"]


def test_a_replay_that_finds_a_fault_is_named() -> None:
    found = merged(PROVED, replace(wrong(Cause.DROPPED_TERM), certainty=Certainty.FITS))
    assert found.replay == "size 7" and found.message == "dx is wrong.\n  shown by the replay: size 7"
    assert found.certainty is Certainty.REPLAYED
    seen = merged(PROVED, replace(wrong(Cause.NO_GRADIENT), certainty=Certainty.SEEN))
    assert seen.certainty is Certainty.SEEN


def test_a_replay_that_proves_what_could_not_be_tested_is_named() -> None:
    found = merged(NOISE, PROVED)
    assert found.verdict is PROVED.verdict and found.replay == "size 7"
    assert found.message == "dx: proved by the replay: size 7"
    ledger = Ledger([])
    ledger.add([PROVED], "size 7")
    assert ledger.rows["x"].replay == "size 7" and not ledger.rows["x"].message


def test_the_first_fault_stands_until_a_replay_knows_its_cause() -> None:
    unknown, dropped = wrong(), wrong(Cause.DROPPED_TERM)
    assert merged(dropped, wrong(Cause.WRONG_SIGN)) is dropped
    assert merged(unknown, wrong()) is unknown
    assert merged(unknown, wrong(Cause.WRONG_SIGN)).cause is Cause.WRONG_SIGN
    assert merged(dropped, PROVED) is dropped


@pytest.mark.parametrize(("factor", "cause"), [(3 * (1 + 0.9e-3), "F12"), (3 * (1 + 1.1e-3), "F8"), (-3.0, "F8")])
def test_a_factor_taken_for_a_size_that_stays_when_the_size_changes_is_a_constant(factor: float, cause: str) -> None:
    """To a thousandth: another size would change it by more."""
    assert merged(wrong(Cause.WRONG_DENOMINATOR), wrong(Cause.CONSTANT_FACTOR, factor)).cause == cause


def test_another_count_is_no_better_knowledge() -> None:
    before = wrong(Cause.WRONG_DENOMINATOR)
    assert merged(before, wrong(Cause.WRONG_DENOMINATOR, 5.0)) is before
    assert merged(before, replace(wrong(Cause.CONSTANT_FACTOR), evidence=None)) is before
    assert merged(replace(before, evidence=None), wrong(Cause.CONSTANT_FACTOR)).cause is Cause.WRONG_DENOMINATOR


@pytest.mark.parametrize(("off", "factor"), [(0.0, 3.0), (0.9e-3, 3.0), (1.2e-3, None)])
def test_a_factor_is_one_where_it_makes_the_whole_gradient(off: float, factor: float | None) -> None:
    """To a thousandth of its size."""
    got = 3 * NUMBERS
    across = torch.tensor([2.0, 1.0, 0.0], dtype=torch.float64)
    got = got + across * (off * got.norm() / across.norm())
    row = replace(wrong(), evidence=Evidence((2,), 12.0, 4.0, got, NUMBERS))
    assert whole_factor(row) == (None if factor is None else pytest.approx(factor, rel=1e-2))


def test_the_factor_of_a_term_counts_before_that_of_the_whole() -> None:
    assert factor_of(wrong()) == pytest.approx(3.0)
    assert factor_of(replace(wrong(), factor=7.0)) == 7.0
    assert factor_of(replace(wrong(), evidence=None)) is None
    shapes = Evidence((), 1.0, 1.0, torch.ones(2), torch.ones(3))
    assert factor_of(replace(wrong(), evidence=shapes)) is None
    zeros = Evidence((), 1.0, 0.0, torch.ones(3), torch.zeros(3))
    assert factor_of(replace(wrong(), evidence=zeros)) is None


def test_who_is_known_unknown_and_counted() -> None:
    rows = [
        wrong(Cause.WRONG_DENOMINATOR),
        replace(wrong(), name="y"),
        replace(wrong(Cause.WRONG_SIGN), name="z"),
        replace(PROVED, name="p"),
    ]
    ledger = Ledger(rows)
    ledger.excuse(replace(PROVED, name="e"))
    assert ledger.known() == {"x", "y", "z", "e"}
    assert ledger.unknown() == {"y"} and ledger.counted() == {"x"}
    ledger.add([replace(wrong(), name="e")], "size 7")
    assert ledger.rows["e"] == replace(PROVED, name="e")  # it suffers from what another line has done
    assert ledger.row("nobody").culprit and ledger.row("p") == rows[3]


def test_remarks_are_taken_once_and_reasons_end_in_one_full_stop() -> None:
    ledger = Ledger([PROVED])
    ledger.note("one")
    ledger.note("one")
    ledger.skip("float64", "it does not run.")
    ledger.skip("size 1", "left out")
    report = ledger.report()
    assert report.notes == ("one",)
    assert report.skipped == ("float64: it does not run.", "size 1: left out.")
    assert report.rows == (PROVED,)
