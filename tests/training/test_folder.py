import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from backproof.training.folder import FolderError, check_folder, check_free, default_folder, write_folder

RUN = {"run.json": b"{}", "samples.txt": b"anna\n"}


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_folder_appears_whole(tmp_path: Path):
    folder = tmp_path / "deep" / "run"
    check_folder(folder, overwrite=False)
    assert write_folder(folder, RUN) == folder
    assert content(folder) == RUN
    assert list(folder.parent.iterdir()) == [folder]  # nothing is left beside it


def test_an_existing_run_is_replaced_only_when_asked(tmp_path: Path):
    folder = write_folder(tmp_path / "run", RUN)
    with pytest.raises(FolderError, match="exists already; choose another folder with --out, or add --overwrite"):
        check_folder(folder, overwrite=False)
    check_folder(folder, overwrite=True)
    write_folder(folder, {"run.json": b"[]"}, overwrite=True)
    assert content(folder) == {"run.json": b"[]"}
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_that_appeared_meanwhile_is_left_alone(tmp_path: Path):
    folder = write_folder(tmp_path / "run", RUN)
    assert write_folder(folder, {"run.json": b"2"}) == tmp_path / "run-2"
    assert content(folder) == RUN


def test_what_is_no_run_is_never_overwritten(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "one.jpg").write_bytes(b"1")
    with pytest.raises(FolderError, match="is not the folder of a run and is not overwritten"):
        check_folder(tmp_path / "photos", overwrite=True)
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(FolderError, match="is a file; choose another folder with --out"):
        check_folder(tmp_path / "file", overwrite=True)
    with pytest.raises(FolderError, match=r"cannot be written \(.*\); choose another folder with --out"):
        check_folder(tmp_path / "file" / "run", overwrite=False)


def test_an_empty_folder_may_be_filled(tmp_path: Path):
    (tmp_path / "run").mkdir()
    check_folder(tmp_path / "run", overwrite=False)
    assert content(write_folder(tmp_path / "run", RUN)) == RUN


def test_a_disk_that_fills_up_leaves_the_old_run(tmp_path: Path, monkeypatch):
    folder = write_folder(tmp_path / "run", RUN)

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FolderError, match=r"could not be written \(No space left on device\)"):
        write_folder(folder, {"run.json": b"3"}, overwrite=True)
    assert content(folder) == RUN
    assert list(tmp_path.iterdir()) == [folder]


def test_default_folders_do_not_meet(tmp_path: Path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = write_folder(default_folder(), RUN)
    assert first.parent == Path("runs")
    assert default_folder() != first


def test_a_link_to_a_run_stays_and_what_it_leads_to_is_replaced(tmp_path: Path):
    real = write_folder(tmp_path / "real", RUN)
    link = tmp_path / "link"
    link.symlink_to(real)
    check_folder(link, overwrite=True)
    assert write_folder(link, {"run.json": b"2"}, overwrite=True) == link
    assert link.is_symlink()
    assert content(real) == {"run.json": b"2"}
    assert sorted(tmp_path.iterdir()) == [link, real]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_to_an_empty_folder_or_to_none_is_followed(tmp_path: Path, there: bool):
    if there:
        (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    check_folder(tmp_path / "link", overwrite=False)
    write_folder(tmp_path / "link", RUN)
    assert content(tmp_path / "real") == RUN
    assert (tmp_path / "link").is_symlink()


def test_what_cannot_be_replaced_is_refused_before_the_work(tmp_path: Path, monkeypatch):
    empty = tmp_path / "empty"
    empty.mkdir()
    monkeypatch.chdir(empty)
    with pytest.raises(FolderError, match=r"^\. cannot be replaced: you are in it; .* --out run\.$"):
        check_folder(Path(), overwrite=False)
    run = write_folder(tmp_path / "run", RUN | {"deep": b""})
    (run / "deep").unlink()
    (run / "deep").mkdir()
    monkeypatch.chdir(run / "deep")
    with pytest.raises(FolderError, match="cannot be replaced: you are in it"):
        check_folder(Path(".."), overwrite=True)
    monkeypatch.setattr("os.path.ismount", lambda path: True)
    with pytest.raises(FolderError, match="empty cannot be replaced: a disk is mounted there"):
        check_folder(empty, overwrite=False)


def test_a_place_that_cannot_be_replaced_after_all_loses_nothing(tmp_path: Path, monkeypatch):
    folder = write_folder(tmp_path / "run", RUN)
    rename = Path.rename

    def busy_once(self, target):
        if target == folder:
            monkeypatch.setattr(Path, "rename", rename)
            raise OSError(16, "Device or resource busy")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", busy_once)
    assert write_folder(folder, {"run.json": b"2"}, overwrite=True) == tmp_path / "run-2"
    assert content(folder) == RUN
    assert content(tmp_path / "run-2") == {"run.json": b"2"}
    assert sorted(tmp_path.iterdir()) == [folder, tmp_path / "run-2"]


def test_a_second_ctrl_c_at_the_worst_moment_leaves_the_old_run(tmp_path: Path, monkeypatch):
    folder = write_folder(tmp_path / "run", RUN)
    rename = Path.rename

    def interrupted(self, target):
        if target == folder:
            monkeypatch.setattr(Path, "rename", rename)
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(folder, {"run.json": b"2"}, overwrite=True)
    assert content(folder) == RUN
    assert list(tmp_path.iterdir()) == [folder]


def longest_name(folder: Path) -> int:
    """How long a name may be that still has room for the number that it is given when it is taken meanwhile."""
    return os.pathconf(folder, "PC_NAME_MAX") - len("-9999")


@pytest.mark.parametrize("beyond", [1, 5, 6, 300])
def test_a_name_that_is_too_long_is_refused_before_the_work(tmp_path: Path, beyond: int):
    with pytest.raises(FolderError, match=r"cannot be written \(File name too long\); choose another"):
        check_folder(tmp_path / "deep" / ("n" * (longest_name(tmp_path) + beyond)), overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_the_longest_name_is_taken_and_replaced_and_has_room_for_a_number(tmp_path: Path):
    folder = tmp_path / ("n" * longest_name(tmp_path))
    check_folder(folder, overwrite=False)
    assert write_folder(folder, RUN) == folder
    check_folder(folder, overwrite=True)
    assert write_folder(folder, {"run.json": b"2"}, overwrite=True) == folder
    assert write_folder(folder, RUN) == tmp_path / f"{folder.name}-2"
    assert content(folder) == {"run.json": b"2"}


KILLED = """
import os, signal, sys
from pathlib import Path
from backproof.training.folder import write_folder

folder, moment = Path(sys.argv[1]), sys.argv[2]
rename, write_bytes = Path.rename, Path.write_bytes

def killed(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if moment == "while it writes":
    Path.write_bytes = killed
elif moment == "between the renames":
    Path.rename = lambda self, target: killed() if target == folder else rename(self, target)
write_folder(folder, {"run.json": b"new"}, overwrite=True)
"""


@pytest.mark.parametrize("moment", ["while it writes", "between the renames"])
def test_a_run_that_is_killed_leaves_the_old_run_and_nothing_for_long(tmp_path: Path, moment: str):
    pytest.importorskip("fcntl")
    folder = write_folder(tmp_path / "run", RUN)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(folder), moment])
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == (2 if moment == "while it writes" else 1)

    assert write_folder(tmp_path / "other", RUN) == tmp_path / "other"
    assert sorted(tmp_path.iterdir()) == [tmp_path / "other", folder]
    assert content(folder) == RUN


def test_what_a_killed_process_left_in_an_empty_folder_does_not_fill_it(tmp_path: Path):
    pytest.importorskip("fcntl")
    (tmp_path / "sweep").mkdir()
    subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "sweep" / "run-1"), "while it writes"])
    assert any((tmp_path / "sweep").iterdir())
    check_free(tmp_path / "sweep")
    (tmp_path / "sweep" / "notes").write_bytes(b"")
    with pytest.raises(FolderError, match=r"sweep exists already; choose another folder with --out\.$"):
        check_free(tmp_path / "sweep")


def test_a_folder_that_may_not_be_looked_into_is_refused_in_a_sentence(tmp_path: Path, monkeypatch):
    def locked(self):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "exists", locked)
    with pytest.raises(FolderError, match=r"cannot be written \(Permission denied\); choose another"):
        check_folder(tmp_path / "run", overwrite=False)


def test_looking_leaves_nothing_behind(tmp_path: Path):
    check_folder(tmp_path / "deep" / "er" / "run", overwrite=False)
    assert list(tmp_path.iterdir()) == []
