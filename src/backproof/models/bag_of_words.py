"""The bag of words: the mean of all symbols so far, whatever their order, and a small network behind it.

    x = wte[symbols] + wpe[positions]        mid = x + mean of x up to here
    last = mid + out(tanh(fc(mid)))          logits = head(last)

The positions are part of what is averaged, so that the order is not quite forgotten. Nothing is derived here: every
arrow is a rule. Source: `BoW` of Karpathy's makemore, with its sizes and initial values.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from backproof.models.chain import Data, Link, link
from backproof.models.drawing import layer, normal
from backproof.models.protocol import Parameters, checked_sizes
from backproof.rules import linear, lookup, masked_cross_entropy, positions, residual, tanh, window_mean
from backproof.shapes import NTF, NTH, NTV, Cells, Scalar


@dataclass(frozen=True)
class Options:
    """The sizes of the network."""

    block_size: int = 16
    """Symbols that it averages at most, the one at hand included."""
    width: int = 64
    """Numbers that stand for a symbol."""
    hidden: int = 64
    """Neurons of the hidden layer."""

    def __post_init__(self) -> None:
        checked_sizes(self)


class Saved(NamedTuple):
    """What the way back needs."""

    mid: NTF
    act: NTH
    last: NTF
    logprobs: NTV


def initial(o: Options, symbols: int, g: Generator) -> dict[str, Tensor]:
    """The parameters before the first step."""
    p = {"wte": normal(g, symbols, o.width), "wpe": normal(g, o.block_size, o.width)}
    p |= layer(g, "fc", o.width, o.hidden) | layer(g, "out", o.hidden, o.width)
    return p | layer(g, "head", o.width, symbols)


def links(o: Options) -> tuple[Link, ...]:
    """The network."""
    return (
        link(lookup, "emb", "wte", ix="Xb"),
        link(positions, "x", "emb", "wpe"),
        link(window_mean, "bag", "x", window=o.block_size),
        link(residual, "mid", "x", "bag"),
        link(linear, "fc", "mid", "fc_W", "fc_b"),
        link(tanh, "act", "fc"),
        link(linear, "out", "act", "out_W", "out_b"),
        link(residual, "last", "mid", "out"),
        link(linear, "logits", "last", "head_W", "head_b"),
        link(masked_cross_entropy, "loss", "logits", y="Yb"),
    )


def forward(p: Parameters, data: Data, o: Options) -> tuple[Scalar, Saved]:
    """The loss, fused."""
    mid, act, last = _last(p, data["Xb"], o)
    loss, logprobs = masked_cross_entropy.forward(linear.forward(last, p["head_W"], p["head_b"]), data["Yb"])
    return loss, Saved(mid, act, last, logprobs)


def backward(p: Parameters, s: Saved, data: Data, o: Options) -> dict[str, Tensor]:
    """The gradients of the parameters, fused."""
    dlogits = masked_cross_entropy.backward(s.logprobs, data["Yb"])
    dlast, dhead_W, dhead_b = linear.backward(s.last, p["head_W"], dlogits)
    dact, dout_W, dout_b = linear.backward(s.act, p["out_W"], dlast)
    dbranch, dfc_W, dfc_b = linear.backward(s.mid, p["fc_W"], tanh.backward(s.act, dact))
    dmid = dlast + dbranch  # mid has two readers: fc, last
    dx = dmid + window_mean.backward(o.block_size, dmid)  # x has two readers: bag, mid
    demb, dwpe = positions.backward(p["wpe"], dx)
    dwte = lookup.backward(p["wte"], data["Xb"], demb)
    return {
        "wte": dwte, "wpe": dwpe, "fc_W": dfc_W, "fc_b": dfc_b, "out_W": dout_W, "out_b": dout_b,
        "head_W": dhead_W, "head_b": dhead_b,
    }  # fmt: skip


def predict(p: Parameters, x: Cells, o: Options) -> NTV:
    """The logits."""
    return linear.forward(_last(p, x, o)[-1], p["head_W"], p["head_b"])


def _last(p: Parameters, symbols: Cells, o: Options) -> tuple[NTF, NTH, NTF]:
    x = positions.forward(lookup.forward(p["wte"], symbols), p["wpe"])
    mid = residual.forward(x, window_mean.forward(x, o.block_size))
    act = tanh.forward(linear.forward(mid, p["fc_W"], p["fc_b"]))
    return mid, act, residual.forward(mid, linear.forward(act, p["out_W"], p["out_b"]))
