"""The benchmark that plants bugs: what it draws, what it leaves alone, and how it tells caught from missed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from planted import PROVER
from planting.draw import Bug, Family, draw, sites_of

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"

SOURCE = '''
"""A module: 1 < 2 and not 3."""

from __future__ import annotations

import torch

WIDTH = 80
_MOST = 8  # that decides
_TOGETHER = 64  # at once, for speed alone


def small(x: float, most: int = 3) -> bool:
    """Whether x < 5 * most."""
    return x <= 0.5 * most


def told(n: int) -> str:
    """Words only."""
    return f"{n + 1} of them" if n > 1 else "only one"


def checked(rows: list[int], seed: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed + 1)
    lines = [f"{len(rows) + 1} rows"]
    if len(rows) > 3:
        lines.append(f"as many as {len(rows)}")
    if not rows:
        raise ValueError(f"no rows, and {2 + 3} are needed")
    return [row for row, _ in zip(rows, lines, strict=True) if row]
'''


def found(tmp_path: Path, source: str, name: str = "scale.py") -> list[Bug]:
    file = tmp_path / name
    file.write_text(source)
    return [bug for sites in sites_of([file]).values() for site in sites for bug in site]


def test_only_what_decides_is_changed(tmp_path: Path) -> None:
    assert [(bug.line, bug.kind, bug.change) for bug in found(tmp_path, SOURCE)] == [
        (9, "number", "8 -> 16"),
        (9, "number", "8 -> 32"),
        (9, "number", "8 -> 2"),
        (13, "small number", "3 -> 4"),
        (13, "small number", "3 -> 2"),
        (15, "comparison", "x <= 0.5 * most -> (x > 0.5 * most)"),
        (15, "arithmetic", "0.5 * most -> (0.5 / most)"),
        (15, "operand left out", "0.5 * most -> 0.5"),
        (15, "operand left out", "0.5 * most -> most"),
        (15, "number", "0.5 -> 2.0"),
        (15, "number", "0.5 -> 5.0"),
        (15, "number", "0.5 -> 50.0"),
        (15, "number", "0.5 -> 0.125"),
        (15, "number", "0.5 -> 0.05"),
        (28, "condition", "not rows -> True"),
        (28, "condition", "not rows -> False"),
        (28, "negation", "not rows -> rows"),
        (29, "statement left out", 'raise ValueError(f"no rows, and {2 + 3} are needed") -> pass'),
        (30, "condition", "row -> True"),
        (30, "condition", "row -> False"),
    ]


def test_files_of_pictures_and_of_text_are_left_alone(tmp_path: Path) -> None:
    assert found(tmp_path, "a = 1 + b\n")
    assert not found(tmp_path, "a = 1 + b\n", "style.py")


@pytest.mark.parametrize(
    ("line", "changes"),
    [
        ("len(a) < b", ["len(a) >= b", "len(a) <= b"]),  # among whole numbers the border is a case of its own
        ("a < b", ["a >= b"]),
        ("a and b and c", ["a or b or c", "b and c", "a and c", "a and b"]),
        ("a | b", ["a & b", "a", "b"]),
        ("int | float", []),
        ("x[1:n]", ["x[:n]", "x[1:]", "x[2:n]", "x[0:n]"]),
        ("x[0]", ["x[-1]"]),
        ("-x", ["x"]),
        ("-1", ["1", "-2"]),
        ("1e-3", ["0.004", "0.01", "0.1", "0.00025", "0.0001"]),
        ("max(a, b)", ["min(a, b)"]),
        ("x.any()", ["x.all()"]),
        ("torch.where(a, b, c)", ["torch.where(a, c, b)"]),
        ("isinstance(a, int)", []),
        ("f(a, frozen=True)", []),
        ("f(a, draw=1)", []),
        ("True", ["False"]),
    ],
)
def test_what_a_line_may_become(tmp_path: Path, line: str, changes: list[str]) -> None:
    bugs = found(tmp_path, f"y = ({line}, call)\n")
    made = [ast.unparse(ast.parse(bug.planted).body[0]) for bug in bugs]
    assert made == [ast.unparse(ast.parse(f"y = ({change}, call)")) for change in changes]


def test_a_number_with_a_name_becomes_another(tmp_path: Path) -> None:
    for value, changes in ((1, [2, 4]), (2, [4, 8, 1]), (40, [80, 160, 10])):
        bugs = found(tmp_path, f"_MANY = {value}\n")
        assert [bug.planted for bug in bugs] == [f"_MANY = {change}\n" for change in changes]


def test_arguments_of_one_kind_are_swapped_and_others_not(tmp_path: Path) -> None:
    source = "def f(a: Tensor, b: Tensor, n: int) -> None: ...\nf(x, y, z)\nf(x, x, z)\n"
    swaps = [bug.change for bug in found(tmp_path, source) if bug.kind == "arguments swapped"]
    assert swaps == ["f(x, y, z) -> f(y, x, z)"]


VERDICT = [file for file in PROVER.files if file.parent.name == "verdict"]


def test_a_seed_draws_the_same_bugs_again_and_another_seed_others() -> None:
    bugs = draw(VERDICT, seed=3, count=30)
    assert [bug.family for bug in bugs].count(Family.NUMBER) >= 7
    assert draw(VERDICT, seed=3, count=30) == bugs
    assert len({(bug.path, bug.start, bug.end, bug.instead) for bug in bugs}) == 30  # no change is drawn twice
    assert len(set(draw(VERDICT, seed=4, count=30)) & set(bugs)) < 20
    assert {bug.path.name for bug in draw(VERDICT, 3, 10, "verdict/blame")} == {"blame.py"}


def test_what_is_planted_in_the_prover_can_be_read_and_is_something_else() -> None:
    for bug in draw(VERDICT, seed=1, count=20):
        assert ast.dump(ast.parse(bug.planted)) != ast.dump(ast.parse(bug.source)), bug.change
        assert bug.diff("a.py").count("\n") > 3


LAND = """
import sys
from pathlib import Path
sys.path.insert(0, {benchmarks!r})
from planted import main
from planting.ground import Ground
sys.exit(main(sys.argv[1:], Ground(Path({root!r}), "src/tiny", ("tests",), seconds=0.5)))
"""

TINY = """
LIMIT = 8

def small(n):
    return n <= LIMIT

def down(n):
    while n > 0:
        n = n - 1
    return n

def never(n):
    return not n
"""

ONE_SIDE = """
from tiny.scale import down, small

def test_small():
    assert small(3)

def test_down():
    assert down(4) == 0
"""

BOTH_SIDES = ONE_SIDE.replace("assert small(3)", "assert small(8) and not small(9)")


def plant(tmp_path: Path, tests: str, *options: str) -> tuple[int, str]:
    for name, text in {"src/tiny/__init__.py": "", "src/tiny/scale.py": TINY, "tests/test_scale.py": tests}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    land = LAND.format(benchmarks=str(BENCHMARKS), root=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", land, *options], capture_output=True, text=True)
    assert not done.stderr
    return done.returncode, done.stdout


def test_a_caught_bug_is_told_from_a_missed_one(tmp_path: Path) -> None:
    status, text = plant(tmp_path, ONE_SIDE, "--count", "100")
    lines = {line.split()[1]: line for line in text.splitlines() if "scale.py:" in line.partition("  ")[2]}
    assert lines["scale.py:13"].endswith("MISSED: no test comes here")
    assert "test_scale.py::test_small" in lines["scale.py:5"]
    assert "test_scale.py::test_down" in lines["scale.py:8"]
    assert status == 1 and "missed: fewer than 95 % are caught" in text


@pytest.mark.parametrize(("tests", "status"), [(ONE_SIDE, 1), (BOTH_SIDES, 0)])
def test_a_number_is_pinned_by_a_test_on_each_side(tmp_path: Path, tests: str, status: int) -> None:
    file = tmp_path / "scale.py"
    file.write_text(TINY)
    wider = next(seed for seed in range(50) if draw([file], seed, 1)[0].change in ("8 -> 16", "8 -> 32"))
    got, text = plant(tmp_path, tests, "--seed", str(wider), "--count", "1")
    assert got == status
    assert ("MISSED" if status else "test_scale.py::test_small") in text


def test_tests_that_fail_by_themselves_judge_nothing(tmp_path: Path) -> None:
    status, text = plant(tmp_path, ONE_SIDE.replace("== 0", "== 1"))
    assert status == 2 and "test_scale.py" in text and "fails with nothing planted" in text


def test_one_bug_is_shown_with_its_patch(tmp_path: Path) -> None:
    status, text = plant(tmp_path, ONE_SIDE, "--count", "1", "--show", "1")
    assert status in (0, 1) and "--- src/tiny/scale.py" in text and "+++ src/tiny/scale.py" in text
