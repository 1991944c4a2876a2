"""Gaussian error linear unit: x, times the probability that a standard normal number is smaller than it.

    inner = x / √2        erf = erf(inner)        cdf = ½ (1 + erf)        y = x · cdf

element by element. cdf is Φ(x), the normal distribution function; its derivative is the density
φ(x) = exp(−x²/2) / √(2π).

Backward, fused. x has two readers, the product and Φ, so that by the product rule

    dy/dx = Φ(x) + x φ(x)

which depends on x alone: it is computed on the way forward, where Φ is at hand, and the way back is one product.
Step by step, φ comes out of d erf(u)/du = 2/√π exp(−u²), Abramowitz and Stegun, 7.1.1.
Source: D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units (GELUs)", 2016, arXiv:1606.08415.
"""

from math import pi
from typing import NamedTuple

import torch

from backproof.shapes import RowsF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsF
    inner: RowsF
    erf: RowsF
    cdf: RowsF
    y: RowsF


def forward_steps(x: RowsF) -> Steps:
    """The values; `y` is the result."""
    inner = 0.5**0.5 * x
    erf = inner.erf()
    cdf = 0.5 * (1 + erf)
    y = x * cdf
    return Steps(x, inner, erf, cdf, y)


def backward_steps(s: Steps, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dcdf = s.x * dy
    derf = 0.5 * dcdf
    dinner = 2 / pi**0.5 * (-(s.inner**2)).exp() * derf
    dx = s.cdf * dy + 0.5**0.5 * dinner  # x has two readers: y, inner
    return Steps(dx, dinner, derf, dcdf, dy)


def forward(x: RowsF) -> tuple[RowsF, RowsF]:
    """y, and what the way back needs: the slope dy/dx."""
    cdf = torch.special.ndtr(x)
    slope = (x * x).mul_(-0.5).exp_().mul_((2 * pi) ** -0.5).mul_(x).add_(cdf)
    return x * cdf, slope


def backward(slope: RowsF, dy: RowsF) -> RowsF:
    """dx in one step."""
    return slope * dy
