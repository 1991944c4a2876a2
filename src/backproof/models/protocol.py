"""What a model is: one page, as a rule is one.

A page of this folder that reads whole words holds, in this order:

    Options           a frozen dataclass: the sizes that make the network; each has its meaning below it
    initial           the parameters before the first step, by name
    links             the table of links (`chain.py`), which is the network: every value has its name there
    forward           the loss, fused by hand for speed, and what the way back needs
    backward          the gradients of the parameters, fused by hand
    predict           the logits, without a loss and without dropout

What it reads is its data: contexts `Xb` (n, t) and targets `Yb` (n, t), -1 where a cell lies after a word's end
(`text/whole_words.py`). Every cell may see what lies left of it and itself. A page with dropout also has `masks`, which
draws what is kept in a step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, Protocol, runtime_checkable

from torch import Generator, Tensor

from backproof.models.chain import Data, Link
from backproof.shapes import NTV, Cells, Scalar

MOST = 65_535  # of a size: what the native engine counts

Parameters = Mapping[str, Tensor]
"""What is learnt, or its gradients, in the order in which it is drawn."""


def data_of(x: Cells, y: Cells) -> dict[str, Tensor]:
    """A batch under the names by which networks read it."""
    return {"Xb": x, "Yb": y}


@runtime_checkable
class Model(Protocol):
    """A page: see above. `saved` is the page's own."""

    Options: type[Any]

    @staticmethod
    def initial(options: Any, symbols: int, generator: Generator) -> dict[str, Tensor]: ...

    @staticmethod
    def links(options: Any) -> tuple[Link, ...]: ...

    @staticmethod
    def forward(p: Parameters, data: Data, options: Any) -> tuple[Scalar, Any]: ...

    @staticmethod
    def backward(p: Parameters, saved: Any, data: Data, options: Any) -> dict[str, Tensor]: ...

    @staticmethod
    def predict(p: Parameters, x: Cells, options: Any) -> NTV: ...


def masks_of(page: Model, options: Any, x: Cells, generator: Generator) -> dict[str, Tensor]:
    """What dropout keeps of a batch, drawn anew for each step; nothing for a page without dropout."""
    draw = getattr(page, "masks", None)
    return draw(options, *x.shape, generator) if draw else {}


def checked_sizes(options: Any) -> None:
    """Raise OptionsError for a size that is no whole number from 1 to 65,535, or for a part that is not below 1."""
    for each in fields(options):
        value, flag = getattr(options, each.name), "--" + each.name.replace("_", "-")
        if each.type in ("int", int):
            if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= MOST:
                raise OptionsError(f"{flag} is {value!r}; it has to be a whole number from 1 to {MOST:,}.")
        elif not isinstance(value, (int, float)) or isinstance(value, bool) or not 0 <= value < 1:
            raise OptionsError(f"{flag} is {value!r}; it has to be a number from 0 to less than 1.")


class OptionsError(Exception):
    """Sizes that make no network; the message names them and what to choose."""
