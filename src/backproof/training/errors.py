"""What can be wrong with what was read."""

from __future__ import annotations


class ModelFileError(ValueError):
    """A saved model, or a run, that cannot be read; the message names the file and what is wrong with it."""
