"""The page of faults is what its examples report today, each for what it is; the right examples are proved."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from figures import differences

from backproof.proof.report.cause import RIGHT, Cause, Entry, mended
from backproof.proof.report.registry import ENTRIES

DOCS = Path(__file__).parents[2] / "docs"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_faults", DOCS / "make_faults.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_faults = _load()
EACH = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.cause)


@EACH
def test_a_wrong_example_is_reported_for_what_it_is(entry: Entry) -> None:
    assert entry.example.count(RIGHT) == 1 or entry.cause is Cause.NO_GRADIENT
    report = make_faults.reported(entry.example)
    assert not report.ok
    assert {row.cause for row in report.culprits} == {entry.cause}, str(report)
    assert max(map(len, str(report).splitlines())) <= 80


@EACH
def test_a_right_example_is_the_same_program_and_is_proved(entry: Entry) -> None:
    wrong, right = entry.wrong.splitlines(), entry.right.splitlines()
    assert RIGHT not in entry.right and len(wrong) == len(right)
    changed = [(a, b) for a, b in zip(wrong, right, strict=True) if a != b]
    assert len(changed) == entry.example.count(RIGHT)
    assert all(a.endswith(RIGHT + b.strip()) and a.index(a.strip()) == b.index(b.strip()) for a, b in changed)
    report = make_faults.reported(mended(entry.example))
    assert report.ok, str(report)
    assert str(report).splitlines()[-1] == f"{len(report.rows)} of {len(report.rows)} gradients proved."


@EACH
def test_the_examples_are_whole_programs_that_print_their_report(
    entry: Entry, capsys: pytest.CaptureFixture[str]
) -> None:
    for program, example in ((entry.wrong, entry.example), (entry.right, mended(entry.example))):
        exec(compile(program, f"<{entry.cause}>", "exec"), {})
        printed, shown = capsys.readouterr().out.splitlines(), str(make_faults.reported(example)).splitlines()
        assert (printed[0], printed[-1]) == (shown[0], shown[-1])


@EACH
def test_the_page_shows_the_example_and_its_report_word_for_word(entry: Entry) -> None:
    page = make_faults.PAGE.read_text(encoding="utf-8")
    assert f"## {entry.cause}: {entry.title}\n" in page
    _, example, rest = page.partition(f"```python\n{entry.example.strip()}\n```\n\n```text\n")
    assert example
    again = "the page is out of date: run python docs/make_faults.py"
    assert differences(str(make_faults.reported(entry.example)), rest.partition("\n```\n")[0]) == [], again


def test_the_whole_page_is_what_the_script_writes() -> None:
    assert differences(make_faults.page(), make_faults.PAGE.read_text(encoding="utf-8")) == []
