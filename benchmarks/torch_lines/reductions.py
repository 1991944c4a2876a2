"""Sums, products, running ones, choices of the largest, norms and distances."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from torch_lines.draw import Draw, Family, Line

Of = Callable[[Tensor], Tensor]


def _rows(d: Draw, least: int = 1) -> Tensor:
    return d.data(d.size(), d.size(least))


def _of_rows(call: Of, plain: Of | None, least: int = 1) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=_rows(d, least)), call, plain)


def _of_distinct(call: Of, plain: Of) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.distinct(d.size(), d.size())), call, plain)


def _of_mild_rows(call: Of, plain: Of | None, least: int = 1) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.mild(d.size(), d.size(least, 13))), call, plain)


def _running(x: Tensor, add: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    found = [x[:, 0]]
    for column in x[:, 1:].unbind(1):
        found.append(add(found[-1], column))
    return torch.stack(found, 1)


def _running_product(x: Tensor) -> Tensor:
    return _running(x, lambda a, b: a * b)


def _log_sum(x: Tensor) -> Tensor:
    top = x.amax(1, keepdim=True).detach()
    return (x - top).exp().sum(1).log() + top.squeeze(1)


def _picked(x: Tensor, at: Tensor) -> Tensor:
    """x at one place a row, as a product with zeros and ones."""
    return (functional.one_hot(at, x.shape[1]).to(x.dtype) * x).sum(1)


def _shared_top(x: Tensor) -> Tensor:
    """The mean of all that are largest."""
    top = (x == x.amax(1, keepdim=True)).to(x.dtype)
    return (x * top).sum(1) / top.sum(1)


def _largest(d: Draw) -> Line:
    k = d.pick(1, 2)
    return Line(
        dict(x=d.distinct(d.size(), d.size(2))),
        lambda x: x.topk(k, 1).values,
        lambda x: torch.stack([_picked(x, x.topk(k, 1).indices[:, i]) for i in range(k)], 1),
    )


def _sorted(d: Draw) -> Line:
    return Line(
        dict(x=d.distinct(d.size(), d.size())),
        lambda x: x.sort(dim=1, stable=True).values,
        lambda x: torch.stack([row[order] for row, order in zip(x, x.argsort(dim=1, stable=True), strict=True)]),
    )


def _norm(p: float) -> Callable[[Draw], Line]:
    def plain(x: Tensor) -> Tensor:
        if p == math.inf:
            return x.abs().amax(1)
        top = x.abs().amax(1, keepdim=True).detach()  # powers of what is large overflow
        return ((x / top).abs() ** p).sum(1) ** (1 / p) * top.squeeze(1)

    return _of_rows(lambda x: torch.linalg.vector_norm(x, p, 1), plain)


def _matrix_norm(d: Draw) -> Line:
    return Line(
        dict(x=d.data(d.size(), d.size())), lambda x: torch.linalg.matrix_norm(x), lambda x: x.square().sum().sqrt()
    )


def _covariance(d: Draw) -> Line:
    n = d.size(3)

    def plain(x: Tensor) -> Tensor:
        centred = x - x.mean(1, keepdim=True)
        return (centred[:, None] * centred).sum(2) / (n - 1)

    return Line(dict(x=d.data(d.size(2, 7), n)), torch.cov, plain)


def _two(d: Draw, drawn: Callable[..., Tensor]) -> dict[str, Tensor]:
    f = d.size(2)
    return dict(a=drawn(d.size(1, 13), f), b=drawn(d.size(1, 13), f))


def _cdist(p: float) -> Callable[[Draw], Line]:
    """Of infinite p far from zero, many differences are equal, and which one counts is a matter of taste."""

    def plain(a: Tensor, b: Tensor) -> Tensor:
        apart = (a[:, None] - b).abs()
        return apart.amax(2) if p == math.inf else (apart**p).sum(2) ** (1 / p)

    return lambda d: Line(
        _two(d, d.mild if p == math.inf else d.data),
        lambda a, b: torch.cdist(a, b, p, compute_mode="donot_use_mm_for_euclid_dist"),
        plain,
    )


def _cdist_by_products(d: Draw) -> Line:
    """Euclidean distances by a matrix product, as many points have them."""
    f, noise = d.size(2, 7), d.pick(1.0, 3.0)
    return Line(
        dict(a=noise * d.normal(33, f), b=noise * d.normal(33, f)),
        lambda a, b: torch.cdist(a, b, compute_mode="use_mm_for_euclid_dist"),
        lambda a, b: (a[:, None] - b).square().sum(2).sqrt(),
    )


def _pairwise_distance(d: Draw) -> Line:
    n, f = d.size(), d.size(2)
    return Line(
        dict(a=d.data(n, f), b=d.data(n, f)),
        lambda a, b: functional.pairwise_distance(a, b),
        lambda a, b: (a - b + 1e-6).square().sum(1).sqrt(),
    )


def _pdist(d: Draw) -> Line:
    n = d.size(2, 7)
    first, second = torch.triu_indices(n, n, 1)
    return Line(
        dict(a=d.data(n, d.size(2))),
        lambda a: functional.pdist(a),
        lambda a: (a[first] - a[second]).square().sum(1).sqrt(),
    )


def _quantile(d: Draw) -> Line:
    q = d.pick(0.3, 0.5, 0.9)

    def plain(x: Tensor) -> Tensor:
        at = q * (x.shape[1] - 1)
        low, high = int(at), min(int(at) + 1, x.shape[1] - 1)
        ordered = x.sort(dim=1, stable=True).values
        return ordered[:, low] * (1 - at + low) + ordered[:, high] * (at - low)

    return Line(dict(x=d.distinct(d.size(), d.size())), lambda x: x.quantile(q, 1), plain)


REDUCTIONS: Family = {
    "sum": _of_rows(lambda x: x.sum(1), lambda x: x @ torch.ones_like(x[0])),
    "mean": _of_rows(lambda x: x.mean((0, 1)), lambda x: x.sum() / x.numel()),
    "nanmean": _of_rows(lambda x: x.nanmean(1), lambda x: x.sum(1) / x.shape[1]),
    "prod": _of_mild_rows(lambda x: x.prod(1), lambda x: _running_product(x)[:, -1]),
    "max": _of_distinct(lambda x: x.max(1).values, lambda x: _picked(x, x.max(1).indices)),
    "min": _of_distinct(lambda x: x.min(1).values, lambda x: _picked(x, x.min(1).indices)),
    "amax": _of_rows(lambda x: x.amax(1), _shared_top),
    "median": _of_distinct(lambda x: x.median(1).values, lambda x: _picked(x, x.median(1).indices)),
    "kthvalue": _of_distinct(lambda x: x.kthvalue(1, 1).values, lambda x: _picked(x, x.kthvalue(1, 1).indices)),
    "mode": _of_distinct(lambda x: x.mode(1).values, lambda x: _picked(x, x.mode(1).indices)),
    "quantile": _quantile,
    "topk": _largest,
    "sort": _sorted,
    "cumsum": _of_rows(lambda x: x.cumsum(1), lambda x: _running(x, lambda a, b: a + b)),
    "cumprod": _of_mild_rows(lambda x: x.cumprod(1), _running_product),
    "cummax": _of_rows(lambda x: x.cummax(1).values, lambda x: x.gather(1, x.cummax(1).indices)),
    "logcumsumexp": _of_rows(lambda x: x.logcumsumexp(1), lambda x: _running(x, torch.logaddexp)),
    "logsumexp": _of_rows(lambda x: x.logsumexp(1), _log_sum),
    "diff": _of_rows(lambda x: x.diff(dim=1), lambda x: x[:, 1:] - x[:, :-1], 2),
    "trapezoid": _of_rows(lambda x: torch.trapezoid(x, dim=1), lambda x: (x[:, 1:] + x[:, :-1]).sum(1) / 2, 2),
    "cov": _covariance,
    "norm 1": _norm(1.0),
    "norm 2": _norm(2.0),
    "norm 3": _norm(3.0),
    "norm ∞": _norm(math.inf),
    "norm of a matrix": _matrix_norm,
    "cdist": _cdist(2.0),
    "cdist 1": _cdist(1.0),
    "cdist 3": _cdist(3.0),
    "cdist ∞": _cdist(math.inf),
    "cdist by products": _cdist_by_products,
    "pairwise_distance": _pairwise_distance,
    "pdist": _pdist,
}
