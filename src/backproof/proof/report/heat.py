"""Heat maps of a gradient, what it should be, and the difference, as small PNG pictures inside the page.

A picture is one byte a cell and a palette of 256 colours: zero is the paper's colour, so that a map looks right on
light and on dark paper with nothing but its palette exchanged.
"""

from __future__ import annotations

import base64
import struct
import zlib
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

MOST = 128  # cells along an edge; a larger tensor is pooled


_STEPS = 127  # shades on either side of zero


_NOT_FINITE = 0  # the palette's entry for NaN and infinity


Colours = tuple[tuple[int, int, int], ...]


LIGHT: Colours = (
    (0x0B, 0x3C, 0x8C),
    (0x5B, 0x9B, 0xE3),
    (0xF4, 0xF5, 0xF7),
    (0xE8, 0x7F, 0x4E),
    (0x8C, 0x1F, 0x0B),
)


DARK: Colours = (
    (0xA9, 0xD2, 0xFF),
    (0x2F, 0x7C, 0xD6),
    (0x1F, 0x22, 0x29),
    (0xD9, 0x5F, 0x2B),
    (0xFF, 0xD3, 0xB0),
)


_LIGHT_BAD, _DARK_BAD = (0xE6, 0x00, 0xB8), (0xFF, 0x4F, 0xD8)


@dataclass(frozen=True)
class Cells:
    """A tensor as rows and columns of cells, and how many elements one cell stands for (1 × 1 unless pooled)."""

    numbers: Tensor  # (rows, columns), float64
    pooled: tuple[int, int]

    @property
    def shape(self) -> tuple[int, int]:
        return self.numbers.shape[0], self.numbers.shape[1]


def cells(value: Tensor) -> Cells:
    """The last dimension becomes the columns, all others the rows; a pooled cell shows its largest element."""
    flat = value.detach().cpu().to(torch.float64 if not value.is_complex() else torch.complex128)
    flat = flat.abs() if flat.is_complex() else flat
    flat = flat.reshape(1, -1) if flat.ndim < 2 else flat.reshape(-1, flat.shape[-1])
    rows, columns = (-(-size // MOST) for size in flat.shape)
    if rows == columns == 1:
        return Cells(flat, (1, 1))
    padded = functional.pad(flat, (0, -flat.shape[1] % columns, 0, -flat.shape[0] % rows))
    blocks = padded.unflatten(1, (-1, columns)).unflatten(0, (-1, rows)).transpose(1, 2).flatten(2)
    largest = torch.nan_to_num(blocks.abs(), nan=torch.inf).argmax(2, keepdim=True)
    return Cells(blocks.gather(2, largest).squeeze(2), (rows, columns))


def largest(*maps: Cells) -> float:
    """The largest finite magnitude, which the strongest colour stands for."""
    sizes = [each.numbers[torch.isfinite(each.numbers)].abs() for each in maps]
    return max((float(size.max()) for size in sizes if size.numel()), default=0.0)


def pictures(map_: Cells, most: float) -> tuple[str, str]:
    """The map as two data URIs, for light and for dark paper; `most` gets the strongest colour."""
    finite = torch.isfinite(map_.numbers)
    scaled = torch.where(finite, map_.numbers, 0) / (most or 1.0)
    shades = (scaled.clamp(-1, 1) * _STEPS).round() + _STEPS + 1
    pixels = torch.where(finite, shades, _NOT_FINITE).to(torch.uint8)
    return _uri(pixels, LIGHT, _LIGHT_BAD), _uri(pixels, DARK, _DARK_BAD)


def _palette(stops: Colours, bad: tuple[int, int, int]) -> bytes:
    positions = torch.linspace(0, len(stops) - 1, 2 * _STEPS + 1, dtype=torch.float64)
    colours = torch.tensor(stops, dtype=torch.float64)
    left = positions.floor().clamp(max=len(stops) - 2).long()
    mixed = torch.lerp(colours[left], colours[left + 1], (positions - left)[:, None])
    return bytes([*bad, *mixed.round().to(torch.uint8).flatten().tolist()])


def _uri(pixels: Tensor, stops: Colours, bad: tuple[int, int, int]) -> str:
    rows, columns = pixels.shape
    header = struct.pack(">IIBBBBB", columns, rows, 8, 3, 0, 0, 0)  # 8 bits a pixel, colours from a palette
    lines = b"".join(b"\0" + bytes(line) for line in pixels.tolist())  # each line with filter 0
    chunks = [
        (b"IHDR", header),
        (b"PLTE", _palette(stops, bad)),
        (b"IDAT", zlib.compress(lines, 9)),
        (b"IEND", b""),
    ]
    png = b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in chunks)
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
