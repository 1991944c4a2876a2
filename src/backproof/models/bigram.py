"""The bigram model: how likely each symbol is after the one before it, and nothing else.

    logits = W[symbols]

W comes to hold the logarithms of how often each pair occurs, but for a constant a row: what gradient descent arrives at
can be counted as well, which makes this the page to begin with. Nothing is derived here: both arrows are rules.
Source: A. A. Markov, 1913, on the letters of "Eugene Onegin"; W begins at 0 as in Karpathy's makemore.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from backproof.models.chain import Data, Link, link
from backproof.models.protocol import Parameters, checked_sizes
from backproof.rules import lookup, masked_cross_entropy
from backproof.shapes import NTV, Cells, Scalar


@dataclass(frozen=True)
class Options:
    """The sizes of the network."""

    block_size: int = 16
    """Symbols of a word that are learnt from, its end included."""

    def __post_init__(self) -> None:
        checked_sizes(self)


def initial(o: Options, symbols: int, g: Generator) -> dict[str, Tensor]:
    """The parameters before the first step: every symbol is as likely as any other."""
    return {"W": torch.zeros(symbols, symbols)}


def links(o: Options) -> tuple[Link, ...]:
    """The network."""
    return link(lookup, "logits", "W", ix="Xb"), link(masked_cross_entropy, "loss", "logits", y="Yb")


def forward(p: Parameters, data: Data, o: Options) -> tuple[Scalar, NTV]:
    """The loss, fused, and logprobs."""
    return masked_cross_entropy.forward(predict(p, data["Xb"], o), data["Yb"])


def backward(p: Parameters, logprobs: NTV, data: Data, o: Options) -> dict[str, Tensor]:
    """The gradients of the parameters, fused."""
    dlogits = masked_cross_entropy.backward(logprobs, data["Yb"])
    return {"W": lookup.backward(p["W"], data["Xb"], dlogits)}


def predict(p: Parameters, x: Cells, o: Options) -> NTV:
    """The logits."""
    return lookup.forward(p["W"], x)
