"""The long short-term memory: a layer with a cell beside what it shows, through which gradients go far.

    x = wte[symbols]        y = lstm(x)        logits = head(y)

Nothing is derived here: the layer is the rule `lstm`. Source: S. Hochreiter and J. Schmidhuber, 1997,
doi:10.1162/neco.1997.9.8.1735; sizes and initial values as those of its sisters in Karpathy's makemore.
"""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from backproof.models import recurrent
from backproof.models.chain import Data, Link
from backproof.models.drawing import uniform
from backproof.models.protocol import Parameters
from backproof.models.recurrent import Options, Saved
from backproof.rules import linear, lookup, lstm
from backproof.shapes import NTV, Cells, Scalar

OWN = ("start", "start_c", "W", "b")
"""The layer's parameters, in its own order."""


def initial(o: Options, symbols: int, g: Generator) -> dict[str, Tensor]:
    """The parameters before the first step."""
    fan_in = o.width + o.hidden
    own = {"start": torch.zeros(1, o.hidden), "start_c": torch.zeros(1, o.hidden)}
    own |= {"W": uniform(g, fan_in, fan_in, 4 * o.hidden), "b": uniform(g, fan_in, 4 * o.hidden)}
    return recurrent.initial(o, symbols, g, own)


def links(o: Options) -> tuple[Link, ...]:
    """The network."""
    return recurrent.links(lstm, OWN)


def forward(p: Parameters, data: Data, o: Options) -> tuple[Scalar, Saved]:
    """The loss, fused."""
    x = lookup.forward(p["wte"], data["Xb"])
    y, kept = lstm.forward(x, *(p[name] for name in OWN))
    return recurrent.loss_of(p, x, y, kept, data)


def backward(p: Parameters, s: Saved, data: Data, o: Options) -> dict[str, Tensor]:
    """The gradients of the parameters, fused."""
    dy, d = recurrent.head_backward(p, s, data)
    dx, *down = lstm.backward(s.x, p["start"], p["start_c"], p["W"], s.y, s.kept, dy)
    return {"wte": lookup.backward(p["wte"], data["Xb"], dx), **dict(zip(OWN, down, strict=True)), **d}


def predict(p: Parameters, x: Cells, o: Options) -> NTV:
    """The logits."""
    y, _ = lstm.forward(lookup.forward(p["wte"], x), *(p[name] for name in OWN))
    return linear.forward(y, p["head_W"], p["head_b"])
