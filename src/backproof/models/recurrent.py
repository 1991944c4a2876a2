"""What the models with a recurrent layer share: a table of symbols before it, a linear layer behind it.

    x = wte[symbols]        y = the layer over x        logits = head(y)

The pages `rnn`, `gru` and `lstm` say which layer, and what it learns.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

from torch import Generator, Tensor

from backproof.models.chain import Data, Link, link
from backproof.models.drawing import layer, normal
from backproof.models.protocol import Parameters, checked_sizes
from backproof.rules import linear, lookup, masked_cross_entropy
from backproof.shapes import NTE, NTH, NTV, Scalar


@dataclass(frozen=True)
class Options:
    """The sizes of the network."""

    block_size: int = 16
    """Symbols of a word that are learnt from, its end included."""
    width: int = 64
    """Numbers that stand for a symbol."""
    hidden: int = 64
    """Numbers that it keeps from symbol to symbol."""

    def __post_init__(self) -> None:
        checked_sizes(self)


class Saved(NamedTuple):
    """What the way back needs; `kept` is the layer's own."""

    x: NTE
    y: NTH
    kept: Any
    logprobs: NTV


def initial(o: Options, symbols: int, g: Generator, own: dict[str, Tensor]) -> dict[str, Tensor]:
    """The parameters before the first step, the layer's `own` between the others."""
    return {"wte": normal(g, symbols, o.width), **own, **layer(g, "head", o.hidden, symbols)}


def links(rule: ModuleType, own: tuple[str, ...]) -> tuple[Link, ...]:
    """The network with this layer, which reads its `own` parameters."""
    return (
        link(lookup, "x", "wte", ix="Xb"),
        link(rule, "y", "x", *own),
        link(linear, "logits", "y", "head_W", "head_b"),
        link(masked_cross_entropy, "loss", "logits", y="Yb"),
    )


def loss_of(p: Parameters, x: NTE, y: NTH, kept: Any, data: Data) -> tuple[Scalar, Saved]:
    """The loss, fused, behind the layer."""
    loss, logprobs = masked_cross_entropy.forward(linear.forward(y, p["head_W"], p["head_b"]), data["Yb"])
    return loss, Saved(x, y, kept, logprobs)


def head_backward(p: Parameters, s: Saved, data: Data) -> tuple[NTH, dict[str, Tensor]]:
    """The gradient of what the layer made, and those of the parameters behind it."""
    dlogits = masked_cross_entropy.backward(s.logprobs, data["Yb"])
    dy, dhead_W, dhead_b = linear.backward(s.y, p["head_W"], dlogits)
    return dy, {"head_W": dhead_W, "head_b": dhead_b}
