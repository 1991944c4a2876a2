"""What fused kernels add up inside: the terms of their derivatives, which the graph itself does not show."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from backproof.proof.graph.node import Node, dim_of, kind

Terms = Callable[[Node, Tensor], tuple[Tensor, ...]]


def written_terms(node: Node, arriving: Tensor) -> tuple[Tensor, ...]:
    """The terms, as people write them, of what the node sends to its first input; empty if not known."""
    return _had(_WRITTEN.get(kind(node)), node, arriving) or ()


def rounded_terms(node: Node, arriving: Tensor) -> Mapping[int, tuple[Tensor, ...]]:
    """By input, terms as large as what the node adds up and subtracts inside; empty if not known."""
    return _had(_ROUNDED.get(kind(node)), node, arriving) or {}


def cancels(node: Node) -> bool:
    """Whether the node may subtract terms that are much larger than their difference."""
    return kind(node) in _ROUNDED


def _had(terms: Callable | None, node: Node, arriving: Tensor) -> Any:
    try:
        return None if terms is None else terms(node, arriving)
    except (RuntimeError, AttributeError):  # saved values changed in place or freed
        return None


def _tanh(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · (1 - h²)"""
    h = node._saved_result.detach()
    return g, -g * h * h


def _sigmoid(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · y · (1 - y)"""
    y = node._saved_result.detach()
    return g * y, -g * y * y


def _silu(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · (σ + x σ (1 - σ))"""
    x = node._saved_self.detach()
    s = torch.sigmoid(x)
    return g * s, g * x * s * (1 - s)


def _gelu(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · (Φ + x φ), or its approximation by tanh."""
    x = node._saved_self.detach()
    if node._saved_approximate == "none":
        cdf, pdf = (1 + torch.erf(x / 2**0.5)) / 2, torch.exp(-x * x / 2) / (2 * torch.pi) ** 0.5
        return g * cdf, g * x * pdf
    slope, cubic = (2 / torch.pi) ** 0.5, 0.044715
    t = torch.tanh(slope * (x + cubic * x**3))
    return g * (1 + t) / 2, g * x * (1 - t * t) * slope * (1 + 3 * cubic * x * x) / 2


def _softmax(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = p · (g - Σ p g)"""
    p = node._saved_result.detach()
    return p * g, -p * (p * g).sum(dim_of(node), keepdim=True)


def _log_softmax(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g - p Σ g"""
    return g, -node._saved_result.detach().exp() * g.sum(dim_of(node), keepdim=True)


def _variance(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = g · 2 / (n - c) · (x - mean), in two terms of the size of x."""
    x = node._saved_self.detach()
    dims = tuple(d - 2**64 if d >= 2**63 else d for d in node._saved_dim) if node._saved_dim else tuple(range(x.dim()))
    mean = x.mean(dims, keepdim=True)
    g = g.reshape(mean.shape)
    scale = 2 * g * mean.numel() / max(1, x.numel())
    return scale * x, -(scale * mean).expand_as(x)


def _layer_norm(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """dx = rstd · (u - mean(u) - xhat · mean(u xhat)), u = g · weight"""
    return _normalised(*_layer_norm_parts(node, g)[1:])


def _batch_norm(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """The same over the batch, for each channel."""
    return _normalised(*_batch_norm_parts(node, g)[1:])


def _layer_norm_rounding(node: Node, g: Tensor) -> Mapping[int, tuple[Tensor, ...]]:
    x, u, xhat, rstd, dims = _layer_norm_parts(node, g)
    batch = tuple(range(x.dim() - len(dims)))
    return _normalised_rounding(x, g, u, xhat, rstd, dims, lambda t: t.sum(batch) if batch else t)


def _batch_norm_rounding(node: Node, g: Tensor) -> Mapping[int, tuple[Tensor, ...]]:
    x, u, xhat, rstd, dims = _batch_norm_parts(node, g)
    return _normalised_rounding(x, g, u, xhat, rstd, dims, lambda t: t.sum(dims))


def _layer_norm_parts(node: Node, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[int, ...]]:
    x, mean, rstd = node._saved_input.detach(), node._saved_result1.detach(), node._saved_result2.detach()
    u = g if node._saved_weight is None else g * node._saved_weight.detach()
    dims = tuple(range(x.dim() - len(node._saved_normalized_shape), x.dim()))
    return x, u, (x - mean) * rstd, rstd, dims


def _batch_norm_parts(node: Node, g: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, tuple[int, ...]]:
    if not node._saved_training:
        raise AttributeError("running statistics are constants")
    x = node._saved_input.detach()
    dims = tuple(d for d in range(x.dim()) if d != 1)
    rstd = (x.var(dims, correction=0, keepdim=True) + node._saved_eps).rsqrt()
    weight = node._saved_weight
    u = g if weight is None else g * weight.detach().view(1, -1, *[1] * (x.dim() - 2))
    return x, u, (x - x.mean(dims, keepdim=True)) * rstd, rstd, dims


def _normalised(u: Tensor, xhat: Tensor, rstd: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, ...]:
    return (
        rstd * u,
        -rstd * u.mean(dims, keepdim=True).expand_as(u),
        -rstd * xhat * (u * xhat).mean(dims, keepdim=True),
    )


def _normalised_rounding(
    x: Tensor, g: Tensor, u: Tensor, xhat: Tensor, rstd: Tensor, dims: tuple[int, ...], summed: Callable
) -> Mapping[int, tuple[Tensor, ...]]:
    """x - mean is known to the rounding of x only: xhat by `loose`, and rstd with it."""
    terms = _normalised(u, xhat, rstd, dims)
    loose = x.abs() * rstd
    extra = (
        rstd * loose * (u * xhat).mean(dims, keepdim=True),
        rstd * xhat * (u.abs() * loose).mean(dims, keepdim=True),
        sum((term.abs() for term in terms), torch.zeros_like(u)) * (xhat.abs() * loose).mean(dims, keepdim=True),
    )
    return {0: (*terms, *extra), 1: (summed(g * xhat), summed(g.abs() * loose))}


def _first(terms: Terms) -> Callable[[Node, Tensor], Mapping[int, tuple[Tensor, ...]]]:
    return lambda node, g: {0: terms(node, g)}


# terms that people write one by one, and so may forget one of
_WRITTEN: Mapping[str, Terms] = {
    "Softmax": _softmax,
    "LogSoftmax": _log_softmax,
    "NativeLayerNorm": _layer_norm,
    "NativeBatchNorm": _batch_norm,
    "Silu": _silu,
    "Gelu": _gelu,
}


_ROUNDED: Mapping[str, Callable[[Node, Tensor], Mapping[int, tuple[Tensor, ...]]]] = {
    "Softmax": _first(_softmax),
    "LogSoftmax": _first(_log_softmax),
    "Silu": _first(_silu),
    "Gelu": _first(_gelu),
    "Tanh": _first(_tanh),
    "Sigmoid": _first(_sigmoid),
    "Var": _first(_variance),
    "Std": _first(_variance),
    "NativeLayerNorm": _layer_norm_rounding,
    "NativeBatchNorm": _batch_norm_rounding,
}
