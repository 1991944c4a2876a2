from pathlib import Path

import pytest

from backproof.training.folder import FolderError, check_folder, default_folder, write_folder

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
