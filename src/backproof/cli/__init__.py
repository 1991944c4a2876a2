"""The command line: one file a command. Nothing here imports torch before a command needs it."""

from backproof.cli.main import main

__all__ = ["main"]
