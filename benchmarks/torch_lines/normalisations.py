"""Normalisations: what is subtracted may be thousands of times larger than what is left."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from torch_lines.draw import Draw, Family, Line


def _normalised(x: Tensor, dims: tuple[int, ...], eps: float = 1e-5) -> Tensor:
    centred = x - x.mean(dims, keepdim=True)
    return centred / ((centred * centred).mean(dims, keepdim=True) + eps).sqrt()


def _by_channel(x: Tensor, w: Tensor) -> Tensor:
    return w.view(1, -1, *[1] * (x.dim() - 2))


def _images(d: Draw, channels: int | None = None) -> Tensor:
    """(n, channels) or (n, channels, l) or (n, channels, h, w)"""
    inner = d.pick((), (d.size(2),), (d.size(2, 7), d.size(1, 7)))
    return d.data(d.size(2, 13), channels or d.size(1, 13), *inner)


def _batch_norm(d: Draw) -> Line:
    x = _images(d)
    c = x.shape[1]
    return Line(
        dict(x=x, w=d.normal(c), b=d.normal(c)),
        lambda x, w, b: functional.batch_norm(x, None, None, w, b, training=True),
        lambda x, w, b: (
            _normalised(x, tuple(i for i in range(x.dim()) if i != 1)) * _by_channel(x, w) + _by_channel(x, b)
        ),
    )


def _batch_norm_at_rest(d: Draw) -> Line:
    x = _images(d)
    c = x.shape[1]
    mean, var = d.data(c), d.positive(c)

    def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        m, v = _by_channel(x, mean.to(x.dtype)), _by_channel(x, var.to(x.dtype))
        return (x - m) / (v + 1e-5).sqrt() * _by_channel(x, w) + _by_channel(x, b)

    return Line(
        dict(x=x, w=d.normal(c), b=d.normal(c)),
        lambda x, w, b: functional.batch_norm(x, mean.to(x.dtype), var.to(x.dtype), w, b),
        plain,
    )


def _layer_norm(d: Draw) -> Line:
    shape = d.pick((d.size(2),), (d.size(2), d.size()))
    dims = tuple(range(-len(shape), 0))
    return Line(
        dict(x=d.data(d.size(), *shape), w=d.normal(*shape), b=d.normal(*shape)),
        lambda x, w, b: functional.layer_norm(x, shape, w, b),
        lambda x, w, b: _normalised(x, dims) * w + b,
    )


def _bare_layer_norm(d: Draw) -> Line:
    f = d.size(2)
    return Line(dict(x=d.data(d.size(), f)), lambda x: functional.layer_norm(x, (f,)), lambda x: _normalised(x, (1,)))


def _in_groups(x: Tensor, groups: int) -> Tensor:
    parts = x.reshape(x.shape[0], groups, -1)
    return _normalised(parts, (2,)).reshape(x.shape)


def _group_norm(d: Draw) -> Line:
    groups = d.pick(1, 2, 3)
    x = _images(d, groups * d.size(2, 7))
    c = x.shape[1]
    return Line(
        dict(x=x, w=d.normal(c), b=d.normal(c)),
        lambda x, w, b: functional.group_norm(x, groups, w, b),
        lambda x, w, b: _in_groups(x, groups) * _by_channel(x, w) + _by_channel(x, b),
    )


def _bare_group_norm(d: Draw) -> Line:
    groups = d.pick(1, 2, 3)
    return Line(
        dict(x=_images(d, groups * d.size(2, 7))),
        lambda x: functional.group_norm(x, groups),
        lambda x: _in_groups(x, groups),
    )


def _instance_norm(d: Draw) -> Line:
    c = d.size(1, 7)
    return Line(
        dict(x=d.data(d.size(1, 7), c, d.size(2), d.size(2, 7)), w=d.normal(c), b=d.normal(c)),
        lambda x, w, b: functional.instance_norm(x, weight=w, bias=b),
        lambda x, w, b: _normalised(x, (2, 3)) * _by_channel(x, w) + _by_channel(x, b),
    )


def _rms_norm(d: Draw) -> Line:
    f = d.size(2)
    return Line(
        dict(x=d.data(d.size(), f), w=d.normal(f)),
        lambda x, w: functional.rms_norm(x, (f,), w, eps=1e-6),
        lambda x, w: x / ((x * x).mean(-1, keepdim=True) + 1e-6).sqrt() * w,
    )


def _weight_norm(d: Draw) -> Line:
    rows = d.size()
    return Line(
        dict(v=d.data(rows, d.size(2)), g=d.normal(rows, 1)),
        lambda v, g: torch.ops.aten._weight_norm(v, g, 0),
        lambda v, g: g * v / (v * v).sum(1, keepdim=True).sqrt(),
    )


def _local_response_norm(d: Draw) -> Line:
    size = d.pick(2, 3, 5)

    def plain(x: Tensor) -> Tensor:
        squares = functional.pad((x * x).unsqueeze(1), (0, 0, 0, 0, size // 2, (size - 1) // 2)).squeeze(1)
        total = sum(squares[:, i : i + x.shape[1]] for i in range(size))
        return x / (total / size * 1e-2 + 1.0) ** 0.75

    return Line(
        dict(x=d.data(d.size(1, 5), d.size(2, 13), d.size(1, 7), d.size(1, 7))),
        lambda x: functional.local_response_norm(x, size, alpha=1e-2),
        plain,
    )


def _moments(correction: int, root: float) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        n = d.size(2)

        def plain(x: Tensor) -> Tensor:
            centred = x - x.mean(1, keepdim=True)
            return ((centred * centred).sum(1) / (n - correction)) ** root

        if root == 1:
            return Line(dict(x=d.data(d.size(), n)), lambda x: x.var(1, correction=correction), plain)
        return Line(dict(x=d.data(d.size(), n)), lambda x: x.std(1, correction=correction), plain)

    return line


def _standardised(d: Draw) -> Line:
    return Line(
        dict(x=d.data(d.size(), d.size(3))),
        lambda x: (x - torch.var_mean(x, 1, keepdim=True)[1]) * torch.var_mean(x, 1, keepdim=True)[0].rsqrt(),
        lambda x: (x - x.mean(1, keepdim=True)) / x.var(1, keepdim=True).sqrt(),
    )


def _unit_length(d: Draw) -> Line:
    p = d.pick(1.0, 2.0, 3.0)
    return Line(
        dict(x=d.data(d.size(), d.size(2))),
        lambda x: functional.normalize(x, p, 1),
        lambda x: x / (x.abs() ** p).sum(1, keepdim=True) ** (1 / p),
    )


NORMALISATIONS: Family = {
    "batch norm": _batch_norm,
    "batch norm, running statistics": _batch_norm_at_rest,
    "layer norm": _layer_norm,
    "layer norm without weights": _bare_layer_norm,
    "group norm": _group_norm,
    "group norm without weights": _bare_group_norm,
    "instance norm": _instance_norm,
    "RMS norm": _rms_norm,
    "weight norm": _weight_norm,
    "local response norm": _local_response_norm,
    "var": _moments(1, 1),
    "var, uncorrected": _moments(0, 1),
    "std": _moments(1, 0.5),
    "var_mean": _standardised,
    "normalize": _unit_length,
}
