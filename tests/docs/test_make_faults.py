"""The page of faults is what its examples report today, and each example is reported for what it is."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_faults", DOCS / "make_faults.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_faults = _load()


def test_every_cause_has_its_place_in_order() -> None:
    assert [fault.code for fault in make_faults.FAULTS] == [f"F{number}" for number in range(1, 18)]


@pytest.mark.parametrize("fault", make_faults.FAULTS, ids=lambda fault: fault.code)
def test_an_example_is_reported_for_what_it_is(fault: Any) -> None:
    assert fault.example.count("# wrong") == 1 or fault.code == "F4"
    report = make_faults.reported(fault)
    assert not report.ok
    assert {row.cause for row in report.culprits} == {fault.code}, str(report)
    assert max(map(len, str(report).splitlines())) <= 80


@pytest.mark.parametrize("fault", make_faults.FAULTS, ids=lambda fault: fault.code)
def test_the_page_shows_the_example_and_its_report_word_for_word(fault: Any) -> None:
    page = make_faults.PAGE.read_text(encoding="utf-8")
    assert fault.example.strip() in page
    again = "the page is out of date: run python docs/make_faults.py"
    assert f"```text\n{make_faults.reported(fault)}\n```" in page, again


def test_the_whole_page_is_what_the_script_writes() -> None:
    assert make_faults.page() == make_faults.PAGE.read_text(encoding="utf-8")
