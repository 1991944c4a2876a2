"""`backproof prove FILE.py`: exit codes, and the three forms of the report."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from backproof.cli import main

EXAMPLE = Path(__file__).parents[2] / "examples" / "layernorm.py"


@pytest.fixture
def wrong(tmp_path: Path) -> str:
    source = EXAMPLE.read_text(encoding="utf-8")
    line = "ddiff = dxhat / s.std + 2 * s.diff * dsq"
    assert line in source
    path = tmp_path / "wrong.py"
    path.write_text(source.replace(line, "ddiff = dxhat / s.std"), encoding="utf-8")
    return str(path)


def test_a_right_file_is_proved(capsys):
    assert main(["prove", str(EXAMPLE)]) == 0
    assert "9 of 9 gradients proved." in capsys.readouterr().out


def test_a_wrong_file_is_not_and_the_report_names_the_line(capsys, wrong: str):
    assert main(["prove", wrong]) == 1
    out = capsys.readouterr().out
    assert "ddiff is wrong: the share that comes back through sq is missing." in out
    assert max(map(len, out.splitlines())) <= 80


def test_json_is_for_programs(capsys, wrong: str):
    assert main(["prove", wrong, "--json"]) == 1
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is False
    assert report["culprits"] == ["diff"]
    (row,) = (row for row in report["rows"] if row["name"] == "diff")
    assert row["cause"] == "F6"


def test_html_is_a_page_of_its_own(capsys, wrong: str, tmp_path: Path):
    page = tmp_path / "report.html"
    assert main(["prove", wrong, "--html", str(page)]) == 1
    text = page.read_text(encoding="utf-8")
    assert "ddiff is wrong" in text
    assert "http" not in text.replace("http://www.w3.org", "")
    assert len(text) < 1_000_000


@pytest.mark.parametrize(
    ("page", "reason"), [("absent/report.html", "No such file or directory"), ("n" * 300, "File name too long")]
)
def test_a_page_that_cannot_be_written_is_refused_before_the_proof(capsys, monkeypatch, tmp_path, page, reason):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("backproof.proof.file.prove_file", lambda file: pytest.fail("it was proved"))
    assert main(["prove", str(EXAMPLE), "--html", page]) == 2
    assert capsys.readouterr().err == f"backproof: {page} cannot be written ({reason}); choose another path.\n"
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_while_the_page_is_written(capsys, monkeypatch, tmp_path: Path):
    def full(self: Path, target: Path):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    assert main(["prove", str(EXAMPLE), "--html", str(tmp_path / "report.html")]) == 2
    assert "report.html cannot be written (No space left on device); choose another" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_what_the_file_prints_stays_out_of_the_json(capsys, tmp_path: Path):
    noisy = tmp_path / "noisy.py"
    noisy.write_text(EXAMPLE.read_text(encoding="utf-8") + "\nprint('hello')\n", encoding="utf-8")
    assert main(["prove", str(noisy), "--json"]) == 0
    shown = capsys.readouterr()
    assert json.loads(shown.out)["ok"]
    assert "hello" in shown.err


def test_a_page_needs_a_name(capsys):
    assert main(["prove", str(EXAMPLE), "--html", ""]) == 2
    assert "cannot be written (Is a directory); choose another path." in capsys.readouterr().err


def test_a_full_disk_is_said_in_a_sentence():
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "backproof", "prove", str(EXAMPLE)]
        ended = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert ended.returncode == 2
    assert ended.stderr.startswith("backproof: There is no room left")


def test_the_network_as_json_and_html(capsys, tmp_path: Path):
    page = tmp_path / "network.html"
    assert main(["prove", "--hidden", "9", "--json", "--html", str(page)]) == 0
    assert len(json.loads(capsys.readouterr().out)["steps"]["rows"]) == 26
    assert page.stat().st_size < 1_000_000
    assert main(["prove", "--grain", "both", "--html", str(page)]) == 2
    assert "--html shows one report; add --grain steps or --grain fused." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("forward = backward = 1", "does not define inputs"),
        ("x = 1", "defines nothing that could be proved"),
        ("def f(:", "has a syntax error at line 1"),
        ("import nowhere_to_be_found", "cannot be imported: ModuleNotFoundError at line 1"),
    ],
)
def test_files_that_cannot_be_run_exit_with_2(capsys, tmp_path: Path, source: str, message: str):
    path = tmp_path / "broken.py"
    path.write_text(source, encoding="utf-8")
    assert main(["prove", str(path)]) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert main(["prove", str(tmp_path / "absent.py")]) == 2
    assert "There is no file" in capsys.readouterr().err


RIGHT = """
import torch

def inputs():
    {inputs}
    return {{"x": torch.ones(3, 4, dtype=torch.float64), "w": torch.ones(4, 2, dtype=torch.float64)}}

def forward(x, w):
    {forward}
    return {{"y": x @ w}}

def backward(v, dy):
    {backward}
    return {{"x": dy @ v["w"].T, "w": v["x"].T @ dy}}
"""
MUTE = "exec('class Mute(%s):\\n def __str__(self): raise ValueError\\nraise Mute')"
RAISED = {
    "an exception without a text": MUTE % "Exception",
    "one that no `except Exception` catches": MUTE % "BaseException",
    "a text that is none": "exec('class Odd(Exception):\\n def __str__(self): return 5\\nraise Odd')",
    "the end of a generator": "raise GeneratorExit",
    "the end of a program": "raise SystemExit(0)",
    "endless recursion": "(f := lambda: f())()",
    "several at once": "raise ExceptionGroup('both', [ValueError('one')])",
    "a syntax error of nowhere": "raise SyntaxError",
}


@pytest.mark.parametrize("place", ["inputs", "forward", "backward", "file"])
@pytest.mark.parametrize("raised", RAISED.values(), ids=RAISED.keys())
def test_whatever_a_file_raises_it_cannot_be_run(capsys, tmp_path: Path, place: str, raised: str):
    lines = {name: raised if name == place else "pass" for name in ("inputs", "forward", "backward")}
    path = tmp_path / "raises.py"
    path.write_text((raised if place == "file" else "") + RIGHT.format(**lines), encoding="utf-8")
    assert main(["prove", str(path)]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("backproof: ")


@pytest.mark.parametrize(
    "source",
    [
        b"# -*- coding: nonsense -*-\nx = 1\n",
        b'x = "\xff\xfe"\n',
        b"x = 1\0\n",
        b"x = " + 5000 * b"(" + b"1" + 5000 * b")",
        b"x = " + 100_000 * b"-" + b"1",
    ],
    ids=["unknown encoding", "no UTF-8", "a zero byte", "deep brackets", "deep signs"],
)
def test_what_cannot_be_compiled_is_a_sentence(capsys, tmp_path: Path, source: bytes):
    path = tmp_path / "odd.py"
    path.write_bytes(source)
    assert main(["prove", str(path)]) == 2
    _, err = capsys.readouterr()
    assert err.startswith(f"backproof: {path} ") and err.count("\n") == 1


def test_ctrl_c_while_a_file_runs_is_no_fault_of_the_file(capsys, tmp_path: Path):
    path = tmp_path / "long.py"
    path.write_text("raise KeyboardInterrupt\n", encoding="utf-8")
    assert main(["prove", str(path)]) == 130
