"""What the kernels of normalisations add up inside.

dx = rstd · (u - mean(u) - xhat · mean(u xhat)), u = g · weight: over the features of a row, over the batch for a
channel, or over a group of channels. Where x lies far from zero, x - mean is known to the rounding of x only.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from backproof.proof.graph.node import Node, NotSavedError, saved


class _Parts(NamedTuple):
    """Of one normalisation, in a shape in which `dims` are what it runs over."""

    x: Tensor
    g: Tensor
    u: Tensor
    xhat: Tensor
    rstd: Tensor
    dims: tuple[int, ...]


def layer_norm(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """The terms of dx."""
    return _terms(_layer_norm(node, g))


def batch_norm(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """The terms of dx."""
    return _terms(_batch_norm(node, g))


def group_norm(node: Node, g: Tensor) -> tuple[Tensor, ...]:
    """The terms of dx."""
    return tuple(term.reshape(g.shape) for term in _terms(_group_norm(node, g)))


def layer_norm_rounding(node: Node, g: Tensor) -> Mapping[int, tuple[Tensor, ...]]:
    """Of dx and of dweight."""
    parts = _layer_norm(node, g)
    batch = tuple(range(parts.x.dim() - len(parts.dims)))
    return {0: _rounding(parts), 1: tuple(t.sum(batch) if batch else t for t in _weight_rounding(parts))}


def batch_norm_rounding(node: Node, g: Tensor) -> Mapping[int, tuple[Tensor, ...]]:
    """Of dx and of dweight."""
    parts = _batch_norm(node, g)
    return {0: _rounding(parts), 1: tuple(t.sum(parts.dims) for t in _weight_rounding(parts))}


def group_norm_rounding(node: Node, g: Tensor) -> Mapping[int, tuple[Tensor, ...]]:
    """Of dx and of dweight."""
    parts = _group_norm(node, g)
    channels = *g.shape[:2], g.shape[2:].numel()
    weight = tuple(term.reshape(channels).sum((0, 2)) for term in _weight_rounding(parts))
    return {0: tuple(term.reshape(g.shape) for term in _rounding(parts)), 1: weight}


def _layer_norm(node: Node, g: Tensor) -> _Parts:
    x, mean, rstd, weight = (saved(node, name) for name in ("input", "result1", "result2", "weight"))
    dims = tuple(range(x.dim() - len(saved(node, "normalized_shape")), x.dim()))
    return _Parts(x, g, g if weight is None else g * weight, (x - mean) * rstd, rstd, dims)


def _batch_norm(node: Node, g: Tensor) -> _Parts:
    if not saved(node, "training"):
        raise NotSavedError("running statistics are constants")
    x, weight = saved(node, "input"), saved(node, "weight")
    dims = tuple(d for d in range(x.dim()) if d != 1)
    rstd = (x.var(dims, correction=0, keepdim=True) + saved(node, "eps")).rsqrt()
    u = g if weight is None else g * weight.view(1, -1, *[1] * (x.dim() - 2))
    return _Parts(x, g, u, (x - x.mean(dims, keepdim=True)) * rstd, rstd, dims)


def _group_norm(node: Node, g: Tensor) -> _Parts:
    x, mean, rstd, weight = (saved(node, name) for name in ("input", "result1", "result2", "weight"))
    groups = *mean.shape, x.shape[1] // mean.shape[1], x.shape[2:].numel()  # (n, groups, channels, the rest)
    x, g, mean, rstd = x.reshape(groups), g.reshape(groups), mean[..., None, None], rstd[..., None, None]
    u = g if weight is None else g * weight.reshape(mean.shape[1], -1, 1)
    return _Parts(x, g, u, (x - mean) * rstd, rstd, (2, 3))


def _terms(parts: _Parts) -> tuple[Tensor, ...]:
    u, xhat, rstd, dims = parts.u, parts.xhat, parts.rstd, parts.dims
    return (
        rstd * u,
        -rstd * u.mean(dims, keepdim=True).expand_as(u),
        -rstd * xhat * (u * xhat).mean(dims, keepdim=True),
    )


def _rounding(parts: _Parts) -> tuple[Tensor, ...]:
    """x - mean is known to the rounding of x only: xhat by `loose`, and rstd with it."""
    u, xhat, rstd, dims = parts.u, parts.xhat, parts.rstd, parts.dims
    terms, loose = _terms(parts), _loose(parts)
    sizes = terms[0].abs() + terms[1].abs() + terms[2].abs()
    return (
        *terms,
        rstd * loose * (u * xhat).mean(dims, keepdim=True),
        rstd * xhat * (u.abs() * loose).mean(dims, keepdim=True),
        sizes * (xhat.abs() * loose).mean(dims, keepdim=True),
    )


def _weight_rounding(parts: _Parts) -> tuple[Tensor, ...]:
    """The summands of dweight, and how well they are known."""
    return parts.g * parts.xhat, parts.g.abs() * _loose(parts)


def _loose(parts: _Parts) -> Tensor:
    return parts.x.abs() * parts.rstd
