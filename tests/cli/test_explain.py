"""`backproof explain`: a cause, the list of them, and what is no cause."""

import json
import subprocess
import sys

import pytest

from backproof.cli import main
from backproof.proof.report.registry import ENTRIES, entry_of


def test_a_cause_is_explained_in_the_width_of_a_terminal_with_an_example(capsys):
    assert main(["explain", "F6"]) == 0
    out = capsys.readouterr().out
    entry = entry_of("F6")
    assert out.startswith("F6: A term is dropped, or counted twice\n")
    flat = " ".join(out.split())
    assert all(text in flat for text in (entry.what, entry.why, entry.mend))
    assert max(map(len, out.splitlines())) <= 80
    assert out.endswith("".join(f"    {line}".rstrip() + "\n" for line in entry.wrong.splitlines()))


def test_small_letters_will_do(capsys):
    assert main(["explain", "f17"]) == 0
    assert capsys.readouterr().out.startswith("F17: ")


def test_alone_it_lists_all_causes(capsys):
    assert main(["explain"]) == 0
    *lines, empty, last = capsys.readouterr().out.splitlines()
    assert [line.split(maxsplit=1) for line in lines] == [[entry.cause, entry.title] for entry in ENTRIES]
    assert (empty, last) == ("", "backproof explain F6 tells what one of them is, why it hurts and how to mend it.")


def test_json_holds_both_programs(capsys):
    assert main(["explain", "F6", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    entry = entry_of("F6")
    assert record == {
        "cause": "F6",
        "title": entry.title,
        "what": entry.what,
        "why": entry.why,
        "mend": entry.mend,
        "wrong": entry.wrong,
        "right": entry.right,
    }
    assert main(["explain", "--json"]) == 0
    records = json.loads(capsys.readouterr().out)
    assert [one["cause"] for one in records] == [entry.cause for entry in ENTRIES]
    assert records[5] == record


def test_an_unknown_cause_is_one_sentence(capsys):
    assert main(["explain", "F99"]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    said = "backproof: There is no cause F99 (is F9 meant?); there are F1 to F17, and `backproof explain` lists them."
    assert shown.err.split() == said.split()


@pytest.mark.parametrize("arguments", [["explain"], ["explain", "F6"], ["explain", "F6", "--json"]])
def test_it_answers_without_pytorch(arguments: list[str]):
    code = f"import sys; from backproof.cli import main; main({arguments}); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL).returncode == 0


def test_an_output_of_few_letters_is_enough():
    code = "from backproof.cli import main; [main(['explain', f'F{n}']) for n in range(1, 18)]"
    environment = {"PYTHONIOENCODING": "ascii"}
    assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, env=environment).returncode == 0
