"""All the commands, and how their arguments are read."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import tyro

from backproof.cli.evaluate import Evaluate
from backproof.cli.explain import Explain
from backproof.cli.fetch import Fetch
from backproof.cli.of_model import commands_of, named_model
from backproof.cli.prove import Prove
from backproof.cli.sample import Sample
from backproof.cli.sweep import SweepCommand
from backproof.cli.train import Train

Command = (
    Annotated[Prove, tyro.conf.subcommand("prove")]
    | Annotated[Explain, tyro.conf.subcommand("explain")]
    | Annotated[Train, tyro.conf.subcommand("train")]
    | Annotated[SweepCommand, tyro.conf.subcommand("sweep")]
    | Annotated[Evaluate, tyro.conf.subcommand("evaluate")]
    | Annotated[Sample, tyro.conf.subcommand("sample")]
    | Annotated[Fetch, tyro.conf.subcommand("fetch")]
)

_DESCRIPTION = """Backward passes written by hand, proved gradient by gradient, and fast.

Example: backproof prove && backproof train --steps 20000"""


def parse(arguments: Sequence[str] | None = None) -> Command:
    """The command that `arguments` (None: those of the process) ask for; leaves as a program does when it is none."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    model = named_model(given) if given[:1] in (["train"], ["prove"], ["sweep"]) else None
    return tyro.cli(
        commands_of(model) if model else Command,  # type: ignore[arg-type]
        prog="backproof",
        description=_DESCRIPTION,
        args=arguments,
        config=(tyro.conf.OmitArgPrefixes, tyro.conf.OmitSubcommandPrefixes, tyro.conf.FlagCreatePairsOff),
    )
