"""The gated recurrent network: a layer that decides at every symbol what to keep.

    x = wte[symbols]        y = gru(x)        logits = head(y)

Nothing is derived here: the layer is the rule `gru`. Source: `GRU` of Karpathy's makemore, with its sizes and
initial values.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from backproof.models import recurrent
from backproof.models.chain import Data, Link
from backproof.models.drawing import uniform
from backproof.models.protocol import Parameters
from backproof.models.recurrent import Options, Saved
from backproof.rules import gru, linear, lookup
from backproof.shapes import NTV, Cells, Scalar

OWN = ("start", "Wr", "br", "Wz", "bz", "Wh", "bh")
"""The layer's parameters, in its own order."""


def initial(o: Options, symbols: int, g: Generator) -> dict[str, Tensor]:
    """The parameters before the first step."""
    fan_in, own = o.width + o.hidden, {"start": torch.zeros(1, o.hidden)}
    for gate in "rzh":
        own[f"W{gate}"] = uniform(g, fan_in, fan_in, o.hidden)
        own[f"b{gate}"] = uniform(g, fan_in, o.hidden)
    return recurrent.initial(o, symbols, g, own)


def links(o: Options) -> tuple[Link, ...]:
    """The network."""
    return recurrent.links(gru, OWN)


def forward(p: Parameters, data: Data, o: Options) -> tuple[Scalar, Saved]:
    """The loss, fused."""
    x = lookup.forward(p["wte"], data["Xb"])
    y, kept = gru.forward(x, *(p[name] for name in OWN))
    return recurrent.loss_of(p, x, y, kept, data)


def backward(p: Parameters, s: Saved, data: Data, o: Options) -> dict[str, Tensor]:
    """The gradients of the parameters, fused."""
    dy, d = recurrent.head_backward(p, s, data)
    dx, *down = gru.backward(s.x, p["start"], p["Wr"], p["Wz"], p["Wh"], s.y, s.kept, dy)
    return {"wte": lookup.backward(p["wte"], data["Xb"], dx), **dict(zip(OWN, down, strict=True)), **d}


def predict(p: Parameters, x: Cells, o: Options) -> NTV:
    """The logits."""
    y, _ = gru.forward(lookup.forward(p["wte"], x), *(p[name] for name in OWN))
    return linear.forward(y, p["head_W"], p["head_b"])
