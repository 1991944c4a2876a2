"""An embedding, a tied output layer, and a cross-entropy whose mean leaves out the positions labelled -100.

    logits = emb tableᵀ + bias,   loss = -1/m Σ_{labels[i] ≠ -100} log softmax(logits)[i, labels[i]]

m is the number of positions that count (at least 1, so that a batch of padding has loss 0 and not 0/0).
Sources: Press and Wolf 2016, arXiv:1608.05859 (one table at both ends); the ignored label follows PyTorch's
`cross_entropy(ignore_index=-100)`. Backward, the table is read twice: its rows by `emb`, whole by `logits`;
and a token that occurs twice sends back two gradients, which are added.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

IGNORED = -100


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape: V tokens, D features."""

    tokens: Tensor  # (n,) integers
    labels: Tensor  # (n,) integers, -100 where the position does not count
    table: Tensor  # (V, D)
    bias: Tensor  # (V,)
    emb: Tensor  # (n, D)
    logits: Tensor  # (n, V)
    norm: Tensor  # (n, 1)
    logprobs: Tensor  # (n, V)
    picked: Tensor  # (n, 1)
    total: Tensor  # ()
    loss: Tensor  # ()


def inputs(n: int = 17, tokens: int = 9, features: int = 5) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(6)
    table = torch.randn((tokens, features), generator=g)
    bias = torch.randn(tokens, generator=g) * 0.3
    ids = torch.randint(tokens, (n,), generator=g)
    labels = torch.randint(tokens, (n,), generator=g)
    labels[::3] = IGNORED  # of a single position, nothing counts
    return dict(tokens=ids, labels=labels, table=table, bias=bias)


def forward(tokens: Tensor, labels: Tensor, table: Tensor, bias: Tensor) -> Steps:
    counted = (labels != IGNORED).unsqueeze(1)
    emb = table[tokens]
    logits = emb @ table.T + bias
    norm = logits.logsumexp(1, keepdim=True)
    logprobs = logits - norm
    picked = logprobs.gather(1, labels.clamp(min=0).unsqueeze(1))
    total = (picked * counted).sum()
    loss = -total / counted.sum().clamp(min=1)
    return Steps(tokens, labels, table, bias, emb, logits, norm, logprobs, picked, total, loss)


def backward(s: Steps, dloss: Tensor) -> dict[str, Tensor]:
    counted = (s.labels != IGNORED).unsqueeze(1)
    dtotal = -dloss / counted.sum().clamp(min=1)
    dpicked = dtotal * counted
    where = s.labels.clamp(min=0).unsqueeze(1)
    dlogprobs = torch.zeros_like(s.logprobs).scatter(1, where, dpicked)
    dnorm = -dlogprobs.sum(1, keepdim=True)
    dlogits = dlogprobs + s.logprobs.exp() * dnorm  # logits has two readers: logprobs, norm
    dbias = dlogits.sum(0)
    demb = dlogits @ s.table
    dtable = (dlogits.T @ s.emb).index_add(0, s.tokens, demb)  # table has two readers: logits, emb
    return dict(
        table=dtable,
        bias=dbias,
        emb=demb,
        logits=dlogits,
        norm=dnorm,
        logprobs=dlogprobs,
        picked=dpicked,
        total=dtotal,
    )
