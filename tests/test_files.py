"""Files and folders appear whole; what a killed process left is removed, what a living one writes is not."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from backproof import files
from backproof.files import check_file, move_aside, partial_folder, put_back, remove_leftovers, write_text

LEFTOVER = ".backproof-01234567"


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_a_text_appears_whole_and_replaces_another(tmp_path: Path):
    write_text(tmp_path / "page", "one · two")
    write_text(tmp_path / "page", "three")
    assert (tmp_path / "page").read_text(encoding="utf-8") == "three"
    assert names(tmp_path) == ["page"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_text_that_could_not_be_written_leaves_what_was_there(tmp_path: Path, monkeypatch, error: BaseException):
    write_text(tmp_path / "page", "one")

    def fail(self: Path, *_: object, **__: object):
        raise error

    for step in ("write_bytes", "replace"):
        with monkeypatch.context() as patched:
            patched.setattr(Path, step, fail)
            with pytest.raises(type(error)):
                write_text(tmp_path / "page", "two")
        assert names(tmp_path) == ["page"]
        assert (tmp_path / "page").read_text(encoding="utf-8") == "one"


def test_what_is_written_has_names_of_one_length_and_none_twice(tmp_path: Path, monkeypatch):
    tokens = iter(["aaaaaaaa", "aaaaaaaa", "bbbbbbbb"])
    monkeypatch.setattr(files, "token_hex", lambda _: next(tokens))
    with partial_folder(tmp_path) as first, partial_folder(tmp_path) as second:
        assert names(tmp_path) == [first.name, second.name] == [".backproof-aaaaaaaa", ".backproof-bbbbbbbb"]
    assert names(tmp_path) == []


def test_a_name_that_nobody_chose_is_of_the_same_length(tmp_path: Path):
    with partial_folder(tmp_path) as partial:
        assert re.fullmatch(r"\.backproof-[0-9a-f]{8}", partial.name)


@pytest.mark.parametrize("name", ["", "."])
def test_a_file_needs_a_name(name: str):
    for refuse in (check_file, lambda path: write_text(path, "one")):
        with pytest.raises(IsADirectoryError):
            refuse(Path(name))


def test_the_longest_name_of_a_file_is_the_system_s_and_the_next_is_refused_before_the_work(tmp_path: Path):
    longest = tmp_path / ("n" * os.pathconf(tmp_path, "PC_NAME_MAX"))
    check_file(longest)
    write_text(longest, "one")
    check_file(longest)
    assert names(tmp_path) == [longest.name]
    with pytest.raises(OSError, match="File name too long"):
        check_file(longest.with_name(longest.name + "n"))


@pytest.mark.parametrize(
    ("place", "error"),
    [("page/page", NotADirectoryError), ("absent/page", FileNotFoundError), ("folder", IsADirectoryError)],
)
def test_a_file_that_could_not_be_written_is_refused_before_the_work_and_in_the_same_way(
    tmp_path: Path, place: str, error: type[OSError]
):
    (tmp_path / "folder").mkdir()
    (tmp_path / "page").write_bytes(b"")
    for refuse in (check_file, lambda path: write_text(path, "one")):
        with pytest.raises(error):
            refuse(tmp_path / place)
    assert names(tmp_path) == ["folder", "page"]


# Leftovers

WRITERS = {
    "a file": "Path.write_bytes = lambda *_, **__: wait(); files.write_text(folder / 'page', 'one')",
    "a folder": "with files.partial_folder(folder): wait()",
}


@contextmanager
def another_process_that_writes(what: str, folder: Path) -> Iterator[subprocess.Popen]:
    program = f"""
import sys, time
from pathlib import Path
from backproof import files

folder = Path(sys.argv[1])

def wait():
    print("writing", flush=True)
    time.sleep(600)

{WRITERS[what]}
"""
    with subprocess.Popen([sys.executable, "-c", program, str(folder)], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout and process.stdout.readline() == "writing\n"
            yield process
        finally:
            process.kill()


@pytest.fixture
def _locks():
    pytest.importorskip("fcntl")


@pytest.mark.usefixtures("_locks")
@pytest.mark.parametrize("what", WRITERS)
def test_what_a_process_writes_is_removed_when_it_was_killed_and_not_before(tmp_path: Path, what: str):
    with another_process_that_writes(what, tmp_path) as process:
        (partial,) = tmp_path.iterdir()
        remove_leftovers(tmp_path)
        write_text(tmp_path / "text", "one")
        assert names(tmp_path) == [partial.name, "text"]
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert partial.exists()
        write_text(tmp_path / "text", "two")
        assert names(tmp_path) == ["text"]


@pytest.mark.usefixtures("_locks")
def test_what_this_process_writes_is_no_leftover(tmp_path: Path):
    with partial_folder(tmp_path) as partial:
        remove_leftovers(tmp_path)
        write_text(tmp_path / "text", "one")
        assert partial.is_dir()


def next_descriptor() -> int:
    with open(os.devnull) as file:  # noqa: PTH123 - the lowest number that is free
        return file.fileno()


def test_no_file_stays_open(tmp_path: Path):
    before = next_descriptor()
    (tmp_path / LEFTOVER).mkdir()
    write_text(tmp_path / "text", "one")
    with partial_folder(tmp_path):
        remove_leftovers(tmp_path)
    assert next_descriptor() == before


@pytest.mark.usefixtures("_locks")
def test_nothing_else_is_removed(tmp_path: Path):
    kept = [".backproof-0123456", f"{LEFTOVER}8", ".backproof-01234567.txt", "backproof-01234567", "run"]
    for name in kept:
        (tmp_path / name).mkdir()
    (tmp_path / "run" / "page").write_bytes(b"")
    (tmp_path / LEFTOVER).symlink_to(tmp_path / "run")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == sorted([*kept, LEFTOVER])
    assert names(tmp_path / "run") == ["page"]


def test_a_folder_that_is_not_there_is_no_trouble(tmp_path: Path):
    remove_leftovers(tmp_path / "absent")


def no_such_call(*_: object):
    raise OSError(9, "Bad file descriptor")  # how a network drive refuses to lock a folder


@pytest.mark.parametrize("locks", ["no module", "no such call"])
def test_without_locks_all_is_written_and_leftovers_stay(tmp_path: Path, monkeypatch, locks: str):
    if locks == "no module":
        monkeypatch.setattr(files, "fcntl", None)
    else:
        monkeypatch.setattr(pytest.importorskip("fcntl"), "flock", no_such_call)
    (tmp_path / LEFTOVER).mkdir()
    write_text(tmp_path / "text", "one")
    with partial_folder(tmp_path) as partial:
        (partial / "new").write_bytes(b"")
        (partial / "new").rename(tmp_path / "new")
    assert names(tmp_path) == [LEFTOVER, "new", "text"]


@pytest.mark.usefixtures("_locks")
def test_one_who_takes_it_for_a_leftover_before_it_is_locked_costs_a_new_name(tmp_path: Path, monkeypatch):
    lock, removed = files._lock, []

    def removed_before(partial: Path, wait: bool) -> int | None:
        if not removed:
            removed.append(partial)
            partial.rmdir()
        return lock(partial, wait)

    monkeypatch.setattr(files, "_lock", removed_before)
    with partial_folder(tmp_path) as partial:
        assert partial.is_dir()
        assert [partial] != removed


@pytest.mark.usefixtures("_locks")
def test_a_lock_on_what_has_gone_is_none(tmp_path: Path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    flock = fcntl.flock
    (tmp_path / LEFTOVER).mkdir()

    def gone_meanwhile(descriptor: int, how: int) -> None:
        flock(descriptor, how)
        shutil.rmtree(tmp_path / LEFTOVER)

    monkeypatch.setattr(fcntl, "flock", gone_meanwhile)
    assert files._lock(tmp_path / LEFTOVER, wait=True) is None


# What was moved aside


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """What is left when a process is killed after it has moved `run` aside."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "old").write_bytes(b"")
    (tmp_path / LEFTOVER / "aside").mkdir(parents=True)
    move_aside(tmp_path / "run", tmp_path / LEFTOVER)
    assert names(tmp_path) == [LEFTOVER]
    return tmp_path / LEFTOVER


@pytest.mark.usefixtures("_locks")
def test_what_was_moved_aside_and_not_replaced_is_put_back_by_the_next_one(tmp_path: Path, moved: Path):
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["old"]


@pytest.mark.usefixtures("_locks")
def test_what_was_replaced_goes(tmp_path: Path, moved: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "new").write_bytes(b"")
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["run"]
    assert names(tmp_path / "run") == ["new"]


@pytest.mark.usefixtures("_locks")
def test_what_cannot_be_put_back_is_kept(tmp_path: Path, moved: Path, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", no_such_call)
        remove_leftovers(tmp_path)
        with pytest.raises(OSError, match="Bad file descriptor"):
            put_back(moved)
    assert names(tmp_path) == [LEFTOVER]
    remove_leftovers(tmp_path)
    assert names(tmp_path / "run") == ["old"]


@pytest.mark.parametrize(("most", "whole"), [(5, True), (4, False)])
def test_a_file_is_read_up_to_a_size(tmp_path: Path, most: int, whole: bool):
    (tmp_path / "file").write_bytes(b"12345")
    if whole:
        assert files.read_bytes(tmp_path / "file", most) == b"12345"
    else:
        with pytest.raises(OSError, match="it is larger than 4 bytes"):
            files.read_bytes(tmp_path / "file", most)


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: path.symlink_to(os.devnull)])
def test_what_is_no_file_is_not_waited_for(tmp_path: Path, make):
    make(tmp_path / "pipe")
    with pytest.raises(OSError, match="it is a pipe, a socket or a device, and no file"):
        files.read_bytes(tmp_path / "pipe", 100)


def test_a_folder_is_no_file_to_read(tmp_path: Path):
    with pytest.raises(IsADirectoryError):
        files.read_bytes(tmp_path, 100)
