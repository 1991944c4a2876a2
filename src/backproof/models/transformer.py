"""The Transformer: every symbol looks back at those before it, layer after layer.

    x = wte[symbols] + wpe[positions]
    each layer:  x = x + proj(attention(attn(ln1(x))))        x = x + out(gelu(fc(ln2(x))))
    logits = lnf(x) @ head_W

with dropout behind the embedding and at the end of each branch where `dropout` is not 0. Nothing is derived here: every
arrow is a rule, and the fused pass below goes through them by hand.
Source: A. Vaswani et al., "Attention Is All You Need", 2017, arXiv:1706.03762; normalised before each branch as in
GPT-2; sizes and initial values are those of Karpathy's makemore.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from backproof.models.chain import Data, Link, link
from backproof.models.drawing import layer, norm, normal, uniform
from backproof.models.protocol import OptionsError, Parameters, checked_sizes
from backproof.rules import (
    attention,
    dropout,
    gelu_tanh,
    layernorm,
    linear,
    lookup,
    masked_cross_entropy,
    positions,
    projection,
    residual,
)
from backproof.shapes import NHTD, NHTT, NT1, NTF, NTV, Cells, Scalar


@dataclass(frozen=True)
class Options:
    """The sizes of the network."""

    block_size: int = 16
    """Symbols that it can look back at, the one at hand included."""
    layers: int = 4
    """Pairs of attention and feed-forward branches."""
    heads: int = 4
    """Attention's heads, among which the width is divided."""
    width: int = 64
    """Numbers that stand for a symbol, from the first layer to the last."""
    dropout: float = 0.0
    """The share of the numbers behind each branch that a step leaves out."""

    def __post_init__(self) -> None:
        checked_sizes(self)
        if self.width % self.heads:
            raise OptionsError(f"--width is {self.width}; it has to be a multiple of --heads, which is {self.heads}.")


def initial(o: Options, symbols: int, g: Generator) -> dict[str, Tensor]:
    """The parameters before the first step."""
    p = {"wte": normal(g, symbols, o.width), "wpe": normal(g, o.block_size, o.width)}
    for at in _layers(o):
        p |= norm(f"{at}_ln1", o.width) | layer(g, f"{at}_attn", o.width, 3 * o.width)
        p |= layer(g, f"{at}_proj", o.width, o.width) | norm(f"{at}_ln2", o.width)
        p |= layer(g, f"{at}_fc", o.width, 4 * o.width) | layer(g, f"{at}_out", 4 * o.width, o.width)
    return p | norm("lnf", o.width) | {"head_W": uniform(g, o.width, o.width, symbols)}


def masks(o: Options, n: int, t: int, g: Generator) -> dict[str, Tensor]:
    """What dropout keeps in a step, drawn anew for each: the data that it reads under these names."""
    if not o.dropout:
        return {}
    names = ["kept", *(f"{at}_{branch}_kept" for at in _layers(o) for branch in ("attn", "ff"))]
    return {name: torch.rand((n, t, o.width), generator=g) >= o.dropout for name in names}


def links(o: Options) -> tuple[Link, ...]:
    """The network."""
    chain = [link(lookup, "emb", "wte", ix="Xb"), link(positions, "x", "emb", "wpe")]

    def dropped(name: str, kept: str) -> str:
        if not o.dropout:
            return name
        chain.append(link(dropout, f"{name}_dropped", name, kept=kept, rate=o.dropout))
        return f"{name}_dropped"

    x = dropped("x", "kept")
    for at in _layers(o):
        chain += [
            link(layernorm, f"{at}_ln1", x, f"{at}_ln1_gain", f"{at}_ln1_bias"),
            link(linear, f"{at}_qkv", f"{at}_ln1", f"{at}_attn_W", f"{at}_attn_b"),
            link(attention, f"{at}_mixed", f"{at}_qkv", heads=o.heads),
            link(linear, f"{at}_proj", f"{at}_mixed", f"{at}_proj_W", f"{at}_proj_b"),
        ]
        chain.append(link(residual, f"{at}_mid", x, dropped(f"{at}_proj", f"{at}_attn_kept")))
        chain += [
            link(layernorm, f"{at}_ln2", f"{at}_mid", f"{at}_ln2_gain", f"{at}_ln2_bias"),
            link(linear, f"{at}_fc", f"{at}_ln2", f"{at}_fc_W", f"{at}_fc_b"),
            link(gelu_tanh, f"{at}_act", f"{at}_fc"),
            link(linear, f"{at}_out", f"{at}_act", f"{at}_out_W", f"{at}_out_b"),
        ]
        chain.append(link(residual, f"{at}_x", f"{at}_mid", dropped(f"{at}_out", f"{at}_ff_kept")))
        x = f"{at}_x"
    return (
        *chain,
        link(layernorm, "lnf", x, "lnf_gain", "lnf_bias"),
        link(projection, "logits", "lnf", "head_W"),
        link(masked_cross_entropy, "loss", "logits", y="Yb"),
    )


class Layer(NamedTuple):
    """What the way back through one layer needs."""

    xhat1: NTF
    rstd1: NT1
    ln1: NTF
    looked: tuple[NHTD, NHTD, NHTD, NHTT]
    mixed: NTF
    xhat2: NTF
    rstd2: NT1
    ln2: NTF
    slope: NTF
    act: NTF


class Saved(NamedTuple):
    """What the way back needs."""

    layers: list[Layer]
    xhat: NTF
    rstd: NT1
    lnf: NTF
    logprobs: NTV


def forward(p: Parameters, data: Data, o: Options) -> tuple[Scalar, Saved]:
    """The loss, fused."""
    x, saved = _dropped(_embedded(p, data["Xb"]), "kept", data, o), []
    for at in _layers(o):
        x, kept = _layer_forward(p, at, x, data, o)
        saved.append(kept)
    lnf, xhat, rstd = layernorm.forward(x, p["lnf_gain"], p["lnf_bias"])
    loss, logprobs = masked_cross_entropy.forward(projection.forward(lnf, p["head_W"]), data["Yb"])
    return loss, Saved(saved, xhat, rstd, lnf, logprobs)


def backward(p: Parameters, s: Saved, data: Data, o: Options) -> dict[str, Tensor]:
    """The gradients of the parameters, fused."""
    d: dict[str, Tensor] = {}
    dlogits = masked_cross_entropy.backward(s.logprobs, data["Yb"])
    dlnf, d["head_W"] = projection.backward(s.lnf, p["head_W"], dlogits)
    dx, d["lnf_gain"], d["lnf_bias"] = layernorm.backward(s.xhat, s.rstd, p["lnf_gain"], dlnf)
    for at, saved in zip(reversed(_layers(o)), reversed(s.layers), strict=True):
        dx = _layer_backward(p, at, saved, dx, d, data, o)
    demb, d["wpe"] = positions.backward(p["wpe"], _undropped(dx, "kept", data, o))
    d["wte"] = lookup.backward(p["wte"], data["Xb"], demb)
    return d


def predict(p: Parameters, x: Cells, o: Options) -> NTV:
    """The logits, without dropout."""
    h, bare = _embedded(p, x), replace(o, dropout=0.0)
    for at in _layers(o):
        h, _ = _layer_forward(p, at, h, {}, bare)
    return projection.forward(layernorm.forward(h, p["lnf_gain"], p["lnf_bias"])[0], p["head_W"])


def _layer_forward(p: Parameters, at: str, x: NTF, data: Data, o: Options) -> tuple[NTF, Layer]:
    ln1, xhat1, rstd1 = layernorm.forward(x, p[f"{at}_ln1_gain"], p[f"{at}_ln1_bias"])
    mixed, looked = attention.forward(linear.forward(ln1, p[f"{at}_attn_W"], p[f"{at}_attn_b"]), o.heads)
    proj = linear.forward(mixed, p[f"{at}_proj_W"], p[f"{at}_proj_b"])
    mid = residual.forward(x, _dropped(proj, f"{at}_attn_kept", data, o))
    ln2, xhat2, rstd2 = layernorm.forward(mid, p[f"{at}_ln2_gain"], p[f"{at}_ln2_bias"])
    act, slope = gelu_tanh.forward(linear.forward(ln2, p[f"{at}_fc_W"], p[f"{at}_fc_b"]))
    out = linear.forward(act, p[f"{at}_out_W"], p[f"{at}_out_b"])
    x = residual.forward(mid, _dropped(out, f"{at}_ff_kept", data, o))
    return x, Layer(xhat1, rstd1, ln1, looked, mixed, xhat2, rstd2, ln2, slope, act)


def _layer_backward(p: Parameters, at: str, s: Layer, dx: NTF, d: dict[str, Tensor], data: Data, o: Options) -> NTF:
    """The gradient of what the layer read; its parameters' are added to `d`."""
    dout = _undropped(dx, f"{at}_ff_kept", data, o)
    dact, d[f"{at}_out_W"], d[f"{at}_out_b"] = linear.backward(s.act, p[f"{at}_out_W"], dout)
    dfc = gelu_tanh.backward(s.slope, dact)
    dln2, d[f"{at}_fc_W"], d[f"{at}_fc_b"] = linear.backward(s.ln2, p[f"{at}_fc_W"], dfc)
    dbranch, d[f"{at}_ln2_gain"], d[f"{at}_ln2_bias"] = layernorm.backward(s.xhat2, s.rstd2, p[f"{at}_ln2_gain"], dln2)
    dmid = dx + dbranch  # mid has two readers: ln2, and the sum behind it
    dproj = _undropped(dmid, f"{at}_attn_kept", data, o)
    dmixed, d[f"{at}_proj_W"], d[f"{at}_proj_b"] = linear.backward(s.mixed, p[f"{at}_proj_W"], dproj)
    dqkv = attention.backward(s.looked, dmixed)
    dln1, d[f"{at}_attn_W"], d[f"{at}_attn_b"] = linear.backward(s.ln1, p[f"{at}_attn_W"], dqkv)
    dbranch, d[f"{at}_ln1_gain"], d[f"{at}_ln1_bias"] = layernorm.backward(s.xhat1, s.rstd1, p[f"{at}_ln1_gain"], dln1)
    return dmid + dbranch  # x has two readers: ln1, and the sum behind the branch


def _embedded(p: Parameters, symbols: Cells) -> NTF:
    return positions.forward(lookup.forward(p["wte"], symbols), p["wpe"])


def _dropped(x: NTF, kept: str, data: Data, o: Options) -> NTF:
    return dropout.forward(x, data[kept], o.dropout) if o.dropout else x


def _undropped(dy: NTF, kept: str, data: Data, o: Options) -> NTF:
    return dropout.backward(data[kept], o.dropout, dy) if o.dropout else dy


def _layers(o: Options) -> list[str]:
    return [f"layer{number}" for number in range(o.layers)]
