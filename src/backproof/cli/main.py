"""Choose the command, run it, and turn the errors that a user can cause into one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from errno import ENOSPC
from io import TextIOWrapper

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130
_NO_MEMORY = "DefaultCPUAllocator: not enough memory"  # in PyTorch's RuntimeError
_INTERRUPTED_EARLY = "Interrupted; nothing was saved."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not proved, 2 cannot be done so, 130 interrupted."""
    try:  # these take a quarter of a second, in which Ctrl-C is a sentence as well
        from importlib.metadata import version

        from backproof.cli.commands import parse
        from backproof.cli.console import complain, console
    except KeyboardInterrupt:
        print(f"backproof: {_INTERRUPTED_EARLY}", file=sys.stderr)
        return INTERRUPTED
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # what the terminal's encoding lacks is escaped, and ends nothing
            stream.reconfigure(errors="backslashreplace")
    if list(sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        console.print(f"backproof {version('backproof')}")
        return 0
    try:
        command = parse(arguments)
        return command.run()
    except BrokenPipeError:  # the reader of our output has gone, as in `backproof sample RUN | head -1`
        _say_no_more()
        return FAILED
    except Exception as error:
        if type(error).__module__.partition(".")[0] == "backproof":
            return complain(str(error), UNUSABLE)
        if isinstance(error, OSError) and error.errno == ENOSPC:
            _say_no_more()
            return complain("There is no room left where the output goes; make room, or write it elsewhere.", UNUSABLE)
        if isinstance(error, MemoryError) or _NO_MEMORY in str(error):
            told = "There is not enough memory for this; end other programs, or ask for less"
            return complain(f"{told}. What was saved until now is kept.", UNUSABLE)
        if isinstance(error, OSError) and error.filename is not None:  # as a name that is too long
            return complain(f"{error.filename!s} cannot be used ({error.strerror}); give another path.", UNUSABLE)
        raise  # a fault of ours, and not something that the user can mend
    except KeyboardInterrupt:
        return complain(_INTERRUPTED_EARLY, INTERRUPTED)


def _say_no_more() -> None:
    """What is still to be written goes nowhere, so that nothing fails again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
