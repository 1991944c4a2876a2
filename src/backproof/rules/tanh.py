"""Hyperbolic tangent, element by element.

    y = tanh(x) = (eˣ − e⁻ˣ) / (eˣ + e⁻ˣ)

Backward. By the quotient rule, with the numerator's derivative the denominator and the other way round,

    dy/dx = ((eˣ + e⁻ˣ)² − (eˣ − e⁻ˣ)²) / (eˣ + e⁻ˣ)² = 1 − y²,    so    dx = (1 − y²) dy

which needs the result and not the input. Source: Abramowitz and Stegun, "Handbook of Mathematical Functions", 1964,
4.5.73.

Written as `(1 - y**2) * dy`, y² is rounded before it is subtracted. PyTorch's kernel fuses the two where the processor
has a fused multiply-add, and so its result differs from that line by one rounding (the published 4.66e-10 of
`hpreact`). `addcmul` is fused in the same way, so that this page agrees with PyTorch to the last bit on either
kind of processor.
"""

from typing import NamedTuple

import torch

from backproof.shapes import RowsF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsF
    y: RowsF


def forward_steps(x: RowsF) -> Steps:
    """The values; `y` is the result."""
    return Steps(x, x.tanh())


def backward_steps(s: Steps, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    return Steps(backward(s.y, dy), dy)


def forward(x: RowsF) -> RowsF:
    """The result alone."""
    return x.tanh()


def backward(y: RowsF, dy: RowsF) -> RowsF:
    """dx from the result y; a single line, which serves the steps too."""
    return torch.addcmul(y.new_ones(()), y, y, value=-1) * dy
