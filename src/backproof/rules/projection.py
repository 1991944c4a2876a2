"""Projection: every output is a weighted sum of the inputs. It is `linear` without the bias.

    y = x @ W,    cell by cell    y[r,o] = Σ_i x[r,i] W[i,o]

where r stands for all axes before the last: the rows.

Backward. A change of x[r,i] moves every y[r,o] by W[i,o], and a change of W[i,o] moves every y[r,o] by x[r,i]. Summing
over the cells that move:

    dx[r,i] = Σ_o dy[r,o] W[i,o]    that is    dx = dy @ Wᵀ    (R,O) @ (O,I) -> (R,I)
    dW[i,o] = Σ_r x[r,i] dy[r,o]    that is    dW = xᵀ @ dy    (I,R) @ (R,O) -> (I,O)

The shapes alone settle where each transpose goes. Source: P. Werbos, "Applications of advances in nonlinear
sensitivity analysis", 1982, doi:10.1007/BFb0006203; any text on backpropagation since.
"""

from typing import NamedTuple

from backproof.shapes import IO, RowsI, RowsO


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsI
    W: IO
    y: RowsO


def forward_steps(x: RowsI, W: IO) -> Steps:
    """The values; `y` is the result."""
    return Steps(x, W, x @ W)


def backward_steps(s: Steps, dy: RowsO) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dx = dy @ s.W.T
    dW = s.x.flatten(0, -2).T @ dy.flatten(0, -2)
    return Steps(dx, dW, dy)


def forward(x: RowsI, W: IO) -> RowsO:
    """The result alone."""
    return x @ W


def backward(x: RowsI, W: IO, dy: RowsO) -> tuple[RowsI, IO]:
    """dx, dW: two lines have nothing to collapse, so this is the pass above without its record."""
    return dy @ W.T, x.flatten(0, -2).T @ dy.flatten(0, -2)
