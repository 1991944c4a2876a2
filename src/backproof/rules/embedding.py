"""Embedding: look up a row of C for every symbol, and put the rows of one example side by side.

    emb[n,t,:] = C[ix[n,t],:]    (N,T,E)        embcat[n, t·E + e] = emb[n,t,e]    (N, T·E)

Backward. Side by side or stacked, the numbers are the same, so demb is dembcat with its shape undone. A row of C
is read wherever its symbol occurs, and a value's gradient is the sum over all its readers:

    dC[v,:] = Σ_{n,t: ix[n,t] = v} demb[n,t,:]

Writing `dC[ix] = demb` keeps one reader of each row only; `dC[ix] += demb` does too, since the repeated rows are read
before any is written. Symbols that do not occur get zero. Source: Y. Bengio et al., "A Neural Probabilistic Language
Model", JMLR 3, 2003, section 2 (the shared matrix C).
"""

from typing import NamedTuple

import torch

from backproof.shapes import NTE, VE, Contexts, NTxE


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    C: VE
    emb: NTE
    embcat: NTxE


def forward_steps(C: VE, ix: Contexts) -> Steps:
    """The values; `embcat` is the result."""
    emb = C[ix]
    return Steps(C, emb, emb.view(emb.shape[0], -1))


def backward_steps(s: Steps, ix: Contexts, dembcat: NTxE) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    demb = dembcat.reshape(s.emb.shape)
    dC = torch.zeros_like(s.C).index_add_(0, ix.flatten(), demb.flatten(0, 1))  # repeated symbols accumulate
    return Steps(dC, demb, dembcat)


def forward(C: VE, ix: Contexts) -> NTxE:
    """The result alone."""
    return C.index_select(0, ix.flatten()).view(ix.shape[0], -1)


def backward(C: VE, ix: Contexts, dembcat: NTxE) -> VE:
    """dC alone; of C only the shape and the type are used."""
    return torch.zeros_like(C).index_add_(0, ix.flatten(), dembcat.reshape(-1, C.shape[1]))
