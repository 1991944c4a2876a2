"""Every cause has its entry, in a file that is called after it, and is found by its code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from backproof.proof.report import known, registry
from backproof.proof.report.cause import RIGHT, Cause, Entry, mended
from backproof.proof.report.registry import ENTRIES, UnknownCauseError, entry_of, named_by

EACH = pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.cause)


def test_every_cause_has_one_entry_in_the_order_of_the_codes() -> None:
    assert [entry.cause for entry in ENTRIES] == list(Cause)
    assert [cause.value for cause in Cause] == [f"F{number}" for number in range(1, len(Cause) + 1)]


def test_every_file_of_an_entry_is_called_after_its_cause_and_is_listed() -> None:
    files = {path.stem for path in Path(known.__path__[0]).glob("*.py")} - {"__init__"}
    assert files == {f"f{int(cause[1:]):02}_{cause.name.lower()}" for cause in Cause}


def test_a_cause_is_its_code() -> None:
    assert Cause.DROPPED_TERM == "F6" and f"{Cause.DROPPED_TERM}" == "F6"
    assert {"F6": 1}[Cause.DROPPED_TERM] == 1


@EACH
def test_the_texts_are_sentences_that_every_terminal_can_show(entry: Entry) -> None:
    texts = (entry.what, entry.why, entry.mend)
    assert all(text.endswith(".") and "  " not in text for text in texts)
    assert entry.title and not entry.title.endswith(".") and len(entry.title) <= 90
    assert all(text.isascii() for text in (entry.title, *texts, entry.example))


def test_no_two_entries_say_the_same() -> None:
    for field in ("title", "what", "why", "mend", "example"):
        assert len({getattr(entry, field) for entry in ENTRIES}) == len(ENTRIES)


@pytest.mark.parametrize("code", ["F6", "f6", Cause.DROPPED_TERM])
def test_an_entry_is_found_by_its_code_in_capitals_or_not(code: str) -> None:
    assert entry_of(code).cause is Cause.DROPPED_TERM


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("F99", r"^There is no cause F99 \(is F9 meant\?\); there are F1 to F17, and `backproof explain` lists"),
        ("F66", r"^There is no cause F66 \(is F6 or F16 meant\?\); there are F1 to F17"),
        ("sign", r"^There is no cause sign; there are F1 to F17, and `backproof explain` lists them\.$"),
        ("", r"^There is no cause ''; there are F1 to F17"),
    ],
)
def test_what_is_no_cause_is_said_in_a_sentence(code: str, sentence: str) -> None:
    with pytest.raises(UnknownCauseError, match=sentence):
        entry_of(code)


def test_the_causes_that_rows_name_are_told_once_each_in_order() -> None:
    assert [entry.cause for entry in named_by(["F16", "F2", "F16", "F99"])] == ["F2", "F16"]


def test_only_the_wrong_lines_change_when_an_example_is_mended() -> None:
    program = f"a = 1\n    b = 2{RIGHT}b = (3,)  # why\nc = 3  # left: 4\n"
    assert mended(program) == "a = 1\n    b = (3,)  # why\nc = 3  # left: 4\n"


def test_the_registry_is_read_without_pytorch() -> None:
    code = f"import sys, {registry.__name__}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
