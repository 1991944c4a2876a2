"""The language model of `ninja.py` with the biased variance, as published with 200 hidden cells.

Batch normalisation divides the variance by n and not by n - 1 (Ioffe and Szegedy 2015, arXiv:1502.03167,
algorithm 1, which has the biased variance; the network: Bengio et al. 2003,
https://www.jmlr.org/papers/v3/bengio03a.html). With n rows in the batch and H hidden cells:

    hprebn  = embcat W1 + b1                      hpreact = bngain · bnraw + bnbias
    bnvar   = 1/n Σₙ (hprebn - mean)²             h       = tanh(hpreact)
    bnraw   = (hprebn - mean) (bnvar + ε)^-½      loss    = -1/n Σᵢ log softmax(h W2 + b2)[i, Yb[i]]

A batch of one row is allowed: its variance is 0, and only ε keeps (bnvar + ε)^-3/2 finite on the way back.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

EPSILON = 1e-5


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape."""

    Xb: Tensor  # (n, 3) integers: the context
    Yb: Tensor  # (n,) integers: the letter that follows
    C: Tensor  # (27, 10)
    W1: Tensor  # (30, H)
    b1: Tensor  # (H,)
    W2: Tensor  # (H, 27)
    b2: Tensor  # (27,)
    bngain: Tensor  # (1, H)
    bnbias: Tensor  # (1, H)
    emb: Tensor  # (n, 3, 10)
    embcat: Tensor  # (n, 30)
    hprebn: Tensor  # (n, H)
    bnmeani: Tensor  # (1, H)
    bndiff: Tensor  # (n, H)
    bndiff2: Tensor  # (n, H)
    bnvar: Tensor  # (1, H)
    bnvar_inv: Tensor  # (1, H)
    bnraw: Tensor  # (n, H)
    hpreact: Tensor  # (n, H)
    h: Tensor  # (n, H)
    logits: Tensor  # (n, 27)
    logit_maxes: Tensor  # (n, 1)
    norm_logits: Tensor  # (n, 27)
    counts: Tensor  # (n, 27)
    counts_sum: Tensor  # (n, 1)
    counts_sum_inv: Tensor  # (n, 1)
    probs: Tensor  # (n, 27)
    logprobs: Tensor  # (n, 27)
    loss: Tensor  # ()


def inputs(n: int = 32, hidden: int = 200) -> dict[str, Tensor]:
    """A batch of n contexts, and the parameters as the model draws them; none of them starts at zero."""
    g = torch.Generator().manual_seed(2147483647)
    C = torch.randn((27, 10), generator=g)
    W1 = torch.randn((30, hidden), generator=g) * (5 / 3) / 30**0.5
    b1 = torch.randn(hidden, generator=g) * 0.1
    W2 = torch.randn((hidden, 27), generator=g) * 0.1
    b2 = torch.randn(27, generator=g) * 0.1
    Xb = torch.randint(27, (n, 3), generator=g)
    Yb = torch.randint(27, (n,), generator=g)
    g.manual_seed(42)
    bngain = torch.randn((1, hidden), generator=g) * 0.1 + 1.0
    bnbias = torch.randn((1, hidden), generator=g) * 0.1
    return dict(Xb=Xb, Yb=Yb, C=C, W1=W1, b1=b1, W2=W2, b2=b2, bngain=bngain, bnbias=bnbias)


def forward(
    Xb: Tensor,
    Yb: Tensor,
    C: Tensor,
    W1: Tensor,
    b1: Tensor,
    W2: Tensor,
    b2: Tensor,
    bngain: Tensor,
    bnbias: Tensor,
) -> Steps:
    n = len(Yb)
    emb = C[Xb]
    embcat = emb.view(n, -1)
    hprebn = embcat @ W1 + b1
    bnmeani = 1 / n * hprebn.sum(0, keepdim=True)
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = 1 / n * bndiff2.sum(0, keepdim=True)
    bnvar_inv = (bnvar + EPSILON) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    logit_maxes = logits.max(1, keepdim=True).values
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdim=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    loss = -logprobs[range(n), Yb].mean()
    return Steps(
        Xb, Yb, C, W1, b1, W2, b2, bngain, bnbias,
        emb, embcat, hprebn, bnmeani, bndiff, bndiff2, bnvar, bnvar_inv, bnraw, hpreact, h,
        logits, logit_maxes, norm_logits, counts, counts_sum, counts_sum_inv, probs, logprobs, loss,
    )  # fmt: skip


def backward(s: Steps, dloss: Tensor) -> dict[str, Tensor]:
    n, letters = s.logits.shape
    dlogprobs = torch.zeros_like(s.logprobs)
    dlogprobs[range(n), s.Yb] = -dloss / n
    dprobs = dlogprobs / s.probs
    dcounts_sum_inv = (s.counts * dprobs).sum(1, keepdim=True)
    dcounts_sum = -(s.counts_sum**-2) * dcounts_sum_inv
    dcounts = s.counts_sum_inv * dprobs + dcounts_sum  # counts has two readers: probs, counts_sum
    dnorm_logits = s.counts * dcounts
    dlogit_maxes = -dnorm_logits.sum(1, keepdim=True)
    at_max = functional.one_hot(s.logits.argmax(1), letters)
    dlogits = dnorm_logits + at_max * dlogit_maxes  # logits has two readers: norm_logits, logit_maxes
    dh = dlogits @ s.W2.T
    dW2 = s.h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1 - s.h**2) * dh
    dbngain = (s.bnraw * dhpreact).sum(0, keepdim=True)
    dbnbias = dhpreact.sum(0, keepdim=True)
    dbnraw = s.bngain * dhpreact
    dbnvar_inv = (s.bndiff * dbnraw).sum(0, keepdim=True)
    dbnvar = -0.5 * (s.bnvar + EPSILON) ** -1.5 * dbnvar_inv
    dbndiff2 = 1 / n * torch.ones_like(s.bndiff2) * dbnvar
    dbndiff = s.bnvar_inv * dbnraw + 2 * s.bndiff * dbndiff2  # bndiff has two readers: bnraw, bndiff2
    dbnmeani = -dbndiff.sum(0, keepdim=True)
    dhprebn = dbndiff + 1 / n * dbnmeani  # hprebn has two readers: bndiff, bnmeani
    dembcat = dhprebn @ s.W1.T
    dW1 = s.embcat.T @ dhprebn
    db1 = dhprebn.sum(0)
    demb = dembcat.view(s.emb.shape)
    dC = torch.zeros_like(s.C).index_put((s.Xb,), demb, accumulate=True)
    return dict(
        logprobs=dlogprobs, probs=dprobs, counts_sum_inv=dcounts_sum_inv, counts_sum=dcounts_sum,
        counts=dcounts, norm_logits=dnorm_logits, logit_maxes=dlogit_maxes, logits=dlogits,
        h=dh, W2=dW2, b2=db2, hpreact=dhpreact, bngain=dbngain, bnbias=dbnbias, bnraw=dbnraw,
        bnvar_inv=dbnvar_inv, bnvar=dbnvar, bndiff2=dbndiff2, bndiff=dbndiff, bnmeani=dbnmeani,
        hprebn=dhprebn, embcat=dembcat, W1=dW1, b1=db1, emb=demb, C=dC,
    )  # fmt: skip
