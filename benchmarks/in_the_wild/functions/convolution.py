"""Convolutions in one dimension."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Function, normal


class UnfoldConv1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, padding):
        columns = F.pad(x, (padding, padding)).unfold(2, weight.shape[2], 1)
        ctx.save_for_backward(columns, weight)
        ctx.padding, ctx.length = padding, x.shape[2]
        return torch.einsum("nclk,ock->nol", columns, weight)

    @staticmethod
    def backward(ctx, grad):
        columns, weight = ctx.saved_tensors
        n, c, length, k = columns.shape
        dweight = torch.einsum("nol,nclk->ock", grad, columns)
        dpadded = grad.new_zeros(n, c, length + k - 1)
        for j in range(k):
            dpadded[:, :, j : j + length] += weight[:, :, j].t() @ grad
        return dpadded[:, :, ctx.padding : ctx.padding + ctx.length], dweight, None


class CausalDepthwiseConv(torch.autograd.Function):
    """Every channel by itself, dilated, seeing nothing later."""

    @staticmethod
    def forward(ctx, x, weight, bias, dilation):
        ctx.save_for_backward(x, weight)
        ctx.dilation = dilation
        out = torch.zeros_like(x) + bias[:, None]
        for j in range(min(weight.shape[1], -(-x.shape[2] // dilation))):
            shift = j * dilation
            out[..., shift:] += weight[:, j, None] * x[..., : x.shape[2] - shift]
        return out

    @staticmethod
    def backward(ctx, g):
        x, weight = ctx.saved_tensors
        L, d = x.shape[2], ctx.dilation
        dx, dweight = torch.zeros_like(x), torch.zeros_like(weight)
        for j in range(min(weight.shape[1], -(-L // d))):
            s = j * d
            dx[..., : L - s] += weight[:, j, None] * g[..., s:]
            dweight[:, j] = (g[..., s:] * x[..., : L - s]).sum((0, 2))
        return dx, dweight, g.sum((0, 2)), None


def causal_depthwise_conv(x, weight, bias, dilation):
    channels, k = weight.shape
    padded = F.pad(x, (dilation * (k - 1), 0))
    return F.conv1d(padded, weight.flip(1)[:, None], bias, dilation=dilation, groups=channels)


WILD = [
    Function(
        "conv1d by unfolding",
        UnfoldConv1d,
        lambda x, weight, padding: F.conv1d(x, weight, padding=padding),
        lambda: (normal(0, 2, 3, 7), normal(1, 4, 3, 3), 1),
        Fault(
            "dpadded[:, :, j : j + length] += weight[:, :, j].t() @ grad",
            "dpadded[:, :, j : j + length] += weight[:, :, k - 1 - j].t() @ grad",
            "x",
            "F10 F14",
        ),
    ),
    Function(
        "dilated depthwise convolution",
        CausalDepthwiseConv,
        causal_depthwise_conv,
        lambda: (normal(0, 2, 3, 9), normal(1, 3, 3), normal(2, 3), 2),
        Fault("s = j * d", "s = j", "x weight", "F14"),
    ),
]
