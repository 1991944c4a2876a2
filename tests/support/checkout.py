"""What belongs to the project, and not what else lies in the checkout: notes, scratch files, a file manager's own."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def tracked(folder: Path, pattern: str = "*") -> list[Path]:
    """The files anywhere below `folder` that git keeps; all of them where it keeps none, as in an unpacked archive."""
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), "ls-files", "-z"]
    try:
        listed = subprocess.run(command, capture_output=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):  # there is no git, or no repository
        listed = b""
    kept = [folder / name.decode() for name in listed.split(b"\0") if name]
    return sorted(file for file in kept or folder.rglob("*") if file.match(pattern) and file.is_file())
