"""Choose the command, run it, and turn the errors that a user can cause into one sentence."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from errno import ENOSPC
from importlib.metadata import version
from typing import Annotated

import tyro

from backproof.cli.console import complain, console
from backproof.cli.evaluate import Evaluate
from backproof.cli.fetch import Fetch
from backproof.cli.prove import Prove
from backproof.cli.sample import Sample
from backproof.cli.sweep import SweepCommand
from backproof.cli.train import Train

_Command = (
    Annotated[Prove, tyro.conf.subcommand("prove")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[SweepCommand, tyro.conf.subcommand("sweep")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Sample, tyro.conf.subcommand("sample")]
    | Annotated[Fetch, tyro.conf.subcommand("fetch")]
)

_DESCRIPTION = """Backward passes written by hand, proved gradient by gradient, and fast.

Example: backproof prove && backproof train --steps 20000"""

FAILED, UNUSABLE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code: 0 done, 1 not proved, 2 cannot be done so, 130 interrupted."""
    if list(sys.argv[1:] if arguments is None else arguments) == ["--version"]:
        console.print(f"backproof {version('backproof')}")
        return 0
    try:
        command = tyro.cli(
            _Command,  # type: ignore[arg-type]
            prog="backproof",
            description=_DESCRIPTION,
            args=arguments,
            config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
        )
        return command.run()
    except BrokenPipeError:  # the reader of our output has gone, as in `backproof sample RUN | head -1`
        _say_no_more()
        return FAILED
    except OSError as error:
        if error.errno != ENOSPC:
            raise
        _say_no_more()
        return complain("There is no room left where the output goes; make room, or write it elsewhere.", UNUSABLE)
    except Exception as error:
        if type(error).__module__.partition(".")[0] != "backproof":
            raise  # a fault of ours, and not something that the user can mend
        return complain(str(error), UNUSABLE)
    except KeyboardInterrupt:
        return complain("Interrupted; nothing was saved.", INTERRUPTED)


def _say_no_more() -> None:
    """What is still to be written goes nowhere, so that nothing fails again when Python ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
