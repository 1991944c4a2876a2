"""A one-dimensional convolution (a cross-correlation, as everywhere in the field), with zero padding, and a
ReLU.

    a[n, o, t] = bias[o] + Σ_i Σ_k weight[o, i, k] · padded[n, i, t + k],   y = max(a, 0)

Source: Dumoulin and Visin 2016, arXiv:1603.07285. Forward, the overlapping windows are laid side by side
and the sum becomes a matrix product; backward, each input cell collects what all the windows that hold it
send back.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape: I channels in, O out, T long, K taps (K odd)."""

    x: Tensor  # (n, I, T)
    weight: Tensor  # (O, I, K)
    bias: Tensor  # (O, 1)
    padded: Tensor  # (n, I, T + K - 1)
    windows: Tensor  # (n, I, T, K)
    a: Tensor  # (n, O, T)
    y: Tensor  # (n, O, T)


def inputs(n: int = 5, channels: int = 3, filters: int = 4, length: int = 8, taps: int = 3) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(4)
    x = torch.randn((n, channels, length), generator=g)
    weight = torch.randn((filters, channels, taps), generator=g) / (channels * taps) ** 0.5
    bias = torch.randn((filters, 1), generator=g) * 0.2
    return dict(x=x, weight=weight, bias=bias)


def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Steps:
    taps = weight.shape[-1]
    padded = functional.pad(x, (taps // 2, taps // 2))
    windows = padded.unfold(-1, taps, 1)
    a = torch.einsum("nitk,oik->not", windows, weight) + bias
    y = torch.relu(a)
    return Steps(x, weight, bias, padded, windows, a, y)


def backward(s: Steps, dy: Tensor) -> dict[str, Tensor]:
    taps, length = s.weight.shape[-1], s.x.shape[-1]
    da = dy * (s.a > 0)
    dbias = da.sum((0, 2)).unsqueeze(1)
    dweight = torch.einsum("not,nitk->oik", da, s.windows)
    dwindows = torch.einsum("not,oik->nitk", da, s.weight)
    dpadded = torch.zeros_like(s.padded)
    for k in range(taps):
        dpadded[..., k : k + length] += dwindows[..., k]  # a cell lies in up to K windows
    dx = dpadded[..., taps // 2 : taps // 2 + length]
    return dict(x=dx, weight=dweight, bias=dbias, padded=dpadded, windows=dwindows, a=da)
