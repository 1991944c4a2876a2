"""Batch normalisation in training: every feature is shifted and scaled to mean 0 and variance 1 over the batch.

    mean = 1/n Σₙ x          diff = x − mean        sq = diff²        var = 1/(n−c) Σₙ sq
    rstd = (var + ε)^−½      xhat = diff · rstd     y = gain · xhat + bias

with sums over the batch and c the correction: 1 (Bessel's, unbiased; the published network) or 0 (the paper).

Backward, fused. Let δ = gain · dy be the gradient of xhat. Then dvar = −½ rstd³ Σ diff δ, and since Σ diff = 0 the
mean receives only −rstd Σ δ. With diff = xhat / rstd the three ways back to x add up to

    dx = rstd δ + 2/(n−c) diff dvar − rstd/n Σ δ
       = gain · rstd / n · (n dy − Σ dy − n/(n−c) xhat Σ (dy xhat))

Source: S. Ioffe and C. Szegedy, "Batch Normalization", 2015, arXiv:1502.03167, section 3, where c = 0 and the
variance is only corrected for inference; the factor n/(n−c) is what our c adds to it.
"""

from typing import NamedTuple

import torch

from backproof.shapes import NF, OneF

EPSILON = 1e-5  # added to the variance, so that a constant feature does not divide by zero


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: NF
    mean: OneF
    diff: NF
    sq: NF
    var: OneF
    rstd: OneF
    xhat: NF
    gain: OneF
    bias: OneF
    y: NF


def forward_steps(x: NF, gain: OneF, bias: OneF, correction: int = 1) -> Steps:
    """The values; `y` is the result. The batch needs more than `correction` rows."""
    n = x.shape[0]
    mean = 1 / n * x.sum(0, keepdim=True)
    diff = x - mean
    sq = diff**2
    var = 1 / (n - correction) * sq.sum(0, keepdim=True)
    rstd = (var + EPSILON) ** -0.5
    xhat = diff * rstd
    y = gain * xhat + bias
    return Steps(x, mean, diff, sq, var, rstd, xhat, gain, bias, y)


def backward_steps(s: Steps, dy: NF, correction: int = 1) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    n = s.x.shape[0]
    dbias = dy.sum(0, keepdim=True)
    dgain = (s.xhat * dy).sum(0, keepdim=True)
    dxhat = s.gain * dy
    drstd = (s.diff * dxhat).sum(0, keepdim=True)
    dvar = (-0.5 * (s.var + EPSILON) ** -1.5) * drstd
    dsq = (1 / (n - correction)) * torch.ones_like(s.sq) * dvar
    ddiff = s.rstd * dxhat + (2 * s.diff) * dsq  # diff has two readers: xhat, sq
    dmean = (-ddiff).sum(0, keepdim=True)
    dx = ddiff + 1 / n * (torch.ones_like(s.x) * dmean)  # x has two readers: diff, mean
    return Steps(dx, dmean, ddiff, dsq, dvar, drstd, dxhat, dgain, dbias, dy)


def forward(x: NF, gain: OneF, bias: OneF, correction: int = 1) -> tuple[NF, NF, OneF]:
    """y, and what the way back needs: xhat and rstd."""
    var, mean = torch.var_mean(x, 0, correction=correction, keepdim=True)
    rstd = (var + EPSILON).rsqrt_()
    xhat = (x - mean).mul_(rstd)
    return torch.addcmul(bias, gain, xhat), xhat, rstd


def backward(xhat: NF, rstd: OneF, gain: OneF, dy: NF, correction: int = 1) -> tuple[NF, OneF, OneF]:
    """dx, dgain, dbias in one step; the two sums that dx needs are dbias and dgain themselves."""
    n = xhat.shape[0]
    dbias = dy.sum(0, keepdim=True)
    dgain = (xhat * dy).sum(0, keepdim=True)
    dx = (dy - dbias / n).addcmul_(xhat, dgain, value=-1 / (n - correction)).mul_(gain * rstd)
    return dx, dgain, dbias
