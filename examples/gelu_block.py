"""The feed-forward block of a transformer: expand, GELU (its tanh form), contract, and add the input back.

    y = x + GELU(x W1 + b1) W2 + b2,   GELU(a) = ½ a (1 + tanh(√(2/π) (a + 0.044715 a³)))

Sources: Hendrycks and Gimpel 2016, arXiv:1606.08415; the residual connection: He et al. 2015,
arXiv:1512.03385. Backward, two values have two readers each: `x` (the block and the residual) and `a` (the
inside of the tanh and the factor before it).
"""

from __future__ import annotations

from math import pi
from typing import NamedTuple

import torch
from torch import Tensor

CUBIC = 0.044715
SLOPE = (2 / pi) ** 0.5


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape: width M, hidden H."""

    x: Tensor  # (n, M)
    W1: Tensor  # (M, H)
    b1: Tensor  # (H,)
    W2: Tensor  # (H, M)
    b2: Tensor  # (M,)
    a: Tensor  # (n, H)
    inner: Tensor  # (n, H)
    t: Tensor  # (n, H)
    g: Tensor  # (n, H)
    out: Tensor  # (n, M)
    y: Tensor  # (n, M)


def inputs(n: int = 18, width: int = 6, hidden: int = 11) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(5)
    x = torch.randn((n, width), generator=g)
    W1 = torch.randn((width, hidden), generator=g) * (2 / width) ** 0.5
    b1 = torch.randn(hidden, generator=g) * 0.2
    W2 = torch.randn((hidden, width), generator=g) / hidden**0.5
    b2 = torch.randn(width, generator=g) * 0.2
    return dict(x=x, W1=W1, b1=b1, W2=W2, b2=b2)


def forward(x: Tensor, W1: Tensor, b1: Tensor, W2: Tensor, b2: Tensor) -> Steps:
    a = x @ W1 + b1
    inner = SLOPE * (a + CUBIC * a**3)
    t = torch.tanh(inner)
    g = 0.5 * a * (1 + t)
    out = g @ W2 + b2
    y = x + out
    return Steps(x, W1, b1, W2, b2, a, inner, t, g, out, y)


def backward(s: Steps, dy: Tensor) -> dict[str, Tensor]:
    dout = dy.clone()
    dg = dout @ s.W2.T
    dW2 = s.g.T @ dout
    db2 = dout.sum(0)
    dt = 0.5 * s.a * dg
    dinner = (1 - s.t**2) * dt
    da = 0.5 * (1 + s.t) * dg + SLOPE * (1 + 3 * CUBIC * s.a**2) * dinner  # a has two readers: g, inner
    dW1 = s.x.T @ da
    db1 = da.sum(0)
    dx = dy + da @ s.W1.T  # x has two readers: y, a
    return dict(x=dx, W1=dW1, b1=db1, W2=dW2, b2=db2, a=da, inner=dinner, t=dt, g=dg, out=dout)
