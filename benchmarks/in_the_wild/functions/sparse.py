"""Sparse maps of scores: sparsemax, entmax, top-k, sharpened softmax."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Function, normal


def _threshold_and_support(z, dim):
    sorted_z, _ = z.sort(descending=True, dim=dim)
    cumsum = sorted_z.cumsum(dim) - 1
    rho = torch.arange(1, z.shape[dim] + 1, device=z.device, dtype=z.dtype)
    view = [1] * z.dim()
    view[dim] = -1
    support = rho.view(view) * sorted_z > cumsum
    size = support.sum(dim=dim, keepdim=True)
    tau = cumsum.gather(dim, size - 1) / size.to(z.dtype)
    return tau, size


class Sparsemax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, dim=-1):
        ctx.dim = dim
        tau, size = _threshold_and_support(z, dim)
        output = torch.clamp(z - tau, min=0)
        ctx.save_for_backward(output, size)
        return output

    @staticmethod
    def backward(ctx, grad_output):
        output, size = ctx.saved_tensors
        grad_input = grad_output.clone()
        grad_input[output == 0] = 0
        v_hat = grad_input.sum(dim=ctx.dim, keepdim=True) / size.to(output.dtype)
        grad_input = torch.where(output != 0, grad_input - v_hat, torch.zeros_like(grad_input))
        return grad_input, None


def sparsemax(z, dim=-1):
    tau, _ = _threshold_and_support(z, dim)
    return torch.clamp(z - tau, min=0)


class Entmax15(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        x = (x - x.max(-1, keepdim=True).values) / 2
        ordered, _ = x.sort(-1, descending=True)
        rho = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype, device=x.device)
        mean, mean_sq = ordered.cumsum(-1) / rho, (ordered**2).cumsum(-1) / rho
        delta = (1 - rho * (mean_sq - mean**2)) / rho
        tau = mean - delta.clamp(min=0).sqrt()
        support = (tau <= ordered).sum(-1, keepdim=True)
        y = (x - tau.gather(-1, support - 1)).clamp(min=0) ** 2
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        gppr = y.sqrt()
        dx = dy * gppr
        q = dx.sum(-1, keepdim=True) / gppr.sum(-1, keepdim=True)
        dx = dx - q * gppr
        return dx


def entmax15(x):
    """By bisection of the threshold, and one differentiable Newton step from there."""
    x = x / 2
    low, high = x.detach().max(-1, keepdim=True).values - 1, x.detach().max(-1, keepdim=True).values
    for _ in range(60):
        tau = (low + high) / 2
        mass = ((x.detach() - tau).clamp(min=0) ** 2).sum(-1, keepdim=True)
        low, high = torch.where(mass >= 1, tau, low), torch.where(mass >= 1, high, tau)
    room = (x - tau).clamp(min=0)
    tau = tau + ((room**2).sum(-1, keepdim=True) - 1) / (2 * room.detach().sum(-1, keepdim=True))
    return (x - tau).clamp(min=0) ** 2


class TopK(torch.autograd.Function):
    """Values of the k largest."""

    @staticmethod
    def forward(ctx, x, k):
        values, indices = x.topk(k, dim=-1)
        ctx.save_for_backward(indices)
        ctx.shape = x.shape
        return values

    @staticmethod
    def backward(ctx, grad_values):
        (indices,) = ctx.saved_tensors
        grad = grad_values.new_zeros(ctx.shape)
        grad.scatter_(-1, indices, grad_values)
        return grad, None


class TemperatureSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, temperature):
        p = torch.softmax(logits / temperature, dim=-1)
        ctx.save_for_backward(p, logits, temperature)
        return p

    @staticmethod
    def backward(ctx, dp):
        p, logits, temperature = ctx.saved_tensors
        dz = p * (dp - (p * dp).sum(-1, keepdim=True))
        dtemperature = -(dz * logits).sum() / temperature**2
        return dz / temperature, dtemperature


class MaskedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mask):
        y = torch.softmax(x.masked_fill(~mask, float("-inf")), dim=-1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        dot = (y * dy).sum(dim=-1, keepdim=True)
        return y * (dy - dot), None


WILD = [
    Function(
        "sparsemax",
        Sparsemax,
        sparsemax,
        lambda n=4: (normal(0, n, 7), -1),
        Fault(
            "v_hat = grad_input.sum(dim=ctx.dim, keepdim=True) / size.to(output.dtype)",
            "v_hat = grad_input.mean(dim=ctx.dim, keepdim=True)",
            "z",
            "F8 F12",
        ),
    ),
    Function(
        "entmax 1.5",
        Entmax15,
        entmax15,
        lambda: (2 * normal(0, 3, 6),),
        Fault("dx = dx - q * gppr", "dx = dx - q", "x", "F16 F6 F14"),
    ),
    Function(
        "top-k values",
        TopK,
        lambda x, k: x.topk(k, dim=-1).values,
        lambda n=3: (normal(0, n, 9), 4),
        Fault(
            "grad.scatter_(-1, indices, grad_values)",
            "grad[..., : indices.shape[-1]] = grad_values",
            "x",
            "F10 F15 F11 F7",
        ),
    ),
    Function(
        "softmax with a learnt temperature",
        TemperatureSoftmax,
        lambda logits, temperature: F.softmax(logits / temperature, dim=-1),
        lambda: (normal(0, 4, 5), torch.tensor(0.7)),
        Fault(
            "dtemperature = -(dz * logits).sum() / temperature**2",
            "dtemperature = (dz * logits).sum() / temperature**2",
            "temperature",
            "F13",
        ),
    ),
    Function(
        "masked softmax",
        MaskedSoftmax,
        lambda x, mask: torch.where(mask, x, -torch.inf).softmax(-1),
        lambda n=5: (normal(0, n, 6), normal(1, n, 6) < 1),
        Fault("dot = (y * dy).sum(dim=-1, keepdim=True)", "dot = (y * dy).sum(dim=0, keepdim=True)", "x", "F9"),
    ),
]
