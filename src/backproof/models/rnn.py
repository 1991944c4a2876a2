"""The recurrent network: one layer reads a word symbol by symbol, and keeps what it needs.

    x = wte[symbols]        h[t] = tanh(x[t] beside h[t−1] @ W + b)        logits = head(h)

Nothing is derived here: the layer is the rule `rnn`. Source: `RNN` of Karpathy's makemore, with its sizes and
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
from backproof.rules import linear, lookup, rnn
from backproof.shapes import NTV, Cells, Scalar

OWN = ("start", "W", "b")
"""The layer's parameters, in its own order."""


def initial(o: Options, symbols: int, g: Generator) -> dict[str, Tensor]:
    """The parameters before the first step."""
    fan_in = o.width + o.hidden
    own = {
        "start": torch.zeros(1, o.hidden),
        "W": uniform(g, fan_in, fan_in, o.hidden),
        "b": uniform(g, fan_in, o.hidden),
    }
    return recurrent.initial(o, symbols, g, own)


def links(o: Options) -> tuple[Link, ...]:
    """The network."""
    return recurrent.links(rnn, OWN)


def forward(p: Parameters, data: Data, o: Options) -> tuple[Scalar, Saved]:
    """The loss, fused."""
    x = lookup.forward(p["wte"], data["Xb"])
    y = rnn.forward(x, *(p[name] for name in OWN))
    return recurrent.loss_of(p, x, y, None, data)


def backward(p: Parameters, s: Saved, data: Data, o: Options) -> dict[str, Tensor]:
    """The gradients of the parameters, fused."""
    dy, d = recurrent.head_backward(p, s, data)
    dx, *down = rnn.backward(s.x, p["start"], p["W"], s.y, dy)
    return {"wte": lookup.backward(p["wte"], data["Xb"], dx), **dict(zip(OWN, down, strict=True)), **d}


def predict(p: Parameters, x: Cells, o: Options) -> NTV:
    """The logits."""
    y = rnn.forward(lookup.forward(p["wte"], x), *(p[name] for name in OWN))
    return linear.forward(y, p["head_W"], p["head_b"])
