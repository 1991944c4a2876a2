"""Causal convolution: every position is a weighted sum of some positions up to it, `dilation` apart.

    y[n,t] = Σ_k x[n, t − k · dilation] @ W[k] + b        zeros before the start of a sequence

`padded` is x behind as many zeros as the kernel reaches back.

Backward. Position s of padded is read by y at s, s + dilation, ...: each sends back dy @ W[k]ᵀ. W[k] is read at every
position of every sequence, so that dW[k] is the product of the shifted inputs with dy; db is the sum of dy. Fused, the
shifted inputs stand side by side, and the convolution is one product of linear's kind.

Source: A. Waibel et al., "Phoneme recognition using time-delay neural networks", 1989, doi:10.1109/29.21701; dilated as
in A. van den Oord et al., "WaveNet", 2016, arXiv:1609.03499, section 2.1.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from backproof.shapes import KIO, NTI, NTO, NsI, O


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: NTI
    W: KIO
    b: O
    padded: NsI
    y: NTO


def forward_steps(x: NTI, W: KIO, b: O, dilation: int) -> Steps:
    """The values; `y` is the result."""
    t, back = x.shape[1], (len(W) - 1) * dilation
    padded = pad(x, (0, 0, back, 0))
    y = b + sum(padded[:, back - k * dilation :][:, :t] @ W[k] for k in range(len(W)))
    return Steps(x, W, b, padded, y)


def backward_steps(s: Steps, dilation: int, dy: NTO) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    t, back = s.x.shape[1], (len(s.W) - 1) * dilation
    db = dy.flatten(0, 1).sum(0)
    dW, dpadded = torch.zeros_like(s.W), torch.zeros_like(s.padded)
    for k in range(len(s.W)):
        first = back - k * dilation
        dW[k] = s.padded[:, first : first + t].flatten(0, 1).T @ dy.flatten(0, 1)
        dpadded[:, first : first + t] += dy @ s.W[k].T  # a position of padded has a reader for each k
    dx = dpadded[:, back:]
    return Steps(dx, dW, db, dpadded, dy)


def forward(x: NTI, W: KIO, b: O, dilation: int) -> NTO:
    """The result alone."""
    return (_side_by_side(x, len(W), dilation) @ W.flatten(0, 1)).add_(b)


def backward(x: NTI, W: KIO, dilation: int, dy: NTO) -> tuple[NTI, KIO, O]:
    """dx, dW, db, the products of all k at once."""
    rows = dy.flatten(0, 1)
    dW = (_side_by_side(x, len(W), dilation).flatten(0, 1).T @ rows).view_as(W)
    sent = (dy @ W.flatten(0, 1).T).chunk(len(W), 2)
    dx = sent[0].clone()
    for k in range(1, len(W)):
        shift = k * dilation
        if shift < x.shape[1]:
            dx[:, : x.shape[1] - shift] += sent[k][:, shift:]
    return dx, dW, rows.sum(0)


def _side_by_side(x: Tensor, kernel: int, dilation: int) -> Tensor:
    t, back = x.shape[1], (kernel - 1) * dilation
    padded = pad(x, (0, 0, back, 0))
    return torch.cat([padded[:, back - k * dilation :][:, :t] for k in range(kernel)], 2)
