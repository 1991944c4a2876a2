"""The published loop: gradients by hand in PyTorch tensors, and a Python loop over every symbol for dC.

What the notebooks run, in their form: cross-entropy and batch normalisation collapsed into one step each, softmax
computed a second time on the way back, every row of demb added to its row of dC one at a time. In its favour, the
numbers of the examples are drawn beforehand.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from backproof.engines import ExampleSource
from backproof.models.mlp import Parameters, Shape
from backproof.rules.batchnorm import EPSILON
from measuring.engine import Rival
from rivals.loop import TensorLoop


def create(shape: Shape, parameters: Parameters, examples: ExampleSource) -> Rival:
    """The rival, ready to train a copy of `parameters`."""

    @torch.no_grad()
    def steps(p: Parameters, xs: Tensor, ys: Tensor, indices: Tensor, rates: list[float]) -> Tensor:
        losses = []
        for ix, rate in zip(indices, rates, strict=True):
            loss, gradients = loss_and_gradients(p, xs[ix], ys[ix], shape.correction)
            for parameter, gradient in zip(p, gradients, strict=True):
                parameter.data += -rate * gradient
            losses.append(loss.item())
        return torch.tensor(losses)

    return TensorLoop("published loop", steps, parameters, examples)


def loss_and_gradients(p: Parameters, x: Tensor, y: Tensor, correction: int) -> tuple[Tensor, Parameters]:
    """One minibatch there and back."""
    n = x.shape[0]
    emb = p.C[x]
    embcat = emb.view(n, -1)
    hprebn = embcat @ p.W1 + p.b1
    bnmean = hprebn.mean(0, keepdim=True)
    bnvar = hprebn.var(0, keepdim=True, correction=correction)
    bnvar_inv = (bnvar + EPSILON) ** -0.5
    bnraw = (hprebn - bnmean) * bnvar_inv
    hpreact = p.bngain * bnraw + p.bnbias
    h = torch.tanh(hpreact)
    logits = h @ p.W2 + p.b2
    loss = functional.cross_entropy(logits, y)

    dlogits = functional.softmax(logits, 1)
    dlogits[range(n), y] -= 1
    dlogits /= n
    dh = dlogits @ p.W2.T
    dW2 = h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1.0 - h**2) * dh
    dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
    dbnbias = dhpreact.sum(0, keepdim=True)
    dhprebn = (
        p.bngain * bnvar_inv / n
        * (n * dhpreact - dhpreact.sum(0) - n / (n - correction) * bnraw * (dhpreact * bnraw).sum(0))
    )  # fmt: skip
    dembcat = dhprebn @ p.W1.T
    dW1 = embcat.T @ dhprebn
    db1 = dhprebn.sum(0)
    demb = dembcat.view(emb.shape)
    dC = torch.zeros_like(p.C)
    for row in range(n):
        for position in range(x.shape[1]):
            dC[x[row, position]] += demb[row, position]
    return loss, Parameters(dC, dW1, db1, dW2, db2, dbngain, dbnbias)
