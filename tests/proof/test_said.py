"""The prover says today what it said before: of right programs and of wrong ones, word for word."""

from __future__ import annotations

from functools import cache

import pytest
from figures import differences
from said import PAGES, Program, page, programs

ALL = list(programs())
_read = cache(page)


@pytest.mark.parametrize("program", ALL, ids=lambda one: f"{one.page}: {one.title}")
def test_the_report_reads_as_before(program: Program) -> None:
    before = _read(program.page).get(program.title)
    assert before is not None, "no report is kept for it; run tests/support/said.py"
    assert not differences(program.said(), before), "if this is meant, run tests/support/said.py"


def test_every_page_is_of_a_program() -> None:
    kept = {(path.stem, title) for path in PAGES.glob("*.txt") for title in page(path.stem)}
    assert kept == {(program.page, program.title) for program in ALL}
