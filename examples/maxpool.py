"""ReLU, then the maximum over overlapping windows, then a gain for each channel.

    y[n, c, t] = gain[c] · max_k relu(x)[n, c, S t + k]

Source: Scherer, Müller and Behnke 2010, DOI 10.1007/978-3-642-15825-4_10. Backward, a window's whole
gradient goes to its one winner, the first of equals here; after a ReLU many windows are tied at zero.
Windows overlap (width K = 3, stride S = 2), so a cell may win twice, and then its gradients add.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

WIDTH = 3
STRIDE = 2


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape: Ch channels, T long, P windows."""

    x: Tensor  # (n, Ch, T)
    gain: Tensor  # (Ch, 1)
    r: Tensor  # (n, Ch, T)
    winners: Tensor  # (n, Ch, P) integers: the winner's place on the T axis
    peaks: Tensor  # (n, Ch, P)
    y: Tensor  # (n, Ch, P)


def inputs(n: int = 6, channels: int = 4, length: int = 11) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(9)
    x = torch.randn((n, channels, length), generator=g).mul(2).round() / 2  # halves: ties also above zero
    gain = torch.randn((channels, 1), generator=g) * 0.4 + 1
    return dict(x=x, gain=gain)


def forward(x: Tensor, gain: Tensor) -> Steps:
    r = torch.relu(x)
    windows = r.unfold(-1, WIDTH, STRIDE)
    first = STRIDE * torch.arange(windows.shape[2], device=x.device)
    winners = first + windows.argmax(-1)
    peaks = r.gather(-1, winners)
    y = gain * peaks
    return Steps(x, gain, r, winners, peaks, y)


def backward(s: Steps, dy: Tensor) -> dict[str, Tensor]:
    dgain = (dy * s.peaks).sum((0, 2)).unsqueeze(1)
    dpeaks = dy * s.gain
    dr = torch.zeros_like(s.r).scatter_add(-1, s.winners, dpeaks)
    dx = dr * (s.x > 0)
    return dict(x=dx, gain=dgain, r=dr, peaks=dpeaks)
