"""The mean over a window: every position has the mean of the last few positions, itself included.

    total[n,t] = Σ x[n,s] over t − window < s ≤ t        y[n,t] = total[n,t] / min(t + 1, window)

With a window at least as long as the sequence it is the mean of all that came so far: a bag of words.

Backward. Position s is in the windows of the positions t with s ≤ t < s + window, and has 1 / min(t + 1, window) of
each:

    dx[n,s] = Σ dy[n,t] / min(t + 1, window)        the same sum, looking the other way

Source: `CausalBoW` of Karpathy's makemore, where the window has no end; S. Wang and C. D. Manning, "Baselines and
Bigrams", ACL 2012, on how far bags of words go.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from backproof.shapes import NTF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: NTF
    total: NTF
    y: NTF


def forward_steps(x: NTF, window: int) -> Steps:
    """The values; `y` is the result."""
    total = _seen(x, window) @ x
    return Steps(x, total, total / _counts(x, window))


def backward_steps(s: Steps, window: int, dy: NTF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dtotal = dy / _counts(s.x, window)
    dx = _seen(s.x, window).T @ dtotal
    return Steps(dx, dtotal, dy)


def forward(x: NTF, window: int) -> NTF:
    """The result alone."""
    return (_seen(x, window) / _counts(x, window)) @ x


def backward(window: int, dy: NTF) -> NTF:
    """dx in one product."""
    return (_seen(dy, window) / _counts(dy, window)).T @ dy


def _seen(x: Tensor, window: int) -> Tensor:
    """(t, t): 1 where the column lies in the row's window."""
    every = torch.ones((x.shape[1], x.shape[1]), dtype=x.dtype, device=x.device).tril()
    return every.triu(1 - window)


def _counts(x: Tensor, window: int) -> Tensor:
    """(t, 1): how many positions each window holds."""
    return torch.arange(1, x.shape[1] + 1, dtype=x.dtype, device=x.device).clamp(max=window)[:, None]
