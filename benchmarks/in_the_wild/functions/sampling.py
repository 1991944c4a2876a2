"""What picks and spreads: bilinear sampling, upsampling, pooling, means of groups, bags."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Function, integers, normal, uniform


class BilinearSample(torch.autograd.Function):
    """An image (C, H, W) at points (N, 2) of x and y in pixels, as deformable attention takes it."""

    @staticmethod
    def forward(ctx, image, points):
        x0, y0 = points.floor().long().unbind(1)
        wx, wy = (points - points.floor()).unbind(1)
        v00, v01 = image[:, y0, x0], image[:, y0, x0 + 1]
        v10, v11 = image[:, y0 + 1, x0], image[:, y0 + 1, x0 + 1]
        ctx.save_for_backward(x0, y0, wx, wy, v00, v01, v10, v11)
        ctx.shape = image.shape
        return (1 - wy) * ((1 - wx) * v00 + wx * v01) + wy * ((1 - wx) * v10 + wx * v11)

    @staticmethod
    def backward(ctx, grad):
        x0, y0, wx, wy, v00, v01, v10, v11 = ctx.saved_tensors
        C, H, W = ctx.shape
        dimage = grad.new_zeros(C, H * W)
        dimage.index_add_(1, y0 * W + x0, grad * (1 - wy) * (1 - wx))
        dimage.index_add_(1, y0 * W + x0 + 1, grad * (1 - wy) * wx)
        dimage.index_add_(1, (y0 + 1) * W + x0, grad * wy * (1 - wx))
        dimage.index_add_(1, (y0 + 1) * W + x0 + 1, grad * wy * wx)
        dx = (grad * ((1 - wy) * (v01 - v00) + wy * (v11 - v10))).sum(0)
        dy = (grad * ((1 - wx) * (v10 - v00) + wx * (v11 - v01))).sum(0)
        return dimage.view(ctx.shape), torch.stack((dx, dy), dim=1)


def bilinear_sample(image, points):
    """With a tent over every pixel."""
    _, H, W = image.shape
    across = (1 - (points[:, :1] - torch.arange(W, dtype=points.dtype)).abs()).clamp(min=0)
    down = (1 - (points[:, 1:] - torch.arange(H, dtype=points.dtype)).abs()).clamp(min=0)
    return torch.einsum("chw,nh,nw->cn", image, down, across)


class NearestUpsample(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, scale):
        ctx.scale = scale
        return x.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)

    @staticmethod
    def backward(ctx, grad):
        s = ctx.scale
        n, c, h, w = grad.shape
        dx = grad.reshape(n, c, h // s, s, w // s, s).sum(dim=(3, 5))
        return dx, None


class MaxPoolIndices(torch.autograd.Function):
    """One-dimensional, with windows that overlap."""

    @staticmethod
    def forward(ctx, x, kernel, stride):
        windows = x.unfold(-1, kernel, stride)
        values, inside = windows.max(-1)
        index = inside + stride * torch.arange(windows.shape[-2], device=x.device)
        ctx.save_for_backward(index)
        ctx.shape = x.shape
        return values

    @staticmethod
    def backward(ctx, grad_out):
        (index,) = ctx.saved_tensors
        grad_in = grad_out.new_zeros(ctx.shape)
        grad_in.scatter_add_(-1, index, grad_out)
        return grad_in, None, None


class ScatterMean(torch.autograd.Function):
    """The mean of the messages to each node of a graph."""

    @staticmethod
    def forward(ctx, src, index, nodes):
        count = torch.bincount(index, minlength=nodes).clamp(min=1).to(src.dtype)
        out = src.new_zeros(nodes, src.shape[1]).index_add_(0, index, src)
        ctx.save_for_backward(index, count)
        return out / count[:, None]

    @staticmethod
    def backward(ctx, dout):
        index, count = ctx.saved_tensors
        dsrc = dout[index] / count[index, None]
        return dsrc, None, None


def scatter_mean(src, index, nodes):
    member = F.one_hot(index, nodes).to(src.dtype).t()
    return member @ src / member.sum(1, keepdim=True).clamp(min=1)


class WeightedBag(torch.autograd.Function):
    """Rows of a table, weighted and summed by bag."""

    @staticmethod
    def forward(ctx, table, ids, bag, bags, weights):
        rows = table[ids]
        ctx.save_for_backward(rows, ids, bag, weights)
        ctx.entries = len(table)
        return table.new_zeros(bags, table.shape[1]).index_add_(0, bag, weights[:, None] * rows)

    @staticmethod
    def backward(ctx, grad):
        rows, ids, bag, weights = ctx.saved_tensors
        spread = grad[bag]
        dtable = grad.new_zeros(ctx.entries, grad.shape[1])
        dtable.index_add_(0, ids, weights[:, None] * spread)
        dweights = (spread * rows).sum(1)
        return dtable, None, None, None, dweights


def weighted_bag(table, ids, bag, bags, weights):
    hot = F.one_hot(bag, bags).to(table.dtype).t()
    return (hot * weights) @ F.embedding(ids, table)


WILD = [
    Function(
        "bilinear sampling",
        BilinearSample,
        bilinear_sample,
        lambda: (normal(0, 2, 4, 5), 0.2 + 2.6 * uniform(1, 6, 2)),
        Fault(
            "dx = (grad * ((1 - wy) * (v01 - v00) + wy * (v11 - v10))).sum(0)",
            "dx = (grad * (wy * (v01 - v00) + (1 - wy) * (v11 - v10))).sum(0)",
            "points",
            "F14 F15",
        ),
    ),
    Function(
        "nearest upsampling",
        NearestUpsample,
        lambda x, scale: F.interpolate(x, scale_factor=scale, mode="nearest"),
        lambda: (normal(0, 2, 3, 4, 3), 2),
        Fault(
            "dx = grad.reshape(n, c, h // s, s, w // s, s).sum(dim=(3, 5))",
            "dx = grad[:, :, ::s, ::s]",
            "x",
            "F6 F7 F9",
        ),
    ),
    Function(
        "max pooling with indices",
        MaxPoolIndices,
        lambda x, kernel, stride: F.max_pool1d(x, kernel, stride),
        lambda n=3: (normal(0, 2, n, 11), 4, 2),
        Fault("grad_in.scatter_add_(-1, index, grad_out)", "grad_in.scatter_(-1, index, grad_out)", "x", "F11"),
    ),
    Function(
        "scatter mean",
        ScatterMean,
        scatter_mean,
        lambda n=9: (normal(0, n, 3), integers(1, 5, n), 6),
        Fault("dsrc = dout[index] / count[index, None]", "dsrc = dout[index] / len(index)", "src", "F8"),
    ),
    Function(
        "weighted bag of embeddings",
        WeightedBag,
        weighted_bag,
        lambda: (normal(0, 6, 3), integers(1, 6, 8), torch.tensor([0, 0, 0, 1, 1, 2, 2, 2]), 3, uniform(2, 8)),
        Fault(
            "return dtable, None, None, None, dweights",
            "return dtable, None, None, None, None",
            "weights",
            "F4",
        ),
    ),
]
