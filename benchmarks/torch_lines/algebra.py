"""Linear algebra and Fourier transforms."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from torch_lines.draw import Draw, Family, Line

Of = Callable[[Tensor], Tensor]


def _square(d: Draw) -> Tensor:
    """A matrix that can be inverted; with an offset, badly conditioned."""
    n = d.pick(1, 2, 3, 5, 7)
    offset = d.pick(0.0, d.offset)
    return d.scale * (d.normal(n, n) / (2 * math.sqrt(n)) + torch.eye(n).to(d.dtype) + offset)


def _simple_spectrum(d: Draw) -> Tensor:
    """Symmetric, with eigenvalues that float32 can tell apart: of equal ones there is no one derivative."""
    n = d.pick(1, 2, 3, 5, 7)
    a = d.normal(n, n) + d.pick(0.0, min(d.offset, 30.0))
    return d.scale * (a + a.T)


def _definite(d: Draw) -> Tensor:
    root = _square(d)
    return root @ root.T + d.pick(0.1, 1.0) * d.scale**2 * torch.eye(len(root)).to(d.dtype)


def _of_square(call: Of, plain: Of | None = None) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(a=_square(d)), call, plain)


def _of_symmetric(call: Of, plain: Of | None = None) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        return Line(
            dict(a=_definite(d)),
            lambda a: call((a + a.mT) / 2),
            None if plain is None else (lambda a, plain=plain: plain((a + a.mT) / 2)),
        )

    return line


def _eliminated(a: Tensor, b: Tensor) -> Tensor:
    """Gauss and Jordan: the solution of a x = b, with the largest pivot."""
    rows = torch.cat([a, b], 1)
    n = len(a)
    for i in range(n):
        best = i + int(rows[i:, i].detach().abs().argmax())
        order = [best if k == i else i if k == best else k for k in range(n)]
        rows = rows[order]
        pivot = rows[i] / rows[i, i]
        factors = rows[:, i : i + 1] * (torch.arange(n)[:, None] != i).to(a.dtype)
        rows = torch.where((torch.arange(n) == i)[:, None], pivot, rows - factors * pivot)
    return rows[:, n:]


def _solve(d: Draw) -> Line:
    a = _square(d)
    return Line(dict(a=a, b=d.data(len(a), d.size(1, 5))), lambda a, b: torch.linalg.solve(a, b), _eliminated)


def _triangular(d: Draw) -> Line:
    a = _square(d)
    return Line(
        dict(a=a, b=d.data(len(a), d.size(1, 5))),
        lambda a, b: torch.linalg.solve_triangular(a.tril(), b, upper=False),
        lambda a, b: _eliminated(a.tril(), b),
    )


def _cholesky_solve(d: Draw) -> Line:
    a = _definite(d)
    return Line(
        dict(a=a, b=d.data(len(a), d.size(1, 5))),
        lambda a, b: torch.cholesky_solve(b, torch.linalg.cholesky((a + a.mT) / 2)),
        lambda a, b: _eliminated((a + a.mT) / 2, b),
    )


def _factored(a: Tensor) -> Tensor:
    """Cholesky's factor, column by column."""
    columns: list[Tensor] = []
    for i in range(len(a)):
        rest = a[:, i] - sum((one * one[i] for one in columns), torch.zeros_like(a[0]))
        below = (torch.arange(len(a)) >= i).to(a.dtype)
        columns.append(rest / rest[i].sqrt() * below)
    return torch.stack(columns, 1)


def _determinant(a: Tensor) -> Tensor:
    if len(a) == 1:
        return a[0, 0]
    others = [[k for k in range(len(a)) if k != i] for i in range(len(a))]
    return sum(((-1) ** i * a[0, i] * _determinant(a[1:, others[i]]) for i in range(len(a))), torch.zeros_like(a[0, 0]))


def _small_square(d: Draw) -> Tensor:
    """For the expansion by minors, which loses all digits where they cancel: offsets of at most 3."""
    n = d.pick(1, 2, 3, 4)
    return d.scale * (d.normal(n, n) + 2 * torch.eye(n).to(d.dtype) + d.pick(0.0, min(d.offset, 3.0)))


def _tall(d: Draw) -> Tensor:
    n = d.size(1, 5)
    return d.data(n + d.size(1, 7), n)


def _orthogonal(a: Tensor) -> Tensor:
    """R of a = Q R, by Gram and Schmidt done twice; the signs are LAPACK's."""
    signs = torch.linalg.qr(a.detach()).R.diagonal().sign()
    found: list[Tensor] = []
    for column in a.T:
        for _ in range(2):
            for one in found:
                column = column - one * (one * column).sum()
        found.append(column / column.square().sum().sqrt())
    return signs[:, None] * (torch.stack(found, 1).T @ a).triu()


def _matrix_exp(a: Tensor) -> Tensor:
    """Taylor's series, which is only good for small matrices."""
    total = term = torch.eye(len(a)).to(a)
    for i in range(1, 40):
        term = term @ a / i
        total = total + term
    return total


def _waves(n: int, x: Tensor) -> tuple[Tensor, Tensor]:
    """The transform as a matrix; of cosines of angles that were rounded, digits would be missing."""
    matrix = torch.fft.fft(torch.eye(n, dtype=torch.float64))
    return matrix.real.to(x.dtype), matrix.imag.to(x.dtype)


def _transform(x: Tensor) -> Tensor:
    """The discrete Fourier transform of real rows, as (…, n, 2)."""
    real, imaginary = _waves(x.shape[-1], x)
    return torch.stack([x @ real, x @ imaginary], -1)


def _of_rows(call: Of, plain: Of | None) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.data(d.size(), d.size())), call, plain)


def _inverse_real(d: Draw) -> Line:
    n = d.pick(2, 4, 6)
    k = n // 2 + 1
    double = torch.tensor([1.0, *[2.0] * (k - 2), 1.0])

    def plain(x: Tensor, z: Tensor) -> Tensor:
        real, imaginary = _waves(n, x)
        weight = double.to(x.dtype)
        return ((x * weight) @ real[:k] + (z * weight) @ imaginary[:k]) / n

    shape = d.size(), k
    return Line(dict(x=d.data(*shape), z=d.data(*shape)), lambda x, z: torch.fft.irfft(torch.complex(x, z), n), plain)


ALGEBRA: Family = {
    "solve": _solve,
    "solve_triangular": _triangular,
    "cholesky_solve": _cholesky_solve,
    "inv": _of_square(torch.linalg.inv, lambda a: _eliminated(a, torch.eye(len(a)).to(a))),
    "pinv": lambda d: Line(dict(a=_tall(d)), torch.linalg.pinv),
    "cholesky": _of_symmetric(torch.linalg.cholesky, _factored),
    "det": lambda d: Line(dict(a=_small_square(d)), torch.linalg.det, _determinant),
    "slogdet": _of_square(lambda a: torch.linalg.slogdet(a)[1]),
    "logdet": _of_symmetric(torch.logdet, lambda a: 2 * _factored(a).diagonal().log().sum()),
    "qr": lambda d: Line(dict(a=_tall(d)), lambda a: torch.linalg.qr(a).R, _orthogonal),
    "lu": lambda d: Line(dict(a=_square(d)), lambda a: torch.linalg.lu(a).U),
    "eigvalsh": lambda d: Line(dict(a=_simple_spectrum(d)), lambda a: torch.linalg.eigvalsh((a + a.mT) / 2)),
    "svdvals": lambda d: Line(dict(a=_tall(d)), torch.linalg.svdvals),
    "lstsq": lambda d: Line(dict(a=_tall(d)), lambda a: torch.linalg.lstsq(a, torch.ones_like(a[:, :1])).solution),
    "matrix_exp": lambda d: Line(dict(a=0.3 * d.mild(*[d.size(1, 5)] * 2)), torch.linalg.matrix_exp, _matrix_exp),
    "matrix_power": _of_square(lambda a: torch.linalg.matrix_power(a, 3), lambda a: a @ a @ a),
    "trace": _of_square(torch.trace, lambda a: a.diagonal().sum()),
    "fft": _of_rows(lambda x: torch.view_as_real(torch.fft.fft(x)), _transform),
    "rfft": _of_rows(
        lambda x: torch.view_as_real(torch.fft.rfft(x)), lambda x: _transform(x)[..., : x.shape[-1] // 2 + 1, :]
    ),
    "irfft": _inverse_real,
    "fft2": _of_rows(lambda x: torch.fft.fft2(x).abs(), None),
    "fft, magnitudes": _of_rows(lambda x: torch.fft.fft(x).abs(), lambda x: _transform(x).square().sum(-1).sqrt()),
}
