"""Linear layer: every output is a weighted sum of the inputs, plus a bias.

    y = x @ W + b,    cell by cell    y[r,o] = Σ_i x[r,i] W[i,o] + b[o]

where r stands for all axes before the last: the rows. A batch has one such axis, N; a batch of sequences has two, N
and T, and every position goes through the same layer.

Backward. A change of x[r,i] moves every y[r,o] by W[i,o], a change of W[i,o] moves every y[r,o] by x[r,i], and a
change of b[o] moves every y[r,o] by 1. Summing over the cells that move:

    dx[r,i] = Σ_o dy[r,o] W[i,o]    that is    dx = dy @ Wᵀ    (R,O) @ (O,I) -> (R,I)
    dW[i,o] = Σ_r x[r,i] dy[r,o]    that is    dW = xᵀ @ dy    (I,R) @ (R,O) -> (I,O)
    db[o]   = Σ_r dy[r,o]           that is    the sum of the rows of dy

The shapes alone settle where each transpose goes. Source: P. Werbos, "Applications of advances in nonlinear
sensitivity analysis", 1982, doi:10.1007/BFb0006203; any text on backpropagation since.
"""

from typing import NamedTuple

from backproof.shapes import IO, O, RowsI, RowsO


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsI
    W: IO
    b: O
    y: RowsO


def forward_steps(x: RowsI, W: IO, b: O) -> Steps:
    """The layer's values; `y` is the result."""
    return Steps(x, W, b, x @ W + b)


def backward_steps(s: Steps, dy: RowsO) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dx = dy @ s.W.T
    dW = s.x.flatten(0, -2).T @ dy.flatten(0, -2)
    db = dy.flatten(0, -2).sum(0)
    return Steps(dx, dW, db, dy)


def forward(x: RowsI, W: IO, b: O) -> RowsO:
    """The result alone."""
    return (x @ W).add_(b)


def backward(x: RowsI, W: IO, dy: RowsO) -> tuple[RowsI, IO, O]:
    """dx, dW, db: three lines have nothing to collapse, so this is the pass above without its record."""
    rows = dy.flatten(0, -2)
    return dy @ W.T, x.flatten(0, -2).T @ rows, rows.sum(0)
