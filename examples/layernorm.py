"""Layer normalisation: every row is centred, scaled to unit variance, then given a gain and a bias.

    y = gain · (x - mean) / std + bias,   std = √(var + ε),   mean and biased variance over F features

Source: Ba, Kiros and Hinton 2016, arXiv:1607.06450, equations 3 and 4. Backward, with u = dxhat:
ddiff = u/std + 2 · diff · dsq and dx = ddiff - Σ ddiff / F, since every element of a row shares its mean.
One row of the inputs is all zeros, as padding is; its variance is 0, and only ε keeps its gradient finite.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

EPSILON = 1e-5


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape."""

    x: Tensor  # (n, F)
    gain: Tensor  # (F,)
    bias: Tensor  # (F,)
    mean: Tensor  # (n, 1)
    diff: Tensor  # (n, F)
    sq: Tensor  # (n, F)
    var: Tensor  # (n, 1)
    std: Tensor  # (n, 1)
    xhat: Tensor  # (n, F)
    y: Tensor  # (n, F)


def inputs(n: int = 20, features: int = 13) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(1)
    x = torch.randn((n, features), generator=g) * 2 + 0.5
    if n > 2:
        x[1] = 0  # a row of padding
    gain = torch.randn(features, generator=g) * 0.3 + 1
    bias = torch.randn(features, generator=g) * 0.3
    return dict(x=x, gain=gain, bias=bias)


def forward(x: Tensor, gain: Tensor, bias: Tensor) -> Steps:
    features = x.shape[1]
    mean = x.sum(1, keepdim=True) / features
    diff = x - mean
    sq = diff**2
    var = sq.sum(1, keepdim=True) / features
    std = (var + EPSILON).sqrt()
    xhat = diff / std
    y = gain * xhat + bias
    return Steps(x, gain, bias, mean, diff, sq, var, std, xhat, y)


def backward(s: Steps, dy: Tensor) -> dict[str, Tensor]:
    features = s.x.shape[1]
    dgain = (dy * s.xhat).sum(0)
    dbias = dy.sum(0)
    dxhat = dy * s.gain
    dstd = -(dxhat * s.diff).sum(1, keepdim=True) / s.std**2
    dvar = dstd / (2 * s.std)
    dsq = (dvar / features).expand_as(s.sq)
    ddiff = dxhat / s.std + 2 * s.diff * dsq  # diff has two readers: xhat, sq
    dmean = -ddiff.sum(1, keepdim=True)
    dx = ddiff + dmean / features  # x has two readers: diff, mean
    return dict(x=dx, gain=dgain, bias=dbias, mean=dmean, diff=ddiff, sq=dsq, var=dvar, std=dstd, xhat=dxhat)
