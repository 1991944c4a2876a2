"""Root mean square normalisation: every row is scaled so that its squares have mean 1; nothing is shifted.

    sq = x²        ms = 1/f Σ_f sq        rrms = (ms + ε)^−½        xhat = x · rrms        y = gain · xhat

with the sum over the last axis, which ms and rrms keep at length one. gain is shared by all rows.

Backward, fused. Let δ = gain · dy be the gradient of xhat. Then dms = −½ rrms³ Σ_f x δ, and with x = xhat / rrms the
two ways back to x add up to

    dx = rrms δ + 2/f x dms
       = rrms · (δ − xhat · 1/f Σ_f (δ xhat))

which is layer normalisation's without the term of the mean. dgain = Σ xhat dy is a sum over the rows.
Source: B. Zhang and R. Sennrich, "Root Mean Square Layer Normalization", 2019, arXiv:1910.07467, equation 4.
"""

from typing import NamedTuple

import torch

from backproof.shapes import F, Rows1, RowsF

EPSILON = 1e-5  # added to the mean square, so that a row of zeros does not divide by zero


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsF
    sq: RowsF
    ms: Rows1
    rrms: Rows1
    xhat: RowsF
    gain: F
    y: RowsF


def forward_steps(x: RowsF, gain: F) -> Steps:
    """The values; `y` is the result."""
    sq = x**2
    ms = 1 / x.shape[-1] * sq.sum(-1, keepdim=True)
    rrms = (ms + EPSILON) ** -0.5
    xhat = x * rrms
    y = gain * xhat
    return Steps(x, sq, ms, rrms, xhat, gain, y)


def backward_steps(s: Steps, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dgain = (s.xhat * dy).flatten(0, -2).sum(0)
    dxhat = s.gain * dy
    drrms = (s.x * dxhat).sum(-1, keepdim=True)
    dms = (-0.5 * (s.ms + EPSILON) ** -1.5) * drrms
    dsq = 1 / s.x.shape[-1] * (torch.ones_like(s.sq) * dms)
    dx = s.rrms * dxhat + (2 * s.x) * dsq  # x has two readers: xhat, sq
    return Steps(dx, dsq, dms, drrms, dxhat, dgain, dy)


def forward(x: RowsF, gain: F) -> tuple[RowsF, RowsF, Rows1]:
    """y, and what the way back needs: xhat and rrms."""
    rrms = (x * x).mean(-1, keepdim=True).add_(EPSILON).rsqrt_()
    xhat = x * rrms
    return gain * xhat, xhat, rrms


def backward(xhat: RowsF, rrms: Rows1, gain: F, dy: RowsF) -> tuple[RowsF, F]:
    """dx and dgain in one step."""
    dgain = (xhat * dy).flatten(0, -2).sum(0)
    dxhat = gain * dy
    along = (dxhat * xhat).mean(-1, keepdim=True)
    return dxhat.addcmul_(xhat, along, value=-1).mul_(rrms), dgain
