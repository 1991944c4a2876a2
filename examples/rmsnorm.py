"""RMS normalisation, walked back in tiles of rows, the way a GPU kernel does.

    y = gain · x · rrms,   rrms = (1/F Σ x² + ε)^-½ over the F features

Source: Zhang and Sennrich 2019, arXiv:1910.07467, equation 4 (ε is PyTorch's). A kernel holds a few rows at
a time: each tile writes its rows of the gradients and *adds* its part of `dgain`, which all rows share; the
last tile may be shorter than the others.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

EPSILON = 1e-6
TILE = 8  # rows


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape."""

    x: Tensor  # (n, F)
    gain: Tensor  # (F,)
    sq: Tensor  # (n, F)
    ms: Tensor  # (n, 1)
    rrms: Tensor  # (n, 1)
    xhat: Tensor  # (n, F)
    y: Tensor  # (n, F)


def inputs(n: int = 21, features: int = 10) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(2)
    x = torch.randn((n, features), generator=g) * 1.5
    if n > 2:
        x[-2] = 0  # a row of padding
    gain = torch.randn(features, generator=g) * 0.4 + 1
    return dict(x=x, gain=gain)


def forward(x: Tensor, gain: Tensor) -> Steps:
    sq = x**2
    ms = sq.mean(1, keepdim=True)
    rrms = (ms + EPSILON) ** -0.5
    xhat = x * rrms
    y = gain * xhat
    return Steps(x, gain, sq, ms, rrms, xhat, y)


def backward(s: Steps, dy: Tensor) -> dict[str, Tensor]:
    n, features = s.x.shape
    dgain = torch.zeros_like(s.gain)
    dx, dsq, dxhat = torch.zeros_like(s.x), torch.zeros_like(s.x), torch.zeros_like(s.x)
    dms, drrms = torch.zeros_like(s.ms), torch.zeros_like(s.ms)
    for start in range(0, n, TILE):
        rows = slice(start, start + TILE)
        dgain += (dy[rows] * s.xhat[rows]).sum(0)
        dxhat[rows] = dy[rows] * s.gain
        drrms[rows] = (dxhat[rows] * s.x[rows]).sum(1, keepdim=True)
        dms[rows] = -0.5 * (s.ms[rows] + EPSILON) ** -1.5 * drrms[rows]
        dsq[rows] = dms[rows] / features
        dx[rows] = dxhat[rows] * s.rrms[rows] + 2 * s.x[rows] * dsq[rows]  # x has two readers: xhat, sq
    return dict(x=dx, gain=dgain, sq=dsq, ms=dms, rrms=drrms, xhat=dxhat)
