"""The notebook network in a notebook: every value and every gradient under its own name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

FORWARD = """
emb = C[Xb]
embcat = emb.view(n, -1)
hprebn = embcat @ W1 + b1
bnmeani = 1 / n * hprebn.sum(0, keepdim=True)
bndiff = hprebn - bnmeani
bndiff2 = bndiff**2
bnvar = 1 / (n - correction) * bndiff2.sum(0, keepdim=True)
bnvar_inv = (bnvar + 1e-5) ** -0.5
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
"""

BACKWARD = """
dlogprobs = torch.zeros_like(logprobs)
dlogprobs[range(n), Yb] = -1.0 / n
dprobs = (1.0 / probs) * dlogprobs
dcounts_sum_inv = (counts * dprobs).sum(1, keepdim=True)
dcounts = counts_sum_inv * dprobs
dcounts_sum = (-(counts_sum**-2)) * dcounts_sum_inv
dcounts += torch.ones_like(counts) * dcounts_sum
dnorm_logits = counts * dcounts
dlogits = dnorm_logits.clone()
dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)
dlogits += torch.nn.functional.one_hot(logits.max(1).indices, num_classes=logits.shape[1]) * dlogit_maxes
dh = dlogits @ W2.T
dW2 = h.T @ dlogits
db2 = dlogits.sum(0)
dhpreact = (1.0 - h**2) * dh
dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
dbnraw = bngain * dhpreact
dbnbias = dhpreact.sum(0, keepdim=True)
dbndiff = bnvar_inv * dbnraw
dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)
dbnvar = (-0.5 * (bnvar + 1e-5) ** -1.5) * dbnvar_inv
dbndiff2 = (1.0 / (n - correction)) * torch.ones_like(bndiff2) * dbnvar
dbndiff += (2 * bndiff) * dbndiff2
dhprebn = dbndiff.clone()
dbnmeani = (-dbndiff).sum(0, keepdim=True)
dhprebn += 1.0 / n * (torch.ones_like(hprebn) * dbnmeani)
dembcat = dhprebn @ W1.T
dW1 = embcat.T @ dhprebn
db1 = dhprebn.sum(0)
demb = dembcat.view(emb.shape)
dC = torch.zeros_like(C)
for k in range(Xb.shape[0]):
    for j in range(Xb.shape[1]):
        dC[Xb[k, j]] += demb[k, j]
"""


def make_notebook(*changes: tuple[str, str], correction: int = 1, hidden: int = 64, n: int = 32, **dtype: Any) -> dict:
    """The names of a notebook that ran the forward and the backward pass, with some text in them changed."""
    g = torch.Generator().manual_seed(2147483647)
    shapes = {"C": (27, 10), "W1": (30, hidden), "b1": (hidden,), "W2": (hidden, 27), "b2": (27,)}
    scale = {"C": 1.0, "W1": (5 / 3) / 30**0.5}
    leaves = {name: torch.randn(shape, generator=g) * scale.get(name, 0.1) for name, shape in shapes.items()}
    leaves["bngain"] = torch.randn((1, hidden), generator=g) * 0.1 + 1
    leaves["bnbias"] = torch.randn((1, hidden), generator=g) * 0.1
    names: dict[str, Any] = {name: leaf.to(**dtype).requires_grad_() for name, leaf in leaves.items()}
    names |= dict(torch=torch, n=n, correction=correction)
    names["Xb"] = torch.randint(27, (n, 3), generator=g)
    names["Yb"] = torch.randint(27, (n,), generator=g)
    forward, backward = _changed(FORWARD, BACKWARD, changes)
    exec(forward, names)
    graph = dict(names)
    names |= {name: value.detach() for name, value in names.items() if isinstance(value, Tensor)}
    exec(backward, names)
    return names | graph


def _changed(forward: str, backward: str, changes: tuple[tuple[str, str], ...]) -> tuple[str, str]:
    for right, wrong in changes:
        assert (forward + backward).count(right) == 1, right
        forward, backward = forward.replace(right, wrong), backward.replace(right, wrong)
    return forward, backward


@pytest.fixture
def notebook() -> Callable[..., dict]:
    return make_notebook
