"""A folder that appears whole or not at all, and never replaces another unasked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime
from itertools import takewhile
from pathlib import Path

MARKER = "run.json"  # a folder that holds it is a run, and may be replaced when the user asks for that


class FolderError(ValueError):
    """A folder that cannot be written; the message says which one to choose."""


def default_folder(suffix: str = "") -> Path:
    """`runs/` and the present time."""
    return _free(Path("runs") / f"{datetime.now():%Y-%m-%d-%H%M%S}{suffix}")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse, before the work begins, what `write_folder` could not write after it. Leaves nothing behind."""
    place = _followed(folder)
    try:
        if place.exists() and not place.is_dir():
            raise FolderError(f"{folder} is a file; choose another folder with --out.")
        if place.exists() and any(place.iterdir()):
            if not overwrite:
                raise FolderError(f"{folder} exists already; choose another folder with --out, or add --overwrite.")
            if not (place / MARKER).is_file():
                raise FolderError(
                    f"{folder} is not the folder of a run and is not overwritten; choose another with --out."
                )
        if place.exists() and (reason := _why_it_has_to_stay(place)):
            raise FolderError(f"{folder} cannot be replaced: {reason}; choose another, as with --out {folder / 'run'}.")
        created = make_folder(place.absolute().parent)
        try:
            probe = _beside(place, "partial")  # the name that will be written to: another might not be too long
            probe.mkdir()
            probe.rmdir()
        finally:
            remove_empty(created)
    except OSError as error:
        raise FolderError(f"{folder} cannot be written ({error.strerror}); choose another folder with --out.") from None


def write_folder(folder: Path, files: Mapping[str, bytes], overwrite: bool = False) -> Path:
    """Write `files` beside and rename; return the folder, or a free name like it if it could not be had."""
    place = _followed(folder)
    partial, old = _beside(place, "partial"), _beside(place, "old")
    try:
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        written = _put(partial, place, old, overwrite)
    except OSError as error:
        raise FolderError(
            f"{folder} could not be written ({error.strerror}); choose another folder with --out."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return folder if written == place else written


def make_folder(folder: Path) -> list[Path]:
    """Make a folder and those above it; return the ones that are new, for `remove_empty`. Raises OSError."""
    missing = list(takewhile(lambda each: not each.exists(), (folder, *folder.parents)))
    try:
        for each in reversed(missing):
            each.mkdir(exist_ok=True)
    except OSError:
        remove_empty(missing)
        raise
    return missing


def remove_empty(folders: Iterable[Path]) -> None:
    """Remove each of the folders that is empty, the innermost given first."""
    for folder in folders:
        with suppress(OSError):
            folder.rmdir()


def _put(partial: Path, place: Path, old: Path, overwrite: bool) -> Path:
    try:
        if overwrite and (place / MARKER).is_file():
            place.rename(old)
        partial.rename(place)  # there is nothing, or an empty folder
        return place
    except OSError:  # taken meanwhile, or not to be replaced after all: what was trained is worth another name
        pass
    finally:
        if old.exists() and not place.exists():  # also when a second Ctrl-C came between the two
            old.rename(place)
    free = _free(place)
    partial.rename(free)
    return free


def _why_it_has_to_stay(place: Path) -> str:
    """Why no other folder can take the name of this one, or nothing."""
    if os.path.ismount(place):
        return "a disk is mounted there"
    return "you are in it" if Path.cwd().is_relative_to(os.path.realpath(place)) else ""


def _followed(folder: Path) -> Path:
    """What a link leads to, and the true name of `.`; neither of them can be renamed or replaced themselves."""
    leads_elsewhere = folder.name in ("", "..") or os.path.islink(folder)  # noqa: PTH114 - Path.is_symlink() can raise
    return Path(os.path.realpath(folder)) if leads_elsewhere else folder


def _beside(folder: Path, purpose: str) -> Path:
    return folder.absolute().with_name(f".{folder.absolute().name}.{purpose}-{os.getpid()}")


def _free(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}-{number}") for number in range(2, 10_000))
    return folder if not folder.exists() else next(name for name in names if not name.exists())
