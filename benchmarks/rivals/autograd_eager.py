"""Automatic differentiation in eager PyTorch: what a user of the library writes. In float64 it is the truth as well."""

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
    """The rival, ready to train a copy of `parameters`, in their type."""

    def steps(p: Parameters, xs: Tensor, ys: Tensor, indices: Tensor, rates: list[float]) -> Tensor:
        losses = torch.empty(len(rates))
        for parameter in p:
            parameter.requires_grad_()
        for k, (ix, rate) in enumerate(zip(indices, rates, strict=True)):
            loss = loss_of(p, xs[ix], ys[ix], shape.correction)
            loss.backward()
            with torch.no_grad():
                losses[k] = loss
                for parameter in p:
                    assert parameter.grad is not None
                    parameter.sub_(parameter.grad, alpha=rate)
                    parameter.grad = None
        return losses

    return TensorLoop("autograd eager", steps, parameters, examples)


def loss_of(p: Parameters, x: Tensor, y: Tensor, correction: int) -> Tensor:
    """The forward pass alone."""
    hprebn = torch.addmm(p.b1, p.C[x].view(x.shape[0], -1), p.W1)
    bnvar, bnmean = torch.var_mean(hprebn, 0, correction=correction, keepdim=True)
    h = torch.tanh(p.bngain * (hprebn - bnmean) * (bnvar + EPSILON).rsqrt() + p.bnbias)
    return functional.cross_entropy(torch.addmm(p.b2, h, p.W2), y)
