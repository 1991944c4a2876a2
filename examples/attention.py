"""Causal self-attention with one head: scaled dot products, a softmax over the past, a mix of values.

    y = softmax(mask(q kᵀ / √D)) v Wo,   q = x Wq,   k = x Wk,   v = x Wv

Source: Vaswani et al. 2017, arXiv:1706.03762, equation 1. Backward through one row w = softmax(a):
da = w · (dw - Σ dw · w); a masked score has w = 0, so nothing flows back through it.
The inputs hold equal tokens (tied scores) and large weights (sharp rows: one weight near 1, the rest near 0).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape: B sequences of n tokens, model width M, head
    width D."""

    x: Tensor  # (B, n, M)
    Wq: Tensor  # (M, D)
    Wk: Tensor  # (M, D)
    Wv: Tensor  # (M, D)
    Wo: Tensor  # (D, M)
    q: Tensor  # (B, n, D)
    k: Tensor  # (B, n, D)
    v: Tensor  # (B, n, D)
    scores: Tensor  # (B, n, n)
    masked: Tensor  # (B, n, n)
    weights: Tensor  # (B, n, n)
    mixed: Tensor  # (B, n, D)
    y: Tensor  # (B, n, M)


def inputs(n: int = 7, batch: int = 3, width: int = 6, head: int = 4) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(3)
    x = torch.randn((batch, n, width), generator=g)
    x[0, n // 2] = x[0, 0]  # two equal tokens: their scores tie
    Wq = torch.randn((width, head), generator=g) * 1.2  # sharp rows
    Wk, Wv = (torch.randn((width, head), generator=g) / width**0.5 for _ in range(2))
    Wo = torch.randn((head, width), generator=g) / head**0.5
    return dict(x=x, Wq=Wq, Wk=Wk, Wv=Wv, Wo=Wo)


def forward(x: Tensor, Wq: Tensor, Wk: Tensor, Wv: Tensor, Wo: Tensor) -> Steps:
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    scores = q @ k.mT / q.shape[-1] ** 0.5
    future = torch.ones_like(scores, dtype=torch.bool).triu(1)
    masked = scores.masked_fill(future, float("-inf"))
    weights = masked.softmax(-1)
    mixed = weights @ v
    y = mixed @ Wo
    return Steps(x, Wq, Wk, Wv, Wo, q, k, v, scores, masked, weights, mixed, y)


def backward(s: Steps, dy: Tensor) -> dict[str, Tensor]:
    scale = s.q.shape[-1] ** -0.5
    dmixed = dy @ s.Wo.T
    dWo = (s.mixed.mT @ dy).sum(0)
    dweights = dmixed @ s.v.mT
    dv = s.weights.mT @ dmixed
    dmasked = s.weights * (dweights - (dweights * s.weights).sum(-1, keepdim=True))
    dscores = dmasked.tril()
    dq = scale * dscores @ s.k
    dk = scale * dscores.mT @ s.q
    dWq = (s.x.mT @ dq).sum(0)
    dWk = (s.x.mT @ dk).sum(0)
    dWv = (s.x.mT @ dv).sum(0)
    dx = dq @ s.Wq.T + dk @ s.Wk.T + dv @ s.Wv.T  # x has three readers: q, k, v
    return dict(
        x=dx, Wq=dWq, Wk=dWk, Wv=dWv, Wo=dWo,
        q=dq, k=dk, v=dv, scores=dscores, masked=dmasked, weights=dweights, mixed=dmixed,
    )  # fmt: skip
