"""What sits in modules: a fused layer, adapters, dropout, quantisers, gradient reversal."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

from in_the_wild.entry import Fault, Function, normal


class LinearReLUFunction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias):
        y = torch.addmm(bias, x, weight.t()).clamp(min=0)
        ctx.save_for_backward(x, weight, y)
        return y

    @staticmethod
    def backward(ctx, grad_output):
        x, weight, y = ctx.saved_tensors
        grad_pre = grad_output * (y > 0)
        return grad_pre @ weight, grad_pre.t() @ x, grad_pre.sum(0)


class FusedLinearReLU(nn.Module):
    def __init__(self, weight, bias):
        super().__init__()
        self.weight, self.bias = nn.Parameter(weight), nn.Parameter(bias)

    def forward(self, x):
        return LinearReLUFunction.apply(x, self.weight, self.bias)


class PlainLinearReLU(FusedLinearReLU):
    def forward(self, x):
        return F.relu(F.linear(x, self.weight, self.bias))


class Linear3d(torch.autograd.Function):
    """Of sequences: (batch, time, features)."""

    @staticmethod
    def forward(ctx, x, weight, bias):
        ctx.save_for_backward(x, weight)
        return x @ weight.t() + bias

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        flat = grad.reshape(-1, weight.shape[0])
        dx = (flat @ weight).view_as(x)
        return dx, flat.t() @ x.reshape(-1, x.shape[-1]), flat.sum(0)


class LoRALinear(torch.autograd.Function):
    """The weight is frozen, its low-rank update learnt; x @ a.t() is made again in the backward pass."""

    @staticmethod
    def forward(ctx, x, weight, a, b, scaling):
        ctx.save_for_backward(x, weight, a, b)
        ctx.scaling = scaling
        return x @ weight.t() + scaling * (x @ a.t()) @ b.t()

    @staticmethod
    def backward(ctx, dy):
        x, weight, a, b = ctx.saved_tensors
        low = ctx.scaling * dy @ b
        dx = dy @ weight + low @ a
        da = low.t() @ x
        db = ctx.scaling * dy.t() @ (x @ a.t())
        return dx, None, da, db, None


class SeededDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, p, seed):
        mask = kept(x, p, seed)
        ctx.save_for_backward(mask)
        ctx.p = p
        return x * mask / (1 - p)

    @staticmethod
    def backward(ctx, grad):
        (mask,) = ctx.saved_tensors
        return grad * mask / (1 - ctx.p), None, None


def kept(x, p, seed):
    return torch.rand(x.shape, generator=torch.Generator().manual_seed(seed)) >= p


class LearntStep(torch.autograd.Function):
    """LSQ: the step of a quantiser is learnt, with its gradient scaled down."""

    @staticmethod
    def forward(ctx, x, step, low, high):
        scaled = x / step
        ctx.save_for_backward(scaled)
        ctx.low, ctx.high = low, high
        return scaled.round().clamp(low, high) * step

    @staticmethod
    def backward(ctx, grad):
        (scaled,) = ctx.saved_tensors
        inside = (scaled > ctx.low) & (scaled < ctx.high)
        slope = torch.where(inside, scaled.round() - scaled, scaled.clamp(ctx.low, ctx.high))
        dstep = (grad * slope).sum() / (scaled.numel() * ctx.high) ** 0.5
        return grad * inside, dstep, None, None


def learnt_step(x, step, low, high):
    scale = (x.numel() * high) ** -0.5
    step = step * scale + (step - step * scale).detach()
    scaled = (x / step).clamp(low, high)
    return (scaled + (scaled.round() - scaled).detach()) * step


class ReverseGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, lam):
        ctx.lam = lam
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad):
        return grad.neg() * ctx.lam, None


WEIGHT, BIAS = normal(10, 3, 4), normal(11, 3)

WILD = [
    Function(
        "module of linear and relu",
        FusedLinearReLU(WEIGHT, BIAS),
        PlainLinearReLU(WEIGHT, BIAS),
        lambda n=5: (normal(0, n, 4),),
        Fault("grad_pre = grad_output * (y > 0)", "grad_pre = grad_output", "x weight bias", "F16 F14"),
    ),
    Function(
        "linear of sequences",
        Linear3d,
        F.linear,
        lambda n=3: (normal(0, 2, n, 4), normal(1, 5, 4), normal(2, 5)),
        Fault(
            "flat = grad.reshape(-1, weight.shape[0])",
            "flat = grad.view(-1, weight.shape[0])",
            "input weight bias | x0 x1 x2 | output",
            "F2",
        ),
    ),
    Function(
        "lora linear",
        LoRALinear,
        lambda x, weight, a, b, scaling: F.linear(x, weight + scaling * b @ a),
        lambda n=5: (normal(0, n, 6), normal(1, 4, 6), normal(2, 2, 6), normal(3, 4, 2), 0.5),
        Fault(
            "db = ctx.scaling * dy.t() @ (x @ a.t())",
            "db = dy.t() @ (x @ a.t())",
            "b",
            "F12 F16",
        ),
        {"grad_inputs": ["x", "a", "b"]},
    ),
    Function(
        "dropout with a seed",
        SeededDropout,
        lambda x, p, seed: torch.where(kept(x, p, seed), x / (1 - p), 0),
        lambda n=4: (normal(0, n, 5), 0.3, 7),
        Fault("return grad * mask / (1 - ctx.p), None, None", "return grad * mask, None, None", "x", "F12"),
    ),
    Function(
        "learnt step of a quantiser",
        LearntStep,
        learnt_step,
        lambda: (normal(0, 4, 6), torch.tensor(0.4), -4, 3),
        Fault(
            "slope = torch.where(inside, scaled.round() - scaled, scaled.clamp(ctx.low, ctx.high))",
            "slope = torch.where(inside, scaled.round(), scaled.clamp(ctx.low, ctx.high))",
            "step",
            "F6",
        ),
    ),
    Function(
        "gradient reversal",
        ReverseGradient,
        lambda x, lam: x.clone(),
        lambda n=4: (normal(0, n, 3), 0.5),
        Fault("return grad.neg() * ctx.lam, None", "return grad.neg_() * ctx.lam, None", "x | output", "F3"),
        {"meant": {"x": lambda g: -0.5 * g}},
    ),
]
