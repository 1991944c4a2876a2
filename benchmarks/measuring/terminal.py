"""A command that believes a person is watching."""

from __future__ import annotations

import os
import subprocess
from typing import NamedTuple


class Shown(NamedTuple):
    """The exit status of a command, and all that it wrote."""

    status: int
    text: str


def on_a_terminal(command: list[str]) -> Shown:
    """Run `command` with a terminal of 100 columns that shows UTF-8 for its output and its errors."""
    ours, theirs = os.openpty()
    terminal = {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", "PYTHONIOENCODING": "utf-8"}
    environment = os.environ | terminal
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    with os.fdopen(ours, "rb", buffering=0) as screen:
        try:
            while part := screen.read(65_536):
                written += part
        except OSError:  # how Linux says that the other end has closed
            pass
    return Shown(process.wait(), written.decode("utf-8", errors="replace"))
