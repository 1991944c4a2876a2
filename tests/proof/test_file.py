"""Proving a file: what it may define, and one sentence for everything that can hinder it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from backproof.proof.file import prove_file
from backproof.proof.user.calls import CannotProveError

GOOD = """
import torch

inputs = {inputs}

def forward(x, w):
    h = x @ w
    return dict(x=x, w=w, h=h, y=torch.tanh(h))

def backward(v, dy):
    dh = (1 - v["y"] ** 2) * dy
    return dict(dh=dh, dx=dh @ v["w"].T, dw=v["x"].T @ dh)
"""


def written(folder: Path, text: str | bytes, name: str = "case.py") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "inputs",
    [
        "dict(x=torch.randn(4, 3), w=torch.randn(3, 5))",
        "(torch.randn(4, 3), torch.randn(3, 5))",
        "lambda: (torch.randn(4, 3), torch.randn(3, 5))",
        "lambda n: dict(x=torch.randn(n, 3), w=torch.randn(3, 5))",
        "lambda n=9, m=3: dict(x=torch.randn(n, m), w=torch.randn(m, 5))",
    ],
)
def test_inputs_of_every_kind(tmp_path: Path, inputs: str) -> None:
    report = prove_file(written(tmp_path, GOOD.format(inputs=inputs)))
    assert report.ok, report
    assert {row.name for row in report.rows} == {"x", "w", "h"}
    assert report.skipped == (() if inputs.startswith("lambda n") else ("sizes: inputs is not a function of a size.",))


def test_a_wrong_file_is_not_proved_and_its_line_is_quoted(tmp_path: Path) -> None:
    text = GOOD.format(inputs="(torch.randn(4, 3), torch.randn(3, 5))").replace("dh = (1 -", "dh = dy.mul_(1 -")
    text = text.replace("** 2) * dy", "** 2)")
    report = prove_file(written(tmp_path, text))
    assert [(row.name, row.cause) for row in report.culprits] == [("h", "F3")]
    assert 'dh = dy.mul_(1 - v["y"] ** 2)' in report["h"].message


def test_the_output_may_be_named_in_the_file_or_by_the_caller(tmp_path: Path) -> None:
    text = GOOD.format(inputs="(torch.randn(4, 3), torch.randn(3, 5))").replace(
        "h=h, y=torch.tanh(h))", "y=torch.tanh(h), h=h)"
    )
    assert prove_file(written(tmp_path, text + "\noutput = 'y'\n")).ok
    assert not prove_file(written(tmp_path, text)).ok
    assert prove_file(written(tmp_path, text), output="y").ok


def test_the_file_may_import_what_lies_beside_it_and_leaves_nothing_behind(tmp_path: Path) -> None:
    written(tmp_path, "SCALE = 2.0\n", "beside_the_case.py")
    text = "from dataclasses import dataclass\nfrom beside_the_case import SCALE\n" + GOOD.format(
        inputs="(torch.randn(4, 3), torch.randn(3, 5))"
    )
    path, modules = list(sys.path), set(sys.modules)
    assert prove_file(written(tmp_path, text)).ok
    assert sys.path == path
    assert {name for name in sys.modules if name not in modules and "backproof_proved" in name} == set()
    assert not list(tmp_path.glob("__pycache__/case*"))


def refused(path: Path) -> str:
    with pytest.raises(CannotProveError) as caught:
        prove_file(path)
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    return message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert refused(tmp_path / "no.py").startswith("There is no file")


def test_a_folder(tmp_path: Path) -> None:
    assert "is a folder" in refused(tmp_path)


def test_what_is_neither_a_file_nor_a_folder(tmp_path: Path) -> None:
    """Reading a pipe would wait for ever."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert "is not a file that can be read" in refused(pipe)


def test_a_file_that_is_not_python(tmp_path: Path) -> None:
    assert "is not a Python file; give a file that ends in .py" in refused(written(tmp_path, "a,b\n", "x.csv"))
    assert "is not a Python file" in refused(written(tmp_path, b"x = 1\0", "nul.py"))
    assert "can't decode byte 0xff" in refused(written(tmp_path, b"x = '\xff\xfe'\n", "latin.py"))


def test_a_syntax_error_names_its_line(tmp_path: Path) -> None:
    assert refused(written(tmp_path, "x = 1\ndef f(:\n")).endswith("has a syntax error at line 2: invalid syntax.")


def test_an_error_while_importing_names_line_and_error(tmp_path: Path) -> None:
    message = refused(written(tmp_path, "x = 1\nimport no_such_module_at_all\n"))
    assert "cannot be imported: ModuleNotFoundError at line 2: No module named 'no_such_module_at_all'." in message
    assert "ZeroDivisionError at line 2" in refused(written(tmp_path, "def f():\n    return 1 / 0\nf()\n"))
    assert "SystemExit at line 1" in refused(written(tmp_path, "raise SystemExit(3)\n"))
    written(tmp_path, "def f(:\n", "broken_beside.py")
    assert "broken_beside.py has a syntax error at line 1" in refused(written(tmp_path, "import broken_beside\n"))


def test_names_that_are_missing_or_of_the_wrong_kind(tmp_path: Path) -> None:
    assert "defines nothing that could be proved" in refused(written(tmp_path, "x = 1\n"))
    start = "def forward(x): pass\ndef backward(v, d): pass\n"
    assert "does not define inputs;" in refused(written(tmp_path, start))
    assert "forward in" in refused(written(tmp_path, start + "inputs = ()\nforward = 3\n"))
    assert "must be a function; it is a int" in refused(written(tmp_path, start + "inputs = ()\nforward = 3\n"))
    assert "must be a mapping of names to tensors" in refused(written(tmp_path, start + "inputs = 3\n"))
    assert "must be the name of one of forward's values" in refused(
        written(tmp_path, start + "inputs = ()\noutput = 3\n")
    )


def test_a_function_that_cannot_be_run_names_its_line(tmp_path: Path) -> None:
    text = GOOD.format(inputs="(torch.randn(4, 3), torch.randn(3, 5))").replace("h = x @ w", "h = x @ q")
    with pytest.raises(
        CannotProveError, match="forward raised NameError: name 'q' is not defined at line 7: h = x @ q"
    ):
        prove_file(written(tmp_path, text))
