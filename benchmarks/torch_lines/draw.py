"""What a line of a network is given: tensors of odd sizes, with offsets and scales from mild to hard."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from random import Random
from typing import Any, NamedTuple

import torch
from torch import Tensor

OFFSETS = (0.0, 0.0, 30.0, 3_000.0, 30_000.0)
SIZES = (1, 2, 3, 5, 7, 13, 33)


class Line(NamedTuple):
    """One line of a network, `y = torch(*inputs)`, and the same computed from elementary operations.

    `plain` is None where no composition is practical: the right gradient is then the operation's own in float64.
    """

    inputs: Mapping[str, Tensor]
    torch: Callable[..., Tensor]
    plain: Callable[..., Tensor] | None = None


Family = Mapping[str, Callable[["Draw"], Line]]


class Draw:
    """Draws tensors of one dtype; `offset` and `scale` are those of all data of one case."""

    def __init__(self, random: Random, dtype: torch.dtype, offset: float, scale: float) -> None:
        self.random, self.dtype, self.offset, self.scale = random, dtype, offset, scale
        self.generator = torch.Generator().manual_seed(random.getrandbits(62))

    def normal(self, *shape: int) -> Tensor:
        """Of scale 1, around 0."""
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.dtype)

    def data(self, *shape: int) -> Tensor:
        """scale · (offset + noise)"""
        noise = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return (self.scale * (self.offset + noise)).to(self.dtype)

    def distinct(self, rows: int, columns: int) -> Tensor:
        """Data without two equal numbers in a row: which of them is the largest is a matter of taste."""
        places = torch.stack([torch.randperm(columns, generator=self.generator) for _ in range(rows)])
        return (self.scale * (self.offset + 0.1 * places.double())).to(self.dtype)

    def mild(self, *shape: int) -> Tensor:
        """For what overflows or saturates: scale at most 3, no offset above 3."""
        noise = torch.randn(shape, generator=self.generator, dtype=torch.float64)
        return (min(self.scale, 3.0) * noise + min(self.offset, 3.0)).to(self.dtype)

    def positive(self, *shape: int) -> Tensor:
        """|data|, and nothing near 0."""
        return self.data(*shape).abs() + 0.01 * self.scale

    def within(self, low: float, high: float, *shape: int) -> Tensor:
        drawn = torch.rand(shape, generator=self.generator, dtype=torch.float64)
        return (low + (high - low) * drawn).to(self.dtype)

    def integers(self, end: int, *shape: int) -> Tensor:
        return torch.randint(end, shape, generator=self.generator)

    def mask(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator) < 0.7

    def signs(self, *shape: int) -> Tensor:
        return torch.where(self.mask(*shape), 1.0, -1.0).to(self.dtype)

    def size(self, least: int = 1, most: int = 33) -> int:
        return self.random.choice([size for size in SIZES if least <= size <= most])

    def pick(self, *choices: Any) -> Any:
        return self.random.choice(choices)
