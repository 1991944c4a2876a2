"""A share laid out for trying formulas on it: c · first · Π factor^power, summed to the value's shape."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.causes.case import Part
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.sample import evenly

_TAKE = 10  # indices of each dimension that a formula is tried on: the worst five, and five spread evenly
_FIRST_FIT = 5e-3  # misfit there; all elements are held against their rounding afterwards
_TOGETHER = 256  # formulas, for speed alone


class Column(NamedTuple):
    """A tensor to some power, whole and on the sample."""

    name: str
    power: float
    whole: Tensor
    sample: Tensor


class Monomial(NamedTuple):
    """c · first · Π column; `first` is the reader's gradient unless named otherwise."""

    c: float
    first: str
    columns: tuple[Column, ...]

    @property
    def powers(self) -> dict[str, float]:
        found: dict[str, float] = {}
        for column in self.columns:
            found[column.name] = found.get(column.name, 0.0) + column.power
        return {name: power for name, power in found.items() if power}

    @property
    def shown(self) -> float:
        """The number as messages write it."""
        return float(f"{self.c:.4g}")

    def __str__(self) -> str:
        parts = [self.first, *(power_of(name, power) for name, power in self.powers.items())]
        return ("" if self.c == 1 else "-" if self.c == -1 else f"{self.c:.4g} * ") + " * ".join(parts)


class Bench:
    """One share laid out for trying formulas: the shape of products, and a sample of the sum."""

    def __init__(self, fault: Fault, part: Part) -> None:
        self.fault, self.part = fault, part
        self.shape = part.expected.shape
        self.full = torch.broadcast_shapes(part.upstream.shape, self.shape)
        offset = len(self.full) - len(self.shape)
        self.kept = [dim for dim in range(offset, len(self.full)) if self.shape[dim - offset] == self.full[dim]]
        wrong = (fault.difference / fault.measure).abs().nan_to_num(0.0)[part.window]
        self.indices = {}
        for dim in self.kept:
            size = self.full[dim]
            peak = wrong.movedim(dim - offset, 0).reshape(size, -1).amax(1)
            worst = peak.topk(min(_TAKE // 2, size)).indices
            even = evenly(size, min(_TAKE - _TAKE // 2, size), worst.device)
            self.indices[dim] = torch.cat([worst, even]).unique()
        self.lost = tuple(dim for dim in range(len(self.full)) if dim not in self.kept)

    def take(self, tensor: Tensor) -> Tensor:
        """The sample of a tensor that spreads to the products' shape, before summing."""
        tensor = tensor.expand(self.full)
        for dim, chosen in self.indices.items():
            tensor = tensor.index_select(dim, chosen)
        return tensor

    def take_sum(self, tensor: Tensor) -> Tensor:
        """The same sample of a tensor of the value's shape."""
        tensor = tensor.reshape((1,) * (len(self.full) - len(self.shape)) + tuple(self.shape))
        for dim, chosen in self.indices.items():
            tensor = tensor.index_select(dim, chosen)
        return tensor.flatten()

    def column(self, name: str, tensor: Tensor, power: float) -> Column | None:
        if tensor.shape == self.fault.got.shape != self.shape:
            tensor = tensor[self.part.window]
        try:
            spread = tensor.double().expand(self.full)
        except RuntimeError:
            return None
        whole = spread if power == 1 else spread.abs() ** power * (spread.sign() if power % 2 else 1)
        sample = self.take(whole)
        if power < 0:
            sample, whole = (torch.where(t.isfinite(), t, 0) for t in (sample, whole))
        flat = sample.flatten()
        if not flat.numel() or not bool(flat.isfinite().all()) or bool((flat == flat[0]).all()):
            return None  # no number at all, or one that no factor can be told from
        return Column(name, power, whole, sample)

    def with_shape(self, formula: Monomial) -> str:
        """A formula in words, with what becomes of its product."""
        return f"{formula}, summed to the shape of {self.fault.name}" if self.lost else str(formula)

    @property
    def place(self) -> str:
        """Where in the line a factor belongs, as a clause to end advice with."""
        return f"{', before the sum' if self.lost else ''}{self.part.place}"

    def gradient(self, c: float, columns: tuple[Column, ...]) -> Tensor:
        """The gradient whose share in question is c · upstream · Π column."""
        return self.part.whole(c * self.made(self.part.upstream, columns))

    def made(self, first: Tensor, columns: tuple[Column, ...]) -> Tensor:
        product = first.expand(self.full)
        for column in columns:
            product = product * column.whole
        return product.sum_to_size(self.shape)

    def fits(
        self, target: Tensor, first: Tensor, tries: list[tuple[Column, ...]]
    ) -> Iterator[tuple[float, tuple[Column, ...]]]:
        """Those of `tries` that come close to `target` on the sample, with their factor c."""
        wanted, start = self.take_sum(target), self.take(first)
        size = float(wanted.norm())
        for at in range(0, len(tries) if size else 0, _TOGETHER):
            some = tries[at : at + _TOGETHER]
            products = torch.stack([_product(start, columns) for columns in some])
            if self.lost:
                products = products.sum([dim + 1 for dim in self.lost])
            products = products.flatten(1)
            norms = (products * products).sum(1)
            c = (products @ wanted) / norms
            misfit = (products * c.unsqueeze(1) - wanted).norm(dim=1) / size
            for index in (misfit <= _FIRST_FIT).nonzero().flatten().tolist():
                yield float(c[index]), some[index]


def _product(start: Tensor, columns: tuple[Column, ...]) -> Tensor:
    for column in columns:
        start = start * column.sample
    return start


def benches(fault: Fault) -> Iterator[Bench]:
    """The shares that formulas can be tried on: products sum, or spread, to the value's shape."""
    for part in fault.parts:
        try:
            bench = Bench(fault, part)
        except RuntimeError:
            continue
        if part.expected.numel() > 1 and len(bench.full) >= len(bench.shape):
            yield bench


def power_of(name: str, power: float) -> str:
    """`x`, or `x**2`."""
    return name if power == 1 else f"{name}**{power:g}"
