"""Files that are whole or not there."""

from __future__ import annotations

import os
from errno import EISDIR
from os import strerror
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write `text` beside `path` and rename it. Raises OSError and leaves what was there when that fails."""
    if not path.name:  # Path("") and Path("."), which have no name to write beside
        raise IsADirectoryError(EISDIR, strerror(EISDIR), str(path))
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        partial.write_text(text, encoding="utf-8")
        partial.replace(path)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
