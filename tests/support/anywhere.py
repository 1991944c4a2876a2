"""`make test-anywhere`: the tests of a clean clone of HEAD, once under each condition that a machine may have.

    make test-anywhere                               all of them, one after the other
    make test-anywhere ONLY=pid,locale               two of them
    make test-anywhere ONLY=pid+locale+capability    three of them at once, in one run of the tests
    PYTEST_ADDOPTS=tests/cli make test-anywhere      some of the tests

What this machine lacks is said and left out. The exit code is 1 where a run failed, or where nothing could be run.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import chain
from pathlib import Path
from random import randrange
from shutil import copy, copytree, ignore_patterns, which
from tempfile import TemporaryDirectory
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
# What the compiled engine and the installed packages, which are taken from the checkout's own .venv, are made of.
BUILT_FROM = ("native", "CMakeLists.txt", "pyproject.toml", "constraints.txt")
OF_OUR_MAKE = ("MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "VIRTUAL_ENV", "ONLY")
NOT_COPIED = (".venv", "build", "dist", "runs", "__pycache__", ".*_cache", ".hypothesis")
STRAY = {
    "examples/mine.py": "x = 1\n",
    "src/backproof/mine.py": "import torch\n\ntorch.ones(1, requires_grad=True).backward()\n",
    "src/backproof/notes.txt": "to do\n",
    "src/backproof/.DS_Store": "\0",
    "docs/mine.md": "[nothing](nowhere.md)\n",
    "tests/mine.txt": "to do\n",
    "runs/first/run.json": "{}\n",
}


class Lacking(Exception):  # noqa: N818 - it is no error
    """The machine has not what a condition needs; the message says what."""


@dataclass(frozen=True)
class Place:
    """Where the tests run: a clone, a home, and a folder for temporary files, all of them new."""

    scratch: Path

    @property
    def checkout(self) -> Path:
        return self.scratch / "backproof"

    @property
    def home(self) -> Path:
        return self.scratch / "home"

    @property
    def temporary(self) -> Path:
        return self.scratch / "tmp"

    @property
    def python(self) -> Path:
        return self.checkout / ".venv" / "bin" / "python"


class Change(NamedTuple):
    """What makes a condition: what stands before the command, and what is different in its environment."""

    before: tuple[str, ...] = ()
    environment: Mapping[str, str] = {}


# The conditions; what stands before the command is put together in this order, the first of them outermost.


def under_small_process_numbers(place: Place) -> Change:
    """Process numbers begin at 1, as in a container."""
    rights = () if _is_root() else ("--user", "--map-current-user")
    return Change(("unshare", *rights, "--pid", "--fork", "--kill-child", "--mount-proc"))


def as_root(place: Place) -> Change:
    """Root, who may read and write everything."""
    return Change() if _is_root() else Change(("unshare", "--user", "--map-root-user"))


def as_a_user(place: Place) -> Change:
    """An ordinary user."""
    if not _is_root():
        return Change()
    import pwd

    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError:
        raise Lacking("there is no user nobody to become") from None
    for each in (place.checkout, place.home, place.temporary):
        for file in (each, *each.rglob("*")):
            os.chown(file, nobody.pw_uid, nobody.pw_gid, follow_symlinks=False)
    become = ("setpriv", f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    return Change((*_opened(place), *become), {"USER": "nobody", "LOGNAME": "nobody"})


def with_a_home_that_cannot_be_written(place: Place) -> Change:
    """A home folder that cannot be written; by an ordinary user, since root can write everywhere."""
    change = as_a_user(place)
    place.home.chmod(0o555)
    return change


def in_the_c_locale(place: Place) -> Change:
    """LC_ALL=C."""
    return Change(environment={"LC_ALL": "C"})


def without_vector_instructions(place: Place) -> Change:
    """PyTorch's kernels for any processor: other sums, other roundings."""
    return Change(environment={"ATEN_CPU_CAPABILITY": "default"})


def in_kathmandu(place: Place) -> Change:
    """A time zone 5 hours and 45 minutes ahead."""
    if not Path("/usr/share/zoneinfo/Asia/Kathmandu").exists():
        raise Lacking("there are no time zones in /usr/share/zoneinfo")
    return Change(environment={"TZ": "Asia/Kathmandu"})


def in_a_narrow_terminal(place: Place) -> Change:
    """COLUMNS=40."""
    return Change(environment={"COLUMNS": "40"})


def among_stray_files(place: Place) -> Change:
    """Files in the checkout that are not the project's."""
    for name, text in STRAY.items():
        file = place.checkout / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    return Change()


def in_the_background(place: Place) -> Change:
    """Started by a script with &: interrupts and hang-ups are ignored, and children inherit that."""
    return Change(("sh", "-c", "trap '' INT HUP; exec \"$@\"", "sh"))


def in_random_order(place: Place) -> Change:
    """Every test before and after any other."""
    given = os.environ.get("PYTEST_ADDOPTS", "")
    return Change(environment={"PYTEST_ADDOPTS": f"{given} --shuffle={randrange(10**6)}".strip()})


CONDITIONS: dict[str, Callable[[Place], Change]] = {
    "stray": among_stray_files,  # first: these are files of whoever runs the tests
    "pid": under_small_process_numbers,
    "root": as_root,
    "user": as_a_user,
    "home": with_a_home_that_cannot_be_written,
    "locale": in_the_c_locale,
    "capability": without_vector_instructions,
    "timezone": in_kathmandu,
    "columns": in_a_narrow_terminal,
    "background": in_the_background,
    "order": in_random_order,
}


# What they are applied to


def _is_root() -> bool:
    return os.geteuid() == 0


def _opened(place: Place) -> tuple[str, ...]:
    """Before a command of another user's: lets it reach what it needs below folders that are closed to it, as /root is.

    That is done in a mount namespace of its own, in which such a folder is an empty one that holds nothing else.
    """
    needed = [Path(sys.base_prefix), _packages()]
    if corpus := os.environ.get("BACKPROOF_NAMES"):
        needed.append(Path(corpus).resolve().parent)
    closed = {each: next((f for f in reversed(each.parents) if not f.stat().st_mode & 0o001), None) for each in needed}
    closed = {each: folder for each, folder in closed.items() if folder}
    if not closed:
        return ()
    lines = []
    for number, each in enumerate(closed):  # they are held elsewhere while the folder above them is covered
        lines.append(
            f"mkdir -p {place.scratch}/{number}; mount --bind {shlex.quote(str(each))} {place.scratch}/{number}"
        )
    for folder in set(closed.values()):
        lines.append(f"mount -t tmpfs -o mode=755 none {shlex.quote(str(folder))}")
    for number, each in enumerate(closed):
        here = shlex.quote(str(each))
        lines.append(f"mkdir -p {here}; mount --bind {place.scratch}/{number} {here}")
    return ("unshare", "--mount", "--propagation", "private", "sh", "-ec", "\n".join([*lines, 'exec "$@"']), "sh")


@contextmanager
def new_place() -> Iterator[Place]:
    """A clean clone with an environment of its own, in a folder that is removed afterwards."""
    with TemporaryDirectory(prefix="backproof-anywhere-") as folder:
        place = Place(Path(folder).resolve())
        place.scratch.chmod(0o755)
        place.home.mkdir()
        place.temporary.mkdir()
        _clone(place)
        _borrow_packages(place)
        yield place


def _clone(place: Place) -> None:
    """HEAD, whoever owns our checkout; where it is none, as in an unpacked archive, a copy of what is there."""
    if not (ROOT / ".git").exists():
        copytree(ROOT, place.checkout, ignore=ignore_patterns(*NOT_COPIED))
        return
    settings = place.scratch / "gitconfig"
    settings.write_text("[safe]\n\tdirectory = *\n", encoding="utf-8")
    command = ["git", "clone", "--quiet", str(ROOT), str(place.checkout)]
    subprocess.run(command, check=True, env=os.environ | {"GIT_CONFIG_GLOBAL": str(settings)})


def _borrow_packages(place: Place) -> None:
    """Give the clone a .venv that sees the packages of ours, and so takes a second instead of minutes.

    Not ours itself: it is an editable installation, whose finder imports `backproof` from our checkout whatever
    PYTHONPATH says. A folder that a .pth file adds to the path is searched, but its own .pth files are not read; so the
    finder stays behind, and what the clone imports is the clone's. The compiled engine is copied to where Python looks.
    """
    environment = place.checkout / ".venv"
    venv.create(environment, symlinks=True)
    path = sysconfig.get_path("purelib", "venv", {"base": str(environment)})
    Path(path, "borrowed.pth").write_text(f"{place.checkout / 'src'}\n{_packages()}\n", encoding="utf-8")
    for engine in (_packages() / "backproof" / "engines").glob("_fused*"):
        copy(engine, place.checkout / "src" / "backproof" / "engines")
    (environment / "ready").touch()  # so that make does not set it up


def _packages() -> Path:
    """Where PyTorch is installed, and all the rest with it."""
    found = find_spec("torch")
    assert found and found.origin
    return Path(found.origin).parents[1]


def environment(place: Place, changes: Sequence[Change]) -> dict[str, str]:
    """That of the tests: ours, without what our make put into it, with a home and temporary files in `place`."""
    kept = {k: v for k, v in os.environ.items() if k not in OF_OUR_MAKE and not k.startswith(("XDG_", "MPLCONFIG"))}
    kept |= {"HOME": str(place.home), "TMPDIR": str(place.temporary)}
    if corpus := kept.get("BACKPROOF_NAMES"):
        kept["BACKPROOF_NAMES"] = str(Path(corpus).resolve())
    for change in changes:
        kept |= change.environment
    return kept


def run(names: Sequence[str], command: Sequence[str] = ("make", "test")) -> bool | None:
    """Run the tests under these conditions at once, as far as the machine has them; None where it has none of them."""
    with new_place() as place:
        changes = {}
        for name in sorted(names, key=list(CONDITIONS).index):
            try:
                changes[name] = _possible(place, name)
            except Lacking as lacking:
                print(f"== {name} is left out: {lacking}.", flush=True)
        if not changes:
            return None
        _announce(changes)
        before = dict.fromkeys(change.before for change in changes.values())  # each once: user and home become the same
        variables = environment(place, list(changes.values()))
        return _passed([*chain.from_iterable(before), *command], place, variables)


def _possible(place: Place, name: str) -> Change:
    """A condition's change, tried out on an interpreter that imports what the tests need."""
    change = CONDITIONS[name](place)
    if not change.before:
        return change
    if not which(change.before[0]):
        raise Lacking(f"there is no program {change.before[0]}")
    command = [*change.before, str(place.python), "-c", "import torch"]
    tried = subprocess.run(
        command, cwd=place.checkout, env=environment(place, [change]), capture_output=True, text=True
    )
    if tried.returncode:
        lines = tried.stderr.strip().splitlines() or [f"{shlex.join(command)} ended with {tried.returncode}"]
        raise Lacking(lines[-1].rstrip("."))
    return change


def _announce(changes: Mapping[str, Change]) -> None:
    for name, change in changes.items():
        said = (CONDITIONS[name].__doc__ or "").rstrip(".")
        print(f"== {name}: {said}", flush=True)
        shown = [f"{key}={shlex.quote(value)}" for key, value in change.environment.items()]
        if words := [*shown, *(word if "\n" not in word else "..." for word in change.before)]:
            print(f"   {' '.join(words)}", flush=True)


def _passed(command: Sequence[str], place: Place, variables: Mapping[str, str]) -> bool:
    """Whether it ends well and some test passed; what it prints is shown as it comes."""
    some = False
    with subprocess.Popen(
        command, cwd=place.checkout, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout
        for line in process.stdout:
            print(text := line.decode(errors="replace"), end="", flush=True)
            some |= bool(re.search(r"[1-9]\d* passed", text))
    if not some:
        print("No test passed.", flush=True)
    return some and process.returncode == 0


def chosen(only: str) -> list[list[str]]:
    """The runs that are asked for, each a list of conditions. Raises ValueError for what cannot be asked for."""
    runs = [each.split("+") for each in only.replace(" ", "").split(",")] if only else [[name] for name in CONDITIONS]
    for names in runs:
        if unknown := [name for name in names if name not in CONDITIONS]:
            raise ValueError(f"There is no condition {unknown[0]!r}; choose among {', '.join(CONDITIONS)}.")
        if "root" in names and {"user", "home"} & set(names):
            raise ValueError(f"{'+'.join(names)}: nobody is root and an ordinary user at once; run them one by one.")
    return runs


def changed() -> list[str]:
    """The files of which the engine and the packages in our .venv are made, and that are not as in HEAD."""
    if not (ROOT / ".git").exists():
        return []
    command = ["git", "-c", "safe.directory=*", "-C", str(ROOT), "diff", "--name-only", "HEAD", "--", *BUILT_FROM]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.split()


def main(only: str = "") -> int:
    try:
        runs = chosen(only)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if files := changed():
        print(f"{files[0]} is not as in HEAD, and .venv is made from it: commit or stash it first.", file=sys.stderr)
        return 2
    results = {"+".join(names): run(names) for names in runs}
    print(flush=True)
    for passed, said in ((True, "passed"), (None, "left out"), (False, "FAILED")):
        if found := [name for name, result in results.items() if result is passed]:
            print(f"{said}: {', '.join(found)}", flush=True)
    return 0 if True in results.values() and False not in results.values() else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
