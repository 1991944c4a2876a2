"""The convolutional network: every layer looks twice as far back as the one before it.

    x = wte[symbols]        layer k:  x = x + tanh(conv(x)), dilation 2^k        logits = head(x)

With a kernel of two cells and k = 0, 1, 2, 3 the last layer sees 16 symbols. Nothing is derived here: every arrow is a
rule.
Source: A. van den Oord et al., "WaveNet", 2016, arXiv:1609.03499, section 2.1, in its plainest form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from torch import Generator, Tensor

from backproof.models.chain import Data, Link, link
from backproof.models.drawing import layer, normal, uniform
from backproof.models.protocol import Parameters, checked_sizes
from backproof.rules import causal_conv, linear, lookup, masked_cross_entropy, residual, tanh
from backproof.shapes import NTF, NTV, Cells, Scalar


@dataclass(frozen=True)
class Options:
    """The sizes of the network."""

    block_size: int = 16
    """Symbols of a word that are learnt from, its end included."""
    layers: int = 4
    """Convolutions; each doubles how far back is seen."""
    width: int = 64
    """Numbers that stand for a symbol, from the first layer to the last."""
    kernel: int = 2
    """Cells that a convolution reads at once."""

    def __post_init__(self) -> None:
        checked_sizes(self)


class Saved(NamedTuple):
    """What the way back needs: of every layer what it read and what its tanh made, and the last one's result."""

    read: list[NTF]
    act: list[NTF]
    last: NTF
    logprobs: NTV


def initial(o: Options, symbols: int, g: Generator) -> dict[str, Tensor]:
    """The parameters before the first step."""
    p, fan_in = {"wte": normal(g, symbols, o.width)}, o.kernel * o.width
    for k in range(o.layers):
        p[f"conv{k}_W"] = uniform(g, fan_in, o.kernel, o.width, o.width)
        p[f"conv{k}_b"] = uniform(g, fan_in, o.width)
    return p | layer(g, "head", o.width, symbols)


def links(o: Options) -> tuple[Link, ...]:
    """The network."""
    chain, x = [link(lookup, "emb", "wte", ix="Xb")], "emb"
    for k in range(o.layers):
        chain += [
            link(causal_conv, f"conv{k}", x, f"conv{k}_W", f"conv{k}_b", dilation=_dilation(k, o)),
            link(tanh, f"act{k}", f"conv{k}"),
            link(residual, f"x{k}", x, f"act{k}"),
        ]
        x = f"x{k}"
    return (
        *chain,
        link(linear, "logits", x, "head_W", "head_b"),
        link(masked_cross_entropy, "loss", "logits", y="Yb"),
    )


def forward(p: Parameters, data: Data, o: Options) -> tuple[Scalar, Saved]:
    """The loss, fused."""
    read, act, last = _layers(p, data["Xb"], o)
    loss, logprobs = masked_cross_entropy.forward(linear.forward(last, p["head_W"], p["head_b"]), data["Yb"])
    return loss, Saved(read, act, last, logprobs)


def backward(p: Parameters, s: Saved, data: Data, o: Options) -> dict[str, Tensor]:
    """The gradients of the parameters, fused."""
    d: dict[str, Tensor] = {}
    dlogits = masked_cross_entropy.backward(s.logprobs, data["Yb"])
    dx, d["head_W"], d["head_b"] = linear.backward(s.last, p["head_W"], dlogits)
    for k in reversed(range(o.layers)):
        dconv = tanh.backward(s.act[k], dx)
        dread, d[f"conv{k}_W"], d[f"conv{k}_b"] = causal_conv.backward(
            s.read[k], p[f"conv{k}_W"], _dilation(k, o), dconv
        )
        dx = dx + dread  # what a layer reads has two readers: its convolution, and the sum behind it
    d["wte"] = lookup.backward(p["wte"], data["Xb"], dx)
    return d


def predict(p: Parameters, x: Cells, o: Options) -> NTV:
    """The logits."""
    return linear.forward(_layers(p, x, o)[-1], p["head_W"], p["head_b"])


def _dilation(k: int, o: Options) -> int:
    """Of layer k; further back than the block there are only zeros, which have to be made room for all the same."""
    return min(2**k, o.block_size)


def _layers(p: Parameters, symbols: Cells, o: Options) -> tuple[list[NTF], list[NTF], NTF]:
    x, read, acts = lookup.forward(p["wte"], symbols), [], []
    for k in range(o.layers):
        read.append(x)
        acts.append(tanh.forward(causal_conv.forward(x, p[f"conv{k}_W"], p[f"conv{k}_b"], _dilation(k, o))))
        x = residual.forward(x, acts[-1])
    return read, acts, x
