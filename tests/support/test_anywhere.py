"""`make test-anywhere`: a clone of its own, one run after the other, and an end that tells which failed."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import anywhere
import pytest
from anywhere import CONDITIONS, Change, Lacking, Place, chosen

ENGINE = "import importlib.util as u; print(u.find_spec('backproof.engines._fused').origin)"


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """One in which this test's own interpreter stands for the clone's."""
    place = Place(tmp_path)
    for folder in (place.python.parent, place.home, place.temporary):
        folder.mkdir(parents=True)
    place.python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n', encoding="utf-8")
    place.python.chmod(0o755)
    return place


@pytest.fixture
def _no_clones(monkeypatch: pytest.MonkeyPatch, place: Place):
    @contextmanager
    def no_clone() -> Iterator[Place]:
        yield place

    monkeypatch.setattr(anywhere, "new_place", no_clone)
    monkeypatch.setattr(anywhere, "changed", list)


def test_what_is_asked_for():
    assert chosen("") == [[name] for name in CONDITIONS]
    assert chosen("pid,locale") == [["pid"], ["locale"]]
    assert chosen("pid + locale, user") == [["pid", "locale"], ["user"]]


@pytest.mark.parametrize(
    ("only", "message"),
    [
        ("pid,warp", "There is no condition 'warp'; choose among stray, pid, "),
        ("pid,", "There is no condition ''; choose among"),
        ("user+pid+root", "user.pid.root: nobody is root and an ordinary user at once"),
        ("root+home", "nobody is root and an ordinary user at once"),
    ],
)
def test_what_cannot_be_asked_for_is_said_in_a_sentence(capsys, only: str, message: str):
    with pytest.raises(ValueError, match=message):
        chosen(only)
    assert anywhere.main(only) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_every_condition_says_what_it_is():
    assert all(condition.__doc__ and condition.__doc__.endswith(".") for condition in CONDITIONS.values())


@pytest.mark.parametrize(
    ("name", "environment"),
    [
        ("locale", {"LC_ALL": "C"}),
        ("capability", {"ATEN_CPU_CAPABILITY": "default"}),
        ("columns", {"COLUMNS": "40"}),
    ],
)
def test_conditions_of_the_environment(place: Place, name: str, environment: dict[str, str]):
    given = anywhere.environment(place, [CONDITIONS[name](place)])
    assert given.items() >= environment.items()


def test_an_order_is_one_that_can_be_had_again(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PYTEST_ADDOPTS", "tests/cli")
    given = CONDITIONS["order"](place).environment["PYTEST_ADDOPTS"]
    assert given.startswith("tests/cli --shuffle=")
    assert int(given.partition("=")[2]) >= 0


def test_stray_files_lie_where_the_tests_look(place: Place):
    CONDITIONS["stray"](place)
    assert (place.checkout / "src" / "backproof" / "mine.py").is_file()
    assert (place.checkout / "examples" / "mine.py").is_file()


def test_a_run_has_a_home_of_its_own_and_nothing_of_our_make(place: Place, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MAKEFLAGS", "-k")
    monkeypatch.setenv("XDG_CACHE_HOME", "/elsewhere")
    monkeypatch.setenv("BACKPROOF_NAMES", "names.txt")
    given = anywhere.environment(place, [Change(environment={"A": "1"}), Change(environment={"A": "2"})])
    assert not {"MAKEFLAGS", "XDG_CACHE_HOME"} & set(given)
    assert (given["HOME"], given["TMPDIR"], given["A"]) == (str(place.home), str(place.temporary), "2")
    assert given["BACKPROOF_NAMES"] == str(Path("names.txt").resolve())


@pytest.mark.usefixtures("_no_clones")
@pytest.mark.parametrize(
    ("program", "passed"),
    [
        ("print('3 passed in 1 s')", True),
        ("print('3 passed, 1 failed'); raise SystemExit(1)", False),
        ("print('no tests ran')", False),
        ("print('0 passed')", False),
        ("import os; print(os.environ['LC_ALL'], '12 passed')", True),
    ],
)
def test_a_run_passes_when_it_ends_well_and_some_test_passed(capfd, program: str, passed: bool):
    assert anywhere.run(["locale"], [sys.executable, "-c", program]) is passed
    out = capfd.readouterr().out
    assert out.startswith("== locale: LC_ALL=C\n")
    assert ("No test passed." in out) is ("3 passed" not in out and "12 passed" not in out)


def lacking(place: Place) -> Change:
    raise Lacking("there is no moon")


@pytest.mark.usefixtures("_no_clones")
def test_what_the_machine_lacks_is_said_and_left_out(capfd, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(CONDITIONS, "moon", lacking)
    monkeypatch.setitem(CONDITIONS, "no program", lambda place: Change(("absent-program",)))
    monkeypatch.setitem(CONDITIONS, "no right", lambda place: Change(("sh", "-c", "echo Not permitted. >&2; exit 1")))
    command = [sys.executable, "-c", "print('1 passed')"]
    assert anywhere.run(["moon"], command) is None
    assert capfd.readouterr().out == "== moon is left out: there is no moon.\n"
    assert anywhere.run(["no program"], command) is None
    assert capfd.readouterr().out == "== no program is left out: there is no program absent-program.\n"
    assert anywhere.run(["no right"], command) is None
    assert capfd.readouterr().out == "== no right is left out: Not permitted.\n"
    assert anywhere.run(["moon", "columns"], command) is True
    assert "== columns: COLUMNS=40\n" in capfd.readouterr().out


@pytest.mark.usefixtures("_no_clones")
def test_two_conditions_that_want_the_same_get_it_once(capfd, monkeypatch: pytest.MonkeyPatch):
    for name in ("one", "other"):
        monkeypatch.setitem(CONDITIONS, name, lambda place: Change(("sh", "-c", 'N=$((N + 1)) exec "$@"', "sh")))
    program = "import os; print(os.environ['N'], 'passed')"
    assert anywhere.run(["one", "other"], [sys.executable, "-c", program])
    assert capfd.readouterr().out.endswith("\n1 passed\n")


@pytest.mark.usefixtures("_no_clones")
@pytest.mark.parametrize(
    ("results", "code", "end"),
    [
        ([True, False, None, False], 1, "passed: pid\nleft out: root\nFAILED: locale, user\n"),
        ([True, True, None, True], 0, "passed: pid, locale, user\nleft out: root\n"),
        ([None, None, None, None], 1, "left out: pid, locale, root, user\n"),
    ],
)
def test_a_failure_stops_no_other_and_the_end_names_them(capfd, monkeypatch, results: list, code: int, end: str):
    answers = iter(results)
    monkeypatch.setattr(anywhere, "run", lambda names: next(answers))
    assert anywhere.main("pid,locale,root,user") == code
    assert capfd.readouterr().out.endswith(end)


@pytest.mark.usefixtures("_no_clones")
def test_what_the_environment_is_made_from_has_to_be_that_of_head(capfd, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(anywhere, "changed", lambda: ["native/batch.cpp"])
    assert anywhere.main("locale") == 2
    assert "native/batch.cpp is not as in HEAD, and .venv is made from it" in capfd.readouterr().err


@pytest.fixture(scope="module")
def clone() -> Iterator[Place]:
    with anywhere.new_place() as place:
        yield place
    assert not place.scratch.exists()


def says(place: Place, *command: str) -> str:
    given = anywhere.environment(place, [])
    return subprocess.run(command, cwd=place.checkout, env=given, capture_output=True, text=True, check=True).stdout


def test_a_clone_imports_its_own_package_and_engine_and_our_packages(clone: Place):
    program = "import backproof, torch; print(backproof.__file__); print(torch.__file__)"
    ours, torch = says(clone, str(clone.python), "-c", program).splitlines()
    assert Path(ours) == clone.checkout / "src" / "backproof" / "__init__.py"
    assert Path(torch).parents[1] == anywhere._packages()
    if list((anywhere._packages() / "backproof" / "engines").glob("_fused*")):
        assert Path(says(clone, str(clone.python), "-c", ENGINE).strip()).is_relative_to(clone.checkout)


def test_a_clone_is_not_set_up_again(clone: Place):
    assert "Setting up" not in says(clone, "make", "--dry-run", "test")


def test_a_clone_is_head_and_its_packages_are_made_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if not which("git"):
        pytest.skip("there is no git")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)  # whatever git does for this user
    origin, place = tmp_path / "origin", Place(tmp_path / "elsewhere")
    place.scratch.mkdir()
    (origin / "native").mkdir(parents=True)
    (origin / "native" / "step.cpp").write_bytes(b"1")
    git = ["git", "-C", str(origin), "-c", "user.name=Anna", "-c", "user.email=anna@example.org"]
    for words in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "First"]):
        subprocess.run([*git, *words], check=True)
    (origin / "stray").write_bytes(b"2")
    monkeypatch.setattr(anywhere, "ROOT", origin)
    assert anywhere.changed() == []
    (origin / "native" / "step.cpp").write_bytes(b"2")
    assert anywhere.changed() == ["native/step.cpp"]
    anywhere._clone(place)
    assert (place.checkout / "native" / "step.cpp").read_bytes() == b"1"
    assert not (place.checkout / "stray").exists()


def test_what_is_no_checkout_is_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("origin/src/page.py", "origin/.venv/ready", "origin/src/__pycache__/page.pyc"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.setattr(anywhere, "ROOT", tmp_path / "origin")
    assert anywhere.changed() == []
    anywhere._clone(place := Place(tmp_path))
    assert [file.name for file in place.checkout.rglob("*")] == ["src", "page.py"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_an_ordinary_user_or_says_why_not(clone: Place):
    try:
        change = anywhere._possible(clone, "user")
    except Lacking as reason:
        pytest.skip(str(reason))
    user = "import os; print(os.geteuid() != 0, os.access('README.md', os.W_OK), os.access('/etc', os.W_OK))"
    assert says(clone, *change.before, str(clone.python), "-c", user).split() == ["True", "True", "False"]
