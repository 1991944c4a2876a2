"""One owner of a folder at a time: a lock that goes with its process; who comes second hears whose the folder is."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from backproof.files import locked, read_bytes
from backproof.training.folder import FolderError

_MOST_TEXT = 2**16  # bytes of what an owner signs with, which takes less than a hundred but for a long name of a host


@contextmanager
def owned(folder: Path, lock: Path) -> Iterator[None]:
    """Keep everybody else out of `folder` by the file `lock`, which is there until the block ends.

    Raises FolderError where another process works in the folder, and OSError where the file cannot be written.
    """
    with locked(lock) as mine:
        if not mine:
            raise FolderError(f"{folder} is in use: {_owner(lock)}; wait, or choose another folder with --out.")
        try:
            lock.write_text(_signed(), encoding="utf-8")
            yield
        finally:
            lock.unlink(missing_ok=True)


def _signed() -> str:
    return json.dumps({"process": os.getpid(), "host": socket.gethostname(), "since": f"{datetime.now():%H:%M:%S}"})


def _owner(lock: Path) -> str:
    try:
        read = json.loads(read_bytes(lock, _MOST_TEXT))
        return f"process {int(read['process'])} on {read['host']} has been training there since {read['since']}"
    except (OSError, ValueError, TypeError, KeyError):
        return "another process trains there"
