"""A folder that appears whole or not at all, and never replaces another unasked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

MARKER = "run.json"  # a folder that holds it is a run, and may be replaced when the user asks for that


class FolderError(ValueError):
    """A folder that cannot be written; the message says which one to choose."""


def default_folder(suffix: str = "") -> Path:
    """`runs/` and the present time."""
    return _free(Path("runs") / f"{datetime.now():%Y-%m-%d-%H%M%S}{suffix}")


def check_folder(folder: Path, overwrite: bool) -> None:
    """Refuse, before the work begins, what `write_folder` could not write after it."""
    if folder.exists() and not folder.is_dir():
        raise FolderError(f"{folder} is a file; choose another folder with --out.")
    if folder.exists() and any(folder.iterdir()):
        if not overwrite:
            raise FolderError(f"{folder} exists already; choose another folder with --out, or add --overwrite.")
        if not (folder / MARKER).is_file():
            raise FolderError(f"{folder} is not the folder of a run and is not overwritten; choose another with --out.")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        probe = _beside(folder, "probe")
        probe.mkdir()
        probe.rmdir()
    except OSError as error:
        raise FolderError(f"{folder} cannot be written ({error.strerror}); choose another folder with --out.") from None


def write_folder(folder: Path, files: Mapping[str, bytes], overwrite: bool = False) -> Path:
    """Write `files` beside and rename; return the folder, or a free name like it if it was taken meanwhile."""
    partial, old = _beside(folder, "partial"), _beside(folder, "old")
    try:
        partial.mkdir(parents=True)
        for name, content in files.items():
            (partial / name).write_bytes(content)
        if overwrite and (folder / MARKER).is_file():
            folder.rename(old)
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            folder = _free(folder)
        partial.rename(folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise FolderError(
            f"{folder} could not be written ({error.strerror}); choose another folder with --out."
        ) from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    shutil.rmtree(old, ignore_errors=True)
    return folder


def _beside(folder: Path, purpose: str) -> Path:
    return folder.absolute().with_name(f".{folder.absolute().name}.{purpose}-{os.getpid()}")


def _free(folder: Path) -> Path:
    names = (folder.with_name(f"{folder.name}-{number}") for number in range(2, 10_000))
    return folder if not folder.exists() else next(name for name in names if not name.exists())
