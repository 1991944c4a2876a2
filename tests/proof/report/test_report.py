from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.report import GradientError, Report
from backproof.proof.report.rows import Evidence, Row, Verdict, finding
from backproof.proof.report.words import apart, listed, number, wrapped

EVIDENCE = Evidence((17, 42), 2.31e-03, 1.12e-03, torch.zeros(2), torch.zeros(2))
MESSAGE = """dbndiff is wrong: the share that comes back through bndiff2 is missing.
  bndiff is read by bnraw and bndiff2; your gradient equals the share of bnraw alone (to rounding).
  mend: add what flows back from dbndiff2 through bndiff2 = bndiff**2"""


def report() -> Report:
    heirs = [
        Row(name, Verdict.INHERITED, max_difference=1e-3, inherited_from=("bndiff",), message=f"d{name}: inherited")
        for name in ("hprebn", "embcat", "emb", "C", "W1", "b1")
    ]
    culprit = Row("bndiff", Verdict.WRONG, "F6", MESSAGE, max_difference=1.19e-3, culprit=True, evidence=EVIDENCE)
    return Report((Row("bnraw", Verdict.EXACT, exact=True, approximate=True, max_difference=0.0), culprit, *heirs))


def test_a_report_names_its_culprits_and_never_an_inherited_row() -> None:
    assert not report().ok
    assert [row.name for row in report().culprits] == ["bndiff"]
    assert report()["bndiff"].cause == "F6"
    with pytest.raises(KeyError):
        report()["nobody"]


def test_raise_if_wrong_raises_the_report() -> None:
    with pytest.raises(GradientError, match="the share that comes back through bndiff2 is missing"):
        report().raise_if_wrong()
    Report((Row("x", Verdict.ROUNDING),)).raise_if_wrong()


def test_str_fits_80_columns_and_folds_what_is_inherited() -> None:
    text = str(report())
    assert max(map(len, text.splitlines())) <= 80
    assert "! bndiff  wrong         F6     1.19e-03" in text
    heirs = "dhprebn, dembcat, demb, ... (6 gradients): inherited from dbndiff; these lines\n  are right."
    assert heirs in text
    assert text.endswith("1 of 8 gradients proved, 1 at fault, 6 inherited.")


def test_the_causes_are_told_by_their_titles_once_each() -> None:
    row = report()["bndiff"]
    rows = (row, replace(row, name="x", cause="F17"), replace(row, name="y", cause=None, candidates=("F15", "F6")))
    text = str(Report(rows))
    told = "\n".join(
        [
            "",
            "F6: A term is dropped, or counted twice (backproof explain F6).",
            "F15: A gradient stands for a value, a value for a gradient, or one gradient for",
            "  another (backproof explain F15).",
            "F17: There is NaN or infinity where a number belongs (backproof explain F17).",
            "",
        ]
    )
    assert told in text
    assert "backproof explain" not in str(Report((Row("x", Verdict.WRONG, culprit=True, message="dx is wrong."),)))


@pytest.mark.parametrize(("applicability", "word"), [(Applicability.MENDS, "mend"), (Applicability.LOOK, "next")])
def test_a_finding_says_what_its_advice_is_worth(applicability: Applicability, word: str) -> None:
    row = Row("x", Verdict.WRONG, evidence=EVIDENCE, candidates=("F6", "F12"))
    found = finding(
        row, Cause.WRONG_SIGN, "has the wrong sign", next="flip it", certainty=Certainty.REPLAYED,
        applicability=applicability,
    )  # fmt: skip
    assert found.message.splitlines() == ["dx has the wrong sign.", f"  {EVIDENCE}", f"  {word}: flip it"]
    assert (found.cause, found.certainty, found.applicability) == ("F13", "shown by a replay", applicability)
    assert not found.candidates
    unknown = finding(row, None, "has the wrong sign", next="flip it")
    assert (unknown.cause, unknown.certainty, unknown.applicability) == (None, None, Applicability.LOOK)


def test_long_names_do_not_break_the_table() -> None:
    rows = (Row("a" * 90, Verdict.NOT_TESTABLE), Row("b", Verdict.INHERITED, inherited_from=("c" * 70,)))
    assert max(map(len, str(Report(rows)).splitlines()[:3])) <= 80


@pytest.mark.parametrize(
    ("verdict", "cause", "culprit", "ok"),
    [
        (Verdict.EXACT, None, False, True),
        (Verdict.ROUNDING, None, False, True),
        (Verdict.NOT_TESTABLE, None, False, True),
        (Verdict.NOT_TESTABLE, "F3", False, False),
        (Verdict.INHERITED, None, False, False),
        (Verdict.UNREACHABLE, None, False, False),
        (Verdict.NOT_FINITE, "F17", False, False),
        (Verdict.WRONG, None, True, False),
    ],
)
def test_what_is_held_against_a_gradient(verdict: Verdict, cause: str | None, culprit: bool, ok: bool) -> None:
    assert Row("x", verdict, cause, culprit=culprit).ok is ok


def test_equal_remarks_are_folded_into_one() -> None:
    rows = [Row(name, Verdict.ROUNDING, message=f"d{name}: exact, given the rounding above.") for name in "abc"]
    assert "da, db and dc: exact, given the rounding above." in str(Report(tuple(rows)))


def test_evidence_shows_enough_digits_to_see_a_difference() -> None:
    assert str(EVIDENCE) == "largest difference 1.19e-03 at [17, 42]: got 2.31e-03, expected 1.12e-03"
    assert apart(1.0, 1.0 + 1e-6) == ("1.000000e+00", "1.000001e+00")
    assert apart(0.0, 1e-9) == ("0", "1.00e-09")
    nan = Evidence((3,), float("nan"), 2.0, torch.zeros(1), torch.zeros(1))
    assert str(nan) == "first at [3]: got nan, expected 2.00e+00"


def test_numbers_and_lists_in_words() -> None:
    assert (number(None), number(0.0), number(0.00119)) == ("-", "0", "1.19e-03")
    assert listed(("a",)) == "a"
    assert listed(("a", "b", "c")) == "a, b and c"
    assert listed(tuple("abcdef")) == "a, b, c, ... (6 gradients)"
    assert wrapped("  next: " + "word " * 20).splitlines()[1].startswith("    word")


def test_reports_and_rows_are_short_in_a_debugger() -> None:
    right = Row("w", Verdict.EXACT, exact=True, approximate=True, max_difference=0.0)
    wrong = Row("bndiff", Verdict.WRONG, "F6", MESSAGE, max_difference=1.19e-3, culprit=True, evidence=EVIDENCE)
    assert repr(right) == "Row(dw: exact)"
    assert repr(wrong) == "Row(dbndiff: wrong, F6, max difference 0.00119)"
    assert repr(Report((right, wrong))) == "Report(ok=False, 1 of 2 proved, at fault: bndiff F6)"
    assert repr(Report((right,))) == "Report(ok=True, 1 of 1 proved)"
