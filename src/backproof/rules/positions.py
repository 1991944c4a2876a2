"""Positions: to every symbol's embedding, the embedding of its place in the sequence is added.

    rows = P[:T]    (T,F)        y[n,t,:] = x[n,t,:] + rows[t,:]    (N,T,F)

P has a row for every place of a whole block; a sequence may be shorter.

Backward. x is a summand, so dx = dy. A row is read by every example of the batch, and gets the sum over them:

    drows[t,:] = Σₙ dy[n,t,:]        dP[:T] = drows, and zero in the rows beyond, which nobody read

dP has P's whole shape: a gradient of T rows would be added to the wrong thing, or to nothing.
Source: J. Gehring et al., "Convolutional Sequence to Sequence Learning", 2017, arXiv:1705.03122, section 3.1.
"""

from typing import NamedTuple

import torch

from backproof.shapes import NTF, TF, BlockF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: NTF
    P: BlockF
    rows: TF
    y: NTF


def forward_steps(x: NTF, P: BlockF) -> Steps:
    """The values; `y` is the result. T is at most P's number of rows."""
    rows = P[: x.shape[1]]
    y = x + rows
    return Steps(x, P, rows, y)


def backward_steps(s: Steps, dy: NTF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dx = dy
    drows = dy.sum(0)
    dP = torch.zeros_like(s.P)
    dP[: len(drows)] = drows
    return Steps(dx, dP, drows, dy)


def forward(x: NTF, P: BlockF) -> NTF:
    """The result alone."""
    return x + P[: x.shape[1]]


def backward(P: BlockF, dy: NTF) -> tuple[NTF, BlockF]:
    """dx, which is dy itself, and dP; of P only the shape and the type are used."""
    dP = torch.zeros_like(P)
    torch.sum(dy, 0, out=dP[: dy.shape[1]])
    return dy, dP
