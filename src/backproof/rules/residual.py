"""Residual connection: what a branch computes is added to what it read, so that there is a way around it.

    y = x + branch

element by element; branch was computed from x by other rules.

Backward. A change of either summand changes the sum by as much, so that both receive the whole gradient:

    dx = dy        dbranch = dy

x has a second reader, the branch, and what comes back through it is added by whoever walks the network: along the way
around, the gradient arrives undiminished however deep the network is. Source: K. He, X. Zhang, S. Ren and J. Sun, "Deep
Residual Learning for Image Recognition", 2015, arXiv:1512.03385, equation 1.
"""

from typing import NamedTuple

from backproof.shapes import RowsF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsF
    branch: RowsF
    y: RowsF


def forward_steps(x: RowsF, branch: RowsF) -> Steps:
    """The values; `y` is the result."""
    return Steps(x, branch, x + branch)


def backward_steps(s: Steps, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dx = dy
    dbranch = dy
    return Steps(dx, dbranch, dy)


def forward(x: RowsF, branch: RowsF) -> RowsF:
    """The result alone."""
    return x + branch


def backward(dy: RowsF) -> tuple[RowsF, RowsF]:
    """dx and dbranch: the same tensor twice, and so nobody may write into either."""
    return dy, dy
