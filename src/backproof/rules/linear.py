"""Linear layer: every output is a weighted sum of the inputs, plus a bias.

    y = x @ W + b,    cell by cell    y[n,o] = Σ_i x[n,i] W[i,o] + b[o]

Backward. A change of x[n,i] moves every y[n,o] by W[i,o], a change of W[i,o] moves every y[n,o] by x[n,i], and a
change of b[o] moves every y[n,o] by 1. Summing over the cells that move:

    dx[n,i] = Σ_o dy[n,o] W[i,o]    that is    dx = dy @ Wᵀ    (N,O) @ (O,I) -> (N,I)
    dW[i,o] = Σ_n x[n,i] dy[n,o]    that is    dW = xᵀ @ dy    (I,N) @ (N,O) -> (I,O)
    db[o]   = Σ_n dy[n,o]           that is    the sum of the rows of dy

The shapes alone settle where each transpose goes. Source: P. Werbos, "Applications of advances in nonlinear
sensitivity analysis", 1982, doi:10.1007/BFb0006203; any text on backpropagation since.
"""

from typing import NamedTuple

from backproof.shapes import IO, NI, NO, O


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: NI
    W: IO
    b: O
    y: NO


def forward_steps(x: NI, W: IO, b: O) -> Steps:
    """The layer's values; `y` is the result."""
    return Steps(x, W, b, x @ W + b)


def backward_steps(s: Steps, dy: NO) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dx = dy @ s.W.T
    dW = s.x.T @ dy
    db = dy.sum(0)
    return Steps(dx, dW, db, dy)


def forward(x: NI, W: IO, b: O) -> NO:
    """The result alone."""
    return (x @ W).add_(b)


def backward(x: NI, W: IO, dy: NO) -> tuple[NI, IO, O]:
    """dx, dW, db: three lines have nothing to collapse, so this is the pass above without its record."""
    return dy @ W.T, x.T @ dy, dy.sum(0)
