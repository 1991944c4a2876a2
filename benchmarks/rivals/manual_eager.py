"""Gradients by hand in eager PyTorch, with dC by `index_add_`: the published loop without its slow corner."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.engines import ExampleSource
from backproof.models.mlp import Parameters, Shape
from backproof.rules.batchnorm import EPSILON
from measuring.engine import Rival
from rivals.loop import TensorLoop


def create(shape: Shape, parameters: Parameters, examples: ExampleSource) -> Rival:
    """The rival, ready to train a copy of `parameters`."""

    @torch.inference_mode()
    def steps(p: Parameters, xs: Tensor, ys: Tensor, indices: Tensor, rates: list[float]) -> Tensor:
        losses = torch.empty(len(rates))
        for k, (ix, rate) in enumerate(zip(indices, rates, strict=True)):
            losses[k], gradients = loss_and_gradients(p, xs[ix], ys[ix], shape.correction)
            for parameter, gradient in zip(p, gradients, strict=True):
                parameter.sub_(gradient, alpha=rate)
        return losses

    return TensorLoop("manual eager", steps, parameters, examples)


def loss_and_gradients(p: Parameters, x: Tensor, y: Tensor, correction: int) -> tuple[Tensor, Parameters]:
    """One minibatch there and back."""
    n = x.shape[0]
    embcat = p.C[x].view(n, -1)
    hprebn = embcat @ p.W1 + p.b1
    bndiff = hprebn - hprebn.mean(0, keepdim=True)
    bnvar_inv = ((bndiff * bndiff).sum(0, keepdim=True) / (n - correction) + EPSILON) ** -0.5
    bnraw = bndiff * bnvar_inv
    h = torch.tanh(p.bngain * bnraw + p.bnbias)
    logprobs = torch.log_softmax(h @ p.W2 + p.b2, 1)
    loss = -logprobs.gather(1, y[:, None]).mean()

    dlogits = logprobs.exp().scatter_add(1, y[:, None], logprobs.new_full((n, 1), -1.0)) / n
    dW2, db2 = h.T @ dlogits, dlogits.sum(0)
    dhpreact = (dlogits @ p.W2.T) * (1 - h * h)
    dbngain, dbnbias = (dhpreact * bnraw).sum(0, keepdim=True), dhpreact.sum(0, keepdim=True)
    dhprebn = p.bngain * bnvar_inv * (dhpreact - dbnbias / n - bnraw * dbngain / (n - correction))
    dW1, db1 = embcat.T @ dhprebn, dhprebn.sum(0)
    dC = torch.zeros_like(p.C).index_add_(0, x.view(-1), (dhprebn @ p.W1.T).view(-1, p.C.shape[1]))
    return loss, Parameters(dC, dW1, db1, dW2, db2, dbngain, dbnbias)
