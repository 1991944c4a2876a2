"""One step of a long short-term memory; what it hands on, h and c side by side, is its output.

    gates = x Wx + h₀ Wh + b,   i, f, o = σ(its quarter),   g = tanh(its quarter)
    c = f · c₀ + i · g,   h = o · tanh(c)

Sources: Hochreiter and Schmidhuber 1997, DOI 10.1162/neco.1997.9.8.1735; the forget gate: Gers, Schmidhuber
and Cummins 2000, DOI 10.1162/089976600300015015. Backward, `c` has two readers: the state that is handed on
and the tanh that h sees.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape: I features in, H cells."""

    x: Tensor  # (n, I)
    h0: Tensor  # (n, H)
    c0: Tensor  # (n, H)
    Wx: Tensor  # (I, 4H)
    Wh: Tensor  # (H, 4H)
    b: Tensor  # (4H,)
    gates: Tensor  # (n, 4H): input, forget, candidate, output
    i: Tensor  # (n, H)
    f: Tensor  # (n, H)
    g: Tensor  # (n, H)
    o: Tensor  # (n, H)
    c: Tensor  # (n, H)
    tc: Tensor  # (n, H)
    h: Tensor  # (n, H)
    state: Tensor  # (n, 2H)


def inputs(n: int = 9, features: int = 5, cells: int = 4) -> dict[str, Tensor]:
    r = torch.Generator().manual_seed(8)
    x = torch.randn((n, features), generator=r)
    h0 = torch.randn((n, cells), generator=r).tanh()
    c0 = torch.randn((n, cells), generator=r)
    Wx = torch.randn((features, 4 * cells), generator=r) / features**0.5
    Wh = torch.randn((cells, 4 * cells), generator=r) / cells**0.5
    b = torch.randn(4 * cells, generator=r) * 0.3
    return dict(x=x, h0=h0, c0=c0, Wx=Wx, Wh=Wh, b=b)


def forward(x: Tensor, h0: Tensor, c0: Tensor, Wx: Tensor, Wh: Tensor, b: Tensor) -> Steps:
    gates = x @ Wx + h0 @ Wh + b
    to_i, to_f, to_g, to_o = gates.chunk(4, 1)
    i, f, o = torch.sigmoid(to_i), torch.sigmoid(to_f), torch.sigmoid(to_o)
    g = torch.tanh(to_g)
    c = f * c0 + i * g
    tc = torch.tanh(c)
    h = o * tc
    state = torch.cat([h, c], 1)
    return Steps(x, h0, c0, Wx, Wh, b, gates, i, f, g, o, c, tc, h, state)


def backward(s: Steps, dstate: Tensor) -> dict[str, Tensor]:
    cells = s.c.shape[1]
    dh = dstate[:, :cells]
    do = s.tc * dh
    dtc = s.o * dh
    dc = dstate[:, cells:] + (1 - s.tc**2) * dtc  # c has two readers: state, tc
    df = s.c0 * dc
    dc0 = s.f * dc
    di = s.g * dc
    dg = s.i * dc
    to_i = s.i * (1 - s.i) * di
    to_f = s.f * (1 - s.f) * df
    to_g = (1 - s.g**2) * dg
    to_o = s.o * (1 - s.o) * do
    dgates = torch.cat([to_i, to_f, to_g, to_o], 1)  # four readers, each of its own quarter
    dx = dgates @ s.Wx.T
    dh0 = dgates @ s.Wh.T
    dWx = s.x.T @ dgates
    dWh = s.h0.T @ dgates
    db = dgates.sum(0)
    return dict(x=dx, h0=dh0, c0=dc0, Wx=dWx, Wh=dWh, b=db, gates=dgates, i=di, f=df, g=dg, o=do, c=dc, tc=dtc, h=dh)
