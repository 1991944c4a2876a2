"""What kernels add up inside: the terms of their derivatives, which the graph itself does not show.

Each function gives the terms of what a node sends to its first input, for what arrives at it, `g`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.graph.node import Node, saved, saved_dims


def tanh(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · (1 - h²)"""
    h = saved(node, "result")
    return g, -g * h * h


def sigmoid(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · y · (1 - y)"""
    y = saved(node, "result")
    return g * y, -g * y * y


def silu(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · (σ + x σ (1 - σ))"""
    x = saved(node, "self")
    s = torch.sigmoid(x)
    return g * s, g * x * s * (1 - s)


def glu(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """y = a · σ(b): da = g · σ, db = g · a · (σ - σ²)"""
    x, dim = saved(node, "self"), saved_dims(node, g.dim())[0]
    a, b = x.chunk(2, dim)
    s, zero = torch.sigmoid(b), torch.zeros_like(g)
    return torch.cat([g * s, g * a * s], dim), torch.cat([zero, -g * a * s * s], dim)


def gelu(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · (Φ + x φ), or its approximation by tanh."""
    x = saved(node, "self")
    if saved(node, "approximate") == "none":
        cdf, pdf = (1 + torch.erf(x / 2**0.5)) / 2, torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5
        return g * cdf, g * x * pdf
    slope, cubic = (2 / torch.pi) ** 0.5, 0.044715
    t = torch.tanh(slope * (x + cubic * x**3))
    return g * (1 + t) / 2, g * x * (1 - t * t) * slope * (1 + 3 * cubic * x * x) / 2


def mish(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """y = x · t, t = tanh(softplus(x)): dx = g · (t + x (1 - t²) σ)"""
    x = saved(node, "self")
    t = torch.tanh(torch.nn.functional.softplus(x))
    return g * t, g * x * (1 - t * t) * torch.sigmoid(x)


def softmax(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = p · (g - Σ p g)"""
    p = saved(node, "result")
    return p * g, -p * (p * g).sum(saved_dims(node, p.dim()), keepdim=True)


def log_softmax(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g - p Σ g"""
    y = saved(node, "result")
    return g, -y.exp() * g.sum(saved_dims(node, y.dim()), keepdim=True)


def logsumexp(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · exp(x - y), with an error of eps in y, which is y · eps in the exponential."""
    x, y = saved(node, "self"), saved(node, "result")
    if not saved(node, "keepdim"):
        for dim in sorted(saved_dims(node, x.dim())):
            g, y = g.unsqueeze(dim), y.unsqueeze(dim)
    p = (x - y).exp()
    return g * p, g * p * y


def matrix_exp(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """The sum of the series' terms without their signs: with g in the corner, exp gives the derivative there."""
    a, n = saved(node, "self").mT.abs(), g.shape[-1]
    rows = torch.cat([a, g.abs()], -1), torch.cat([torch.zeros_like(a), a], -1)
    return (torch.linalg.matrix_exp(torch.cat(rows, -2))[..., :n, n:],)


def variance(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · 2 / (n - c) · (x - mean), in two terms of the size of x."""
    x = saved(node, "self")
    return _centred(node, x, 2 * g)


def deviation(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g / std / (n - c) · (x - mean), likewise."""
    x, std = saved(node, "self"), saved(node, "result")
    return _centred(node, x, g / std)


def _centred(node: Node, x: Tensor, slope: Tensor) -> tuple[Tensor, ...]:
    mean = x.mean(saved_dims(node, x.dim()), keepdim=True)
    correction = saved(node, "correction")
    degrees = x.numel() / max(1, mean.numel()) - (1 if correction is None else correction)
    slope = slope.reshape(mean.shape) / max(degrees, 1e-9)
    return slope * x, -(slope * mean).expand_as(x)
