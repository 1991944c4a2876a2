"""The models that read whole words, by the names that the command line knows. A new page is added to `NAMES`.

Imports nothing heavy before a page is asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from backproof.models.protocol import Model

NAMES = ("bigram", "bag-of-words", "cnn", "rnn", "gru", "lstm", "transformer")


def page(name: str) -> Model:
    """The page of this model; KeyError for a name that is not in `NAMES`."""
    if name not in NAMES:
        raise KeyError(name)
    return cast("Model", import_module(f"backproof.models.{name.replace('-', '_')}"))


def options_of(name: str) -> type[Any]:
    """The class of its options."""
    return page(name).Options
