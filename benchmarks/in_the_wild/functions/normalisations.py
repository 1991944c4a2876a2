"""Layer, RMS, group, batch, weight and spectral normalisation."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Function, normal


class LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, eps):
        mean = x.mean(-1, keepdim=True)
        rstd = torch.rsqrt(x.var(-1, unbiased=False, keepdim=True) + eps)
        xhat = (x - mean) * rstd
        ctx.save_for_backward(xhat, rstd, weight)
        return xhat * weight + bias

    @staticmethod
    def backward(ctx, dy):
        xhat, rstd, w = ctx.saved_tensors
        wdy = w * dy
        c1 = (xhat * wdy).mean(-1, keepdim=True)
        c2 = wdy.mean(-1, keepdim=True)
        dx = (wdy - (xhat * c1 + c2)) * rstd
        dw = (dy * xhat).flatten(0, -2).sum(0)
        db = dy.flatten(0, -2).sum(0)
        return dx, dw, db, None


def layernorm(x, weight, bias, eps):
    return F.layer_norm(x, weight.shape, weight, bias, eps)


class RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, eps=1e-6):
        rms = torch.sqrt(x.pow(2).mean(-1, keepdim=True) + eps)
        ctx.save_for_backward(x, weight, rms)
        return x / rms * weight

    @staticmethod
    def backward(ctx, grad):
        x, weight, rms = ctx.saved_tensors
        n = x.shape[-1]
        gw = grad * weight
        dx = gw / rms - x * (gw * x).sum(-1, keepdim=True) / (n * rms**3)
        dweight = (grad * x / rms).sum(dim=tuple(range(grad.dim() - 1)))
        return dx, dweight, None


def rmsnorm(x, weight, eps=1e-6):
    return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps)


class GroupNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, groups, gamma, beta):
        n, c, h, w = x.shape
        g = x.reshape(n, groups, -1)
        mean, var = g.mean(2, keepdim=True), g.var(2, unbiased=False, keepdim=True)
        rstd = (var + 1e-5).rsqrt()
        xhat = ((g - mean) * rstd).reshape(n, c, h, w)
        ctx.save_for_backward(xhat, rstd, gamma)
        ctx.groups = groups
        return xhat * gamma[:, None, None] + beta[:, None, None]

    @staticmethod
    def backward(ctx, dy):
        xhat, rstd, gamma = ctx.saved_tensors
        n = dy.shape[0]
        dgamma = (dy * xhat).sum((0, 2, 3))
        dbeta = dy.sum((0, 2, 3))
        dxhat = (dy * gamma[:, None, None]).reshape(n, ctx.groups, -1)
        xh = xhat.reshape(n, ctx.groups, -1)
        m = xh.shape[2]
        dx = (dxhat - dxhat.mean(2, keepdim=True) - xh * (dxhat * xh).sum(2, keepdim=True) / m) * rstd
        return dx.reshape(dy.shape), None, dgamma, dbeta


class BatchNorm(torch.autograd.Function):
    """Training mode, the statistics of the batch."""

    @staticmethod
    def forward(ctx, x, gamma, beta):
        mu, var = x.mean(0), x.var(0, unbiased=False)
        std = torch.sqrt(var + 1e-5)
        xhat = (x - mu) / std
        ctx.save_for_backward(xhat, gamma, std)
        return gamma * xhat + beta

    @staticmethod
    def backward(ctx, dout):
        xhat, gamma, std = ctx.saved_tensors
        N = dout.shape[0]
        dbeta = dout.sum(0)
        dgamma = (dout * xhat).sum(0)
        dx = gamma / (N * std) * (N * dout - dbeta - xhat * dgamma)
        return dx, dgamma, dbeta


class WeightNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, v, g):
        norm = v.norm(dim=1, keepdim=True)
        ctx.save_for_backward(v, g, norm)
        return g * v / norm

    @staticmethod
    def backward(ctx, dw):
        v, g, norm = ctx.saved_tensors
        dg = (dw * v).sum(1, keepdim=True) / norm
        dv = g / norm * dw - g * dg / norm**2 * v
        return dv, dg


class SpectralNorm(torch.autograd.Function):
    """Given the singular vectors of the power iteration, which take no part."""

    @staticmethod
    def forward(ctx, weight, u, v):
        sigma = u @ weight @ v
        ctx.save_for_backward(weight, u, v, sigma)
        return weight / sigma

    @staticmethod
    def backward(ctx, grad):
        weight, u, v, sigma = ctx.saved_tensors
        inner = (grad * weight).sum()
        return grad / sigma - inner / sigma**2 * torch.outer(u, v), None, None


class L2Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        length = x.norm(dim=-1, keepdim=True).clamp(min=1e-12)
        y = x / length
        ctx.save_for_backward(y, length)
        return y

    @staticmethod
    def backward(ctx, dy):
        y, length = ctx.saved_tensors
        return (dy - y * (y * dy).sum(-1, keepdim=True)) / length


WILD = [
    Function(
        "layer norm",
        LayerNorm,
        layernorm,
        lambda n=3: (normal(0, 2, n, 6), 1 + 0.1 * normal(1, 6), normal(2, 6), 1e-5),
        Fault("dx = (wdy - (xhat * c1 + c2)) * rstd", "dx = (wdy - xhat * c1) * rstd", "x", "F6"),
    ),
    Function(
        "rms norm",
        RMSNorm,
        rmsnorm,
        lambda n=3: (normal(0, n, 2, 8), 1 + 0.1 * normal(1, 8)),
        Fault(
            "dx = gw / rms - x * (gw * x).sum(-1, keepdim=True) / (n * rms**3)",
            "dx = gw / rms - x * (gw * x).sum(-1, keepdim=True) / rms**3",
            "x",
            "F8",
        ),
    ),
    Function(
        "group norm",
        GroupNorm,
        lambda x, groups, gamma, beta: F.group_norm(x, groups, gamma, beta),
        lambda: (normal(0, 3, 6, 3, 5), 3, 1 + 0.1 * normal(1, 6), normal(2, 6)),
        Fault("dgamma = (dy * xhat).sum((0, 2, 3))", "dgamma = (dy * xhat).sum((0, 2, 3)) / n", "gamma", "F8"),
    ),
    Function(
        "batch norm",
        BatchNorm,
        lambda x, gamma, beta: F.batch_norm(x, None, None, gamma, beta, training=True),
        lambda: (normal(0, 8, 4), 1 + 0.1 * normal(1, 4), normal(2, 4)),
        Fault(
            "dx = gamma / (N * std) * (N * dout - dbeta - xhat * dgamma)",
            "dx = 1 / (N * std) * (N * dout - dbeta - xhat * dgamma)",
            "x",
            "F16",
        ),
    ),
    Function(
        "weight norm",
        WeightNorm,
        lambda v, g: g * F.normalize(v, dim=1),
        lambda: (normal(0, 4, 6), 1 + normal(1, 4, 1).abs()),
        Fault("dv = g / norm * dw - g * dg / norm**2 * v", "dv = g / norm * dw - g * dg / norm * v", "v", "F16 F14"),
    ),
    Function(
        "spectral norm",
        SpectralNorm,
        lambda weight, u, v: weight / torch.einsum("i,ij,j->", u, weight, v),
        lambda: (normal(0, 4, 4), F.normalize(normal(1, 4), dim=0), F.normalize(normal(2, 4), dim=0)),
        Fault(
            "return grad / sigma - inner / sigma**2 * torch.outer(u, v), None, None",
            "return grad / sigma - inner / sigma**2 * torch.outer(v, u), None, None",
            "weight",
            "F10",
        ),
        {"grad_inputs": ["weight"]},
    ),
    Function(
        "l2 normalise",
        L2Normalize,
        lambda x: F.normalize(x, dim=-1),
        lambda n=4: (normal(0, n, 5),),
        Fault(
            "return (dy - y * (y * dy).sum(-1, keepdim=True)) / length",
            "return dy / length",
            "x",
            "F6 F14",
        ),
    ),
]
