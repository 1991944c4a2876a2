"""Convolutions and poolings, and the same as sums over the kernel's offsets of shifted slices."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import product

import torch
from torch import Tensor
from torch.nn import functional

from torch_lines.draw import Draw, Family, Line

CONVOLUTIONS_OF = {1: functional.conv1d, 2: functional.conv2d, 3: functional.conv3d}
TRANSPOSED_OF = {1: functional.conv_transpose1d, 2: functional.conv_transpose2d}


def _padded(x: Tensor, dims: int, padding: int, value: float = 0.0) -> Tensor:
    return functional.pad(x, [padding] * (2 * dims), value=value)


def _windows(
    x: Tensor, kernel: tuple[int, ...], stride: int, dilation: int = 1
) -> Iterator[tuple[tuple[int, ...], Tensor]]:
    """For each offset in the kernel, the elements that it meets: (n, c, *positions)."""
    dims = len(kernel)
    sizes = [(s - (k - 1) * dilation - 1) // stride + 1 for s, k in zip(x.shape[-dims:], kernel, strict=True)]
    for offset in product(*map(range, kernel)):
        at = [slice(o * dilation, o * dilation + stride * n, stride) for o, n in zip(offset, sizes, strict=True)]
        yield offset, x[(..., *[slice(s.start, s.stop, s.step) for s in at])]


def _convolution(dims: int, *, grouped: bool = False) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        groups = d.pick(2, 3) if grouped else 1
        stride, padding, dilation = d.pick(1, 1, 2), d.pick(0, 1), d.pick(1, 1, 2)
        kernel = tuple(d.pick(1, 2, 3) for _ in range(dims))
        into, out = groups * d.pick(1, 2, 3, 8), groups * d.pick(1, 2, 5)
        sizes = [d.size(7, 13 if dims > 1 else 33) for _ in range(dims)] if dims < 3 else [5, 5, 7]

        def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            x = _padded(x, dims, padding)
            total: Tensor | float = 0.0
            for offset, seen in _windows(x, kernel, stride, dilation):
                parts = seen.unflatten(1, (groups, into // groups))
                weights = w[(..., *offset)].unflatten(0, (groups, out // groups))
                total = total + torch.einsum("ngi...,goi->ngo...", parts, weights).flatten(1, 2)
            return total + b.view(1, -1, *[1] * dims)

        return Line(
            dict(x=d.data(d.size(1, 5), into, *sizes), w=d.normal(out, into // groups, *kernel), b=d.normal(out)),
            lambda x, w, b: CONVOLUTIONS_OF[dims](x, w, b, stride, padding, dilation, groups),
            plain,
        )

    return line


def _transposed(dims: int, *, grouped: bool = False) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        groups = 2 if grouped else 1
        stride, padding = d.pick(1, 2, 3), d.pick(0, 1)
        kernel = tuple(d.pick(3, 4) for _ in range(dims))
        into, out = groups * d.pick(1, 2, 3), groups * d.pick(1, 2, 5)
        sizes = [d.size(3, 7) for _ in range(dims)]

        def plain(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
            shape = [(s - 1) * stride + k for s, k in zip(sizes, kernel, strict=True)]
            total = x.new_zeros(x.shape[0], out, *shape)
            parts = x.unflatten(1, (groups, into // groups))
            for offset in product(*map(range, kernel)):
                weights = w[(..., *offset)].unflatten(0, (groups, into // groups))
                sent = torch.einsum("ngi...,gio->ngo...", parts, weights).flatten(1, 2)
                at = [slice(o, o + stride * s, stride) for o, s in zip(offset, sizes, strict=True)]
                total[(..., *at)] = total[(..., *at)] + sent
            inner = [slice(padding, s - padding) for s in shape]
            return total[(..., *inner)] + b.view(1, -1, *[1] * dims)

        return Line(
            dict(x=d.data(d.size(1, 5), into, *sizes), w=d.normal(into, out // groups, *kernel), b=d.normal(out)),
            lambda x, w, b: TRANSPOSED_OF[dims](x, w, b, stride, padding, 0, groups),
            plain,
        )

    return line


def _stacked(x: Tensor, kernel: tuple[int, ...], stride: int) -> Tensor:
    return torch.stack([seen for _, seen in _windows(x, kernel, stride)], -1)


def _pooled_images(d: Draw, dims: int) -> Tensor:
    return d.data(d.size(1, 5), d.size(1, 5), *[d.size(5, 13) for _ in range(dims)])


def _max_pool(dims: int) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        kernel, stride, padding = (d.pick(2, 3),) * dims, d.pick(1, 2), d.pick(0, 1)
        call = functional.max_pool1d if dims == 1 else functional.max_pool2d

        def plain(x: Tensor) -> Tensor:
            windows = _stacked(_padded(x, dims, padding, -math.inf), kernel, stride)
            first = (windows == windows.amax(-1, keepdim=True)).to(torch.int8).argmax(-1, keepdim=True)
            return windows.gather(-1, first).squeeze(-1)

        return Line(dict(x=_pooled_images(d, dims)), lambda x: call(x, kernel[0], stride, padding), plain)

    return line


def _average_pool(dims: int) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        kernel, stride, padding = (d.pick(2, 3),) * dims, d.pick(1, 2), d.pick(0, 1)
        call = functional.avg_pool1d if dims == 1 else functional.avg_pool2d
        return Line(
            dict(x=_pooled_images(d, dims)),
            lambda x: call(x, kernel[0], stride, padding),
            lambda x: _stacked(_padded(x, dims, padding), kernel, stride).mean(-1),
        )

    return line


def _lp_pool(d: Draw) -> Line:
    kernel, stride, p = (d.pick(2, 3),) * 2, d.pick(1, 2), d.pick(2.0, 3.0)
    return Line(
        dict(x=d.positive(d.size(1, 5), 2, d.size(5, 13), d.size(5, 13))),
        lambda x: functional.lp_pool2d(x, p, kernel[0], stride),
        lambda x: (_stacked(x, kernel, stride) ** p).sum(-1) ** (1 / p),
    )


def _adaptive(x: Tensor, size: int, reduce: Callable[[Tensor], Tensor]) -> Tensor:
    n = x.shape[-1]
    bins = [x[..., i * n // size : -(-(i + 1) * n // size)] for i in range(size)]
    return torch.stack([reduce(one) for one in bins], -1)


def _adaptive_average(d: Draw) -> Line:
    size = d.pick(1, 2, 3)
    return Line(
        dict(x=_pooled_images(d, 1)),
        lambda x: functional.adaptive_avg_pool1d(x, size),
        lambda x: _adaptive(x, size, lambda part: part.mean(-1)),
    )


def _adaptive_average_2d(d: Draw) -> Line:
    size = d.pick(1, 2, 3)
    return Line(
        dict(x=_pooled_images(d, 2)),
        lambda x: functional.adaptive_avg_pool2d(x, size),
        lambda x: _adaptive(_adaptive(x, size, lambda p: p.mean(-1)).mT, size, lambda p: p.mean(-1)).mT,
    )


def _adaptive_max(d: Draw) -> Line:
    size = d.pick(1, 2, 3)

    def first(part: Tensor) -> Tensor:
        at = (part == part.amax(-1, keepdim=True)).to(torch.int8).argmax(-1, keepdim=True)
        return part.gather(-1, at).squeeze(-1)

    return Line(
        dict(x=_pooled_images(d, 1)),
        lambda x: functional.adaptive_max_pool1d(x, size),
        lambda x: _adaptive(x, size, first),
    )


CONVOLUTIONS: Family = {
    "conv1d": _convolution(1),
    "conv2d": _convolution(2),
    "conv3d": _convolution(3),
    "conv1d, grouped": _convolution(1, grouped=True),
    "conv2d, grouped": _convolution(2, grouped=True),
    "conv_transpose1d": _transposed(1),
    "conv_transpose2d": _transposed(2),
    "conv_transpose2d, grouped": _transposed(2, grouped=True),
    "max_pool1d": _max_pool(1),
    "max_pool2d": _max_pool(2),
    "avg_pool1d": _average_pool(1),
    "avg_pool2d": _average_pool(2),
    "lp_pool2d": _lp_pool,
    "adaptive_avg_pool1d": _adaptive_average,
    "adaptive_avg_pool2d": _adaptive_average_2d,
    "adaptive_max_pool1d": _adaptive_max,
}
