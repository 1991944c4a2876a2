"""Images: other sizes, other places, other borders."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from torch_lines.draw import Draw, Family, Line


def _image(d: Draw, least: int = 2) -> Tensor:
    return d.data(d.size(1, 5), d.size(1, 5), d.size(least, 13), d.size(least, 13))


def _weights(size: int, wanted: int, aligned: bool, x: Tensor) -> Tensor:
    """A matrix (wanted, size) that interpolates linearly along one axis."""
    at = torch.arange(wanted, dtype=torch.float64)
    at = at * (size - 1) / max(1, wanted - 1) if aligned else ((at + 0.5) * size / wanted - 0.5).clamp(min=0)
    low = at.floor().long().clamp(max=size - 1)
    high = (low + 1).clamp(max=size - 1)
    part = (at - low)[:, None]
    rows = functional.one_hot(low, size) * (1 - part) + functional.one_hot(high, size) * part
    return rows.to(x.dtype)


def _bilinear(d: Draw) -> Line:
    aligned, h, w = d.pick(True, False), d.size(2, 13), d.size(2, 13)

    def plain(x: Tensor) -> Tensor:
        return _weights(x.shape[2], h, aligned, x) @ x @ _weights(x.shape[3], w, aligned, x).T

    return Line(
        dict(x=_image(d)),
        lambda x: functional.interpolate(x, (h, w), mode="bilinear", align_corners=aligned),
        plain,
    )


def _linear(d: Draw) -> Line:
    wanted = d.size()
    return Line(
        dict(x=d.data(d.size(1, 5), d.size(1, 5), d.size(2))),
        lambda x: functional.interpolate(x, wanted, mode="linear"),
        lambda x: x @ _weights(x.shape[2], wanted, False, x).T,
    )


def _interpolated(mode: str) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        size = d.size(2, 13), d.size(2, 13)
        return Line(dict(x=_image(d)), lambda x: functional.interpolate(x, size, mode=mode))

    return line


def _grid_sample(mode: str) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        padding, aligned = d.pick("zeros", "border", "reflection"), d.pick(True, False)
        x = _image(d)
        grid = d.within(-0.9, 0.9, x.shape[0], d.size(1, 5), d.size(1, 5), 2)
        return Line(
            dict(x=x, grid=grid),
            lambda x, grid: functional.grid_sample(x, grid, mode, padding, align_corners=aligned),
        )

    return line


def _affine_grid(d: Draw) -> Line:
    n, h, w = d.size(1, 5), d.size(2, 13), d.size(2, 13)

    def plain(t: Tensor) -> Tensor:
        ys, xs = (torch.arange(s, dtype=torch.float64) * 2 / (s - 1) - 1 for s in (h, w))
        points = torch.stack([xs.expand(h, w), ys[:, None].expand(h, w), torch.ones(h, w)], 2).to(t.dtype)
        return torch.einsum("hwk,nik->nhwi", points, t)

    return Line(dict(t=d.data(n, 2, 3)), lambda t: functional.affine_grid(t, [n, 1, h, w], align_corners=True), plain)


def _padded(mode: str) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        left, right = d.pick(0, 1, 2), d.pick(1, 2)
        x = d.data(d.size(1, 5), d.size(1, 5), d.size(3))
        at = torch.arange(-left, x.shape[2] + right)
        if mode == "replicate":
            at = at.clamp(0, x.shape[2] - 1)
        elif mode == "circular":
            at = at % x.shape[2]
        else:
            at = x.shape[2] - 1 - (x.shape[2] - 1 - at.abs()).abs()

        def plain(x: Tensor) -> Tensor:
            if mode == "constant":
                return torch.cat([x.new_full((*x.shape[:2], left), 4.0), x, x.new_full((*x.shape[:2], right), 4.0)], 2)
            return x @ functional.one_hot(at, x.shape[2]).to(x.dtype).T

        value = 4.0 if mode == "constant" else None
        return Line(dict(x=x), lambda x: functional.pad(x, (left, right), mode, value), plain)

    return line


def _padded_images(mode: str) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=_image(d, 3)), lambda x: functional.pad(x, (1, 2, 2, 1), mode))


def _unfold(d: Draw) -> Line:
    def plain(x: Tensor) -> Tensor:
        h, w = x.shape[2] - 1, x.shape[3] - 2
        parts = [x[:, :, i : i + h, j : j + w] for i in range(2) for j in range(3)]
        return torch.stack(parts, 2).flatten(3).flatten(1, 2)

    return Line(dict(x=_image(d, 3)), lambda x: functional.unfold(x, (2, 3)), plain)


def _fold(d: Draw) -> Line:
    n, c, h, w = d.size(1, 5), d.size(1, 3), d.size(3, 7), d.size(3, 7)
    rows, columns = h - 1, w - 2

    def plain(x: Tensor) -> Tensor:
        parts = x.reshape(n, c, 2, 3, rows, columns)
        return sum(
            functional.pad(parts[:, :, i, j], (j, w - columns - j, i, h - rows - i)) for i in range(2) for j in range(3)
        ) + torch.zeros(n, c, h, w).to(x)

    return Line(dict(x=d.data(n, c * 6, rows * columns)), lambda x: functional.fold(x, (h, w), (2, 3)), plain)


def _pixel_shuffle(d: Draw) -> Line:
    r = d.pick(2, 3)
    n, c, h, w = d.size(1, 5), d.size(1, 3), d.size(1, 5), d.size(1, 5)
    return Line(
        dict(x=d.data(n, c * r * r, h, w)),
        lambda x: functional.pixel_shuffle(x, r),
        lambda x: x.reshape(n, c, r, r, h, w).permute(0, 1, 4, 2, 5, 3).reshape(n, c, h * r, w * r),
    )


def _pixel_unshuffle(d: Draw) -> Line:
    r = d.pick(2, 3)
    n, c, h, w = d.size(1, 5), d.size(1, 3), d.size(1, 5), d.size(1, 5)
    return Line(
        dict(x=d.data(n, c, h * r, w * r)),
        lambda x: functional.pixel_unshuffle(x, r),
        lambda x: x.reshape(n, c, h, r, w, r).permute(0, 1, 3, 5, 2, 4).reshape(n, c * r * r, h, w),
    )


def _channel_shuffle(d: Draw) -> Line:
    return Line(
        dict(x=d.data(d.size(1, 5), 6, d.size(1, 7), d.size(1, 7))),
        lambda x: functional.channel_shuffle(x, 3),
        lambda x: x.unflatten(1, (3, 2)).transpose(1, 2).flatten(1, 2),
    )


IMAGES: Family = {
    "interpolate, nearest": _interpolated("nearest"),
    "interpolate, area": _interpolated("area"),
    "interpolate, linear": _linear,
    "interpolate, bilinear": _bilinear,
    "interpolate, bicubic": _interpolated("bicubic"),
    "grid_sample, bilinear": _grid_sample("bilinear"),
    "grid_sample, nearest": _grid_sample("nearest"),
    "grid_sample, bicubic": _grid_sample("bicubic"),
    "affine_grid": _affine_grid,
    "pad, constant": _padded("constant"),
    "pad, reflect": _padded("reflect"),
    "pad, replicate": _padded("replicate"),
    "pad, circular": _padded("circular"),
    "pad of images, reflect": _padded_images("reflect"),
    "pad of images, replicate": _padded_images("replicate"),
    "unfold of images": _unfold,
    "fold": _fold,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle": _channel_shuffle,
}
