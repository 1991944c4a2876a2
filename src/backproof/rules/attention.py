"""Causal self-attention: every position mixes the values of those before it and its own, by how well they match.

    q, k, v = the thirds of qkv, each cut into heads           (N,T,3F) -> three times (N,heads,T,D), F = heads · D
    scores = q @ kᵀ / √D                                       (N,heads,T,T): rows are who looks, columns who is seen
    masked = scores, −∞ where the column is later than the row
    weights = softmax of each row of masked        mixed = weights @ v        y = the heads of mixed, side by side

Backward, fused. One row of weights is P = exp(m) / Σ exp(m), so that ∂P[j]/∂m[i] = P[i] (1[i=j] − P[j]). Summed over j,

    dm[i] = P[i] (dP[i] − Σ_j dP[j] P[j]),    that is    dscores = P · (dP − rowsum(dP · P)),    dP = dmixed @ vᵀ

A later position has P = 0, and so nothing flows back through its score: the mask needs no line of its own. The rest
are matrix products, taken apart as in `linear`:

    dv = Pᵀ @ dmixed        dq = dscores @ k / √D        dk = dscoresᵀ @ q / √D

The two linear layers around it are rules of their own. Source: A. Vaswani et al., "Attention Is All You Need", 2017,
arXiv:1706.03762, section 3.2.
"""

from math import inf
from typing import NamedTuple

import torch

from backproof.shapes import NHTD, NHTT, NT3F, NTF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    qkv: NT3F
    q: NHTD
    k: NHTD
    v: NHTD
    scores: NHTT
    masked: NHTT
    weights: NHTT
    mixed: NHTD
    y: NTF


def forward_steps(qkv: NT3F, heads: int) -> Steps:
    """The values; `y` is the result. F has to be a multiple of `heads`."""
    q, k, v = (third.unflatten(2, (heads, -1)).transpose(1, 2) for third in qkv.chunk(3, 2))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    later = torch.ones_like(scores, dtype=torch.bool).triu(1)
    masked = scores.masked_fill(later, -inf)
    weights = masked.softmax(-1)
    mixed = weights @ v
    y = mixed.transpose(1, 2).flatten(2)
    return Steps(qkv, q, k, v, scores, masked, weights, mixed, y)


def backward_steps(s: Steps, dy: NTF, heads: int) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    scale = s.q.shape[-1] ** -0.5
    dmixed = dy.unflatten(2, (heads, -1)).transpose(1, 2)
    dweights = dmixed @ s.v.mT
    dv = s.weights.mT @ dmixed
    dmasked = s.weights * (dweights - (dweights * s.weights).sum(-1, keepdim=True))
    dscores = dmasked.tril()
    dq = scale * dscores @ s.k
    dk = scale * dscores.mT @ s.q
    dqkv = torch.cat([third.transpose(1, 2).flatten(2) for third in (dq, dk, dv)], 2)
    return Steps(dqkv, dq, dk, dv, dscores, dmasked, dweights, dmixed, dy)


def forward(qkv: NT3F, heads: int) -> tuple[NTF, tuple[NHTD, NHTD, NHTD, NHTT]]:
    """y, and what the way back needs: q, k, v and weights."""
    t = qkv.shape[1]
    q, k, v = qkv.unflatten(2, (3, heads, -1)).permute(2, 0, 3, 1, 4)
    later = qkv.new_full((t, t), -inf).triu_(1)
    weights = (q @ k.mT).mul_(q.shape[-1] ** -0.5).add_(later).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2), (q, k, v, weights)


def backward(saved: tuple[NHTD, NHTD, NHTD, NHTT], dy: NTF) -> NT3F:
    """dqkv in one step."""
    (q, k, v, weights), scale = saved, saved[0].shape[-1] ** -0.5
    dmixed = dy.unflatten(2, (q.shape[1], -1)).transpose(1, 2)
    dweights = dmixed @ v.mT
    along = (dweights * weights).sum(-1, keepdim=True)
    dscores = dweights.sub_(along).mul_(weights).mul_(scale)
    thirds = dscores @ k, dscores.mT @ q, weights.mT @ dmixed
    return torch.stack([third.transpose(1, 2) for third in thirds], 2).flatten(2)
