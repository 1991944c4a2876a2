"""Layer normalisation: every row is shifted and scaled to mean 0 and variance 1 over its own features.

    mean = 1/f Σ_f x         diff = x − mean        sq = diff²        var = 1/f Σ_f sq
    rstd = (var + ε)^−½      xhat = diff · rstd     y = gain · xhat + bias

with sums over the last axis; mean, var and rstd keep it at length one. gain and bias are shared by all rows.

Backward, fused. Let δ = gain · dy be the gradient of xhat. Then dvar = −½ rstd³ Σ_f diff δ, and since Σ_f diff = 0 the
mean receives only −rstd Σ_f δ. With diff = xhat / rstd the three ways back to x add up to

    dx = rstd δ + 2/f diff dvar − rstd/f Σ_f δ
       = rstd · (δ − 1/f Σ_f δ − xhat · 1/f Σ_f (δ xhat))

The second term takes away what would move the mean, the third what would move the variance. dgain = Σ xhat dy and
dbias = Σ dy are sums over the rows. Source: J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer Normalization", 2016,
arXiv:1607.06450, equations 3 and 4.
"""

from typing import NamedTuple

import torch

from backproof.shapes import F, Rows1, RowsF

EPSILON = 1e-5  # added to the variance, so that a constant row does not divide by zero


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsF
    mean: Rows1
    diff: RowsF
    sq: RowsF
    var: Rows1
    rstd: Rows1
    xhat: RowsF
    gain: F
    bias: F
    y: RowsF


def forward_steps(x: RowsF, gain: F, bias: F) -> Steps:
    """The values; `y` is the result."""
    f = x.shape[-1]
    mean = 1 / f * x.sum(-1, keepdim=True)
    diff = x - mean
    sq = diff**2
    var = 1 / f * sq.sum(-1, keepdim=True)
    rstd = (var + EPSILON) ** -0.5
    xhat = diff * rstd
    y = gain * xhat + bias
    return Steps(x, mean, diff, sq, var, rstd, xhat, gain, bias, y)


def backward_steps(s: Steps, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    f = s.x.shape[-1]
    dbias = dy.flatten(0, -2).sum(0)
    dgain = (s.xhat * dy).flatten(0, -2).sum(0)
    dxhat = s.gain * dy
    drstd = (s.diff * dxhat).sum(-1, keepdim=True)
    dvar = (-0.5 * (s.var + EPSILON) ** -1.5) * drstd
    dsq = 1 / f * (torch.ones_like(s.sq) * dvar)
    ddiff = s.rstd * dxhat + (2 * s.diff) * dsq  # diff has two readers: xhat, sq
    dmean = (-ddiff).sum(-1, keepdim=True)
    dx = ddiff + 1 / f * (torch.ones_like(s.x) * dmean)  # x has two readers: diff, mean
    return Steps(dx, dmean, ddiff, dsq, dvar, drstd, dxhat, dgain, dbias, dy)


def forward(x: RowsF, gain: F, bias: F) -> tuple[RowsF, RowsF, Rows1]:
    """y, and what the way back needs: xhat and rstd."""
    var, mean = torch.var_mean(x, -1, correction=0, keepdim=True)
    rstd = (var + EPSILON).rsqrt_()
    xhat = (x - mean).mul_(rstd)
    return torch.addcmul(bias, gain, xhat), xhat, rstd


def backward(xhat: RowsF, rstd: Rows1, gain: F, dy: RowsF) -> tuple[RowsF, F, F]:
    """dx, dgain, dbias in one step."""
    dbias = dy.flatten(0, -2).sum(0)
    dgain = (xhat * dy).flatten(0, -2).sum(0)
    dxhat = gain * dy
    along = (dxhat * xhat).mean(-1, keepdim=True)
    dx = (dxhat - dxhat.mean(-1, keepdim=True)).addcmul_(xhat, along, value=-1).mul_(rstd)
    return dx, dgain, dbias
