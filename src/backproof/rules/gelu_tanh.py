"""Gaussian error linear unit in its tanh form, which needs no error function.

    cube = x³        inner = √(2/π) (x + 0.044715 cube)        t = tanh(inner)        y = ½ x (1 + t)

element by element. ½ (1 + t) is close to Φ(x), the normal distribution function, everywhere to three digits.

Backward, fused. Let u = inner. Since ½ (1 + tanh u) = σ(2u), the forward pass is y = x σ(2u), and x has two readers,
the product and u. With dσ(z)/dz = σ (1 − σ) and du/dx = √(2/π) (1 + 3 · 0.044715 x²),

    dy/dx = σ + x σ (1 − σ) · 2 du/dx,    σ = σ(2u)

which depends on x alone: it is computed on the way forward, where σ is at hand, and the way back is one product.
Source: D. Hendrycks and K. Gimpel, "Gaussian Error Linear Units (GELUs)", 2016, arXiv:1606.08415, section 2; it is the
`NewGELU` of Karpathy's makemore.
"""

from math import pi
from typing import NamedTuple

from backproof.shapes import RowsF

CUBIC = 0.044715
SLOPE = (2 / pi) ** 0.5  # of inner at 0


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsF
    cube: RowsF
    inner: RowsF
    t: RowsF
    y: RowsF


def forward_steps(x: RowsF) -> Steps:
    """The values; `y` is the result."""
    cube = x**3
    inner = SLOPE * (x + CUBIC * cube)
    t = inner.tanh()
    y = 0.5 * x * (1 + t)
    return Steps(x, cube, inner, t, y)


def backward_steps(s: Steps, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dt = 0.5 * s.x * dy
    dinner = (1 - s.t**2) * dt
    dcube = SLOPE * CUBIC * dinner
    dx = 0.5 * (1 + s.t) * dy + SLOPE * dinner + (3 * s.x**2) * dcube  # x has three readers: y, inner, cube
    return Steps(dx, dcube, dinner, dt, dy)


def forward(x: RowsF) -> tuple[RowsF, RowsF]:
    """y, and what the way back needs: the slope dy/dx."""
    sq = x * x
    sigma = (sq * (2 * SLOPE * CUBIC)).add_(2 * SLOPE).mul_(x).sigmoid_()
    y = x * sigma
    slope = sq.mul_(6 * SLOPE * CUBIC).add_(2 * SLOPE).mul_(1 - sigma).mul_(y).add_(sigma)
    return y, slope


def backward(slope: RowsF, dy: RowsF) -> RowsF:
    """dx in one step."""
    return slope * dy
