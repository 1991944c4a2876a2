"""Sigmoid, element by element: any number becomes one between 0 and 1.

    y = σ(x) = 1 / (1 + e⁻ˣ)

Backward. By the quotient rule,

    dy/dx = e⁻ˣ / (1 + e⁻ˣ)² = y (1 − y),    so    dx = y (1 − y) dy

since e⁻ˣ / (1 + e⁻ˣ) = 1 − y; it needs the result and not the input. It is at most ¼: through every sigmoid a gradient
shrinks at least to a quarter. The factors are multiplied in the order of PyTorch's kernel, to agree with it to the last
bit. Source: D. E. Rumelhart, G. E. Hinton and R. J. Williams, "Learning representations by back-propagating errors",
Nature 323, 1986, doi:10.1038/323533a0, equations 2 and 5.
"""

from typing import NamedTuple

from backproof.shapes import RowsF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsF
    y: RowsF


def forward_steps(x: RowsF) -> Steps:
    """The values; `y` is the result."""
    return Steps(x, x.sigmoid())


def backward_steps(s: Steps, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    return Steps(backward(s.y, dy), dy)


def forward(x: RowsF) -> RowsF:
    """The result alone."""
    return x.sigmoid()


def backward(y: RowsF, dy: RowsF) -> RowsF:
    """dx from the result y; a single line, which serves the steps too."""
    return dy * (1 - y) * y
