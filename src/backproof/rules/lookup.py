"""Look-up: for every symbol, its row of a table.

    emb[n,t,:] = C[ix[n,t],:]    (N,T,E)

`embedding` does the same and puts the rows of one example side by side; here they stay apart. If a row holds a logit
for each symbol that may follow, this alone is the bigram model.

Backward. A row of C is read wherever its symbol occurs, and a value's gradient is the sum over all its readers:

    dC[v,:] = Σ_{n,t: ix[n,t] = v} demb[n,t,:]

Writing `dC[ix] = demb` keeps one reader of each row only; `dC[ix] += demb` does too, since the repeated rows are read
before any is written. Symbols that do not occur get zero. Source: Y. Bengio et al., "A Neural Probabilistic Language
Model", JMLR 3, 2003, section 2 (the shared matrix C).
"""

from typing import NamedTuple

import torch

from backproof.shapes import NTE, VE, Contexts


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    C: VE
    emb: NTE


def forward_steps(C: VE, ix: Contexts) -> Steps:
    """The values; `emb` is the result."""
    return Steps(C, C[ix])


def backward_steps(s: Steps, ix: Contexts, demb: NTE) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dC = torch.zeros_like(s.C).index_add_(0, ix.flatten(), demb.flatten(0, 1))  # repeated symbols accumulate
    return Steps(dC, demb)


def forward(C: VE, ix: Contexts) -> NTE:
    """The result alone."""
    return C.index_select(0, ix.flatten()).view(*ix.shape, -1)


def backward(C: VE, ix: Contexts, demb: NTE) -> VE:
    """dC alone; of C only the shape and the type are used."""
    return torch.zeros_like(C).index_add_(0, ix.flatten(), demb.flatten(0, 1))
