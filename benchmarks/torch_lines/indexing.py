"""What picks, moves, repeats and adds up elements."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from torch_lines.draw import Draw, Family, Line

Of = Callable[[Tensor], Tensor]


def _of_matrix(call: Of, plain: Of | None = None) -> Callable[[Draw], Line]:
    return lambda d: Line(dict(x=d.data(d.size(2), d.size(2))), call, plain)


def _chosen(at: Tensor, rows: int) -> Tensor:
    """A matrix of zeros and ones that picks rows."""
    return functional.one_hot(at, rows)


def _of_rows(call: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Draw], Line]:
    """Rows picked by index, repeatedly."""

    def line(d: Draw) -> Line:
        rows = d.size()
        at = d.integers(rows, d.size())
        return Line(
            dict(x=d.data(rows, d.size())),
            lambda x: call(x, at),
            lambda x: _chosen(at, rows).to(x.dtype) @ x,
        )

    return line


def _along(call: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        n, f = d.size(), d.size()
        at = d.integers(f, n, d.size())
        return Line(
            dict(x=d.data(n, f)),
            lambda x: call(x, at),
            lambda x: torch.einsum("nkf,nf->nk", _chosen(at, f).to(x.dtype), x),
        )

    return line


def _added_rows(call: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        rows, k, f = d.size(), d.size(), d.size()
        at = d.integers(rows, k)
        return Line(
            dict(x=d.data(rows, f), z=d.data(k, f)),
            lambda x, z: call(x, at, z),
            lambda x, z: x + _chosen(at, rows).to(x.dtype).T @ z,
        )

    return line


def _copied_rows(d: Draw) -> Line:
    rows, f = d.size(2), d.size()
    at = torch.randperm(rows, generator=d.generator)[: rows // 2]
    kept = torch.ones(rows, 1).index_fill(0, at, 0)
    return Line(
        dict(x=d.data(rows, f), z=d.data(len(at), f)),
        lambda x, z: x.index_copy(0, at, z),
        lambda x, z: kept.to(x.dtype) * x + _chosen(at, rows).to(x.dtype).T @ z,
    )


def _scattered(d: Draw) -> Line:
    n, f = d.size(), d.size(2)
    at = torch.stack([torch.randperm(f, generator=d.generator)[: f // 2] for _ in range(n)])
    kept = torch.ones(n, f).scatter(1, at, 0)

    def plain(x: Tensor, z: Tensor) -> Tensor:
        return kept.to(x.dtype) * x + torch.einsum("nkf,nk->nf", _chosen(at, f).to(x.dtype), z)

    return Line(dict(x=d.data(n, f), z=d.data(n, f // 2)), lambda x, z: x.scatter(1, at, z), plain)


def _scatter_added(d: Draw) -> Line:
    n, f, k = d.size(), d.size(), d.size()
    at = d.integers(f, n, k)
    return Line(
        dict(x=d.data(n, f), z=d.data(n, k)),
        lambda x, z: x.scatter_add(1, at, z),
        lambda x, z: x + torch.einsum("nkf,nk->nf", _chosen(at, f).to(x.dtype), z),
    )


def _scatter_reduced(how: str) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        n, f, k = d.size(), d.size(1, 5), d.size()
        at = d.integers(f, n, k)

        def plain(x: Tensor, z: Tensor) -> Tensor:
            chosen = _chosen(at, f).to(x.dtype)
            return (x + torch.einsum("nkf,nk->nf", chosen, z)) / (1 + chosen.sum(1))

        whole = d.data if how == "mean" else d.mild
        return Line(
            dict(x=whole(n, f), z=whole(n, k)),
            lambda x, z: x.scatter_reduce(1, at, z, how),
            plain if how == "mean" else None,
        )

    return line


def _masked_fill(d: Draw) -> Line:
    n, f = d.size(), d.size()
    mask = d.mask(n, f)
    return Line(
        dict(x=d.data(n, f)),
        lambda x: x.masked_fill(mask, 7.0),
        lambda x: x * (~mask).to(x.dtype) + 7.0 * mask.to(x.dtype),
    )


def _masked_select(d: Draw) -> Line:
    n, f = d.size(2), d.size(2)
    mask = d.mask(n, f)
    mask[0, 0] = True
    at = mask.flatten().nonzero().squeeze(1)
    return Line(
        dict(x=d.data(n, f)),
        lambda x: x.masked_select(mask),
        lambda x: _chosen(at, n * f).to(x.dtype) @ x.flatten(),
    )


def _embedding(d: Draw) -> Line:
    rows = d.size(2)
    at = d.integers(rows, d.size(), d.size(1, 7))
    padding = d.pick(None, 0)

    def plain(x: Tensor) -> Tensor:
        chosen = _chosen(at, rows).to(x.dtype)
        if padding is None:
            return chosen @ x
        used = torch.arange(rows)[:, None] != padding  # the padding row has no gradient
        return chosen @ torch.where(used, x, x.detach())

    return Line(dict(x=d.data(rows, d.size())), lambda x: functional.embedding(at, x, padding), plain)


def _bag(mode: str) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        rows, bags, k = d.size(2), d.size(), d.size(1, 7)
        at = d.integers(rows, bags, k)

        def plain(x: Tensor) -> Tensor:
            parts = (_chosen(at, rows).to(x.dtype).flatten(0, 1) @ x).unflatten(0, (bags, k))
            return parts.sum(1) if mode == "sum" else parts.mean(1)

        return Line(
            dict(x=d.data(rows, d.size())),
            lambda x: functional.embedding_bag(at, x, mode=mode),
            None if mode == "max" else plain,
        )

    return line


def _weighted_bag(d: Draw) -> Line:
    rows, bags, k = d.size(2), d.size(), d.size(1, 7)
    at = d.integers(rows, bags, k)
    return Line(
        dict(x=d.data(rows, d.size()), w=d.normal(bags, k)),
        lambda x, w: functional.embedding_bag(at, x, per_sample_weights=w, mode="sum"),
        lambda x, w: torch.einsum("bk,bkr,rf->bf", w, _chosen(at, rows).to(x.dtype), x),
    )


def _put(d: Draw) -> Line:
    n, f, k = d.size(), d.size(), d.size()
    rows, columns = d.integers(n, k), d.integers(f, k)

    def plain(x: Tensor, z: Tensor) -> Tensor:
        return x + torch.einsum("kn,kf,k->nf", _chosen(rows, n).to(x.dtype), _chosen(columns, f).to(x.dtype), z)

    return Line(dict(x=d.data(n, f), z=d.data(k)), lambda x, z: x.index_put((rows, columns), z, accumulate=True), plain)


def _points(d: Draw) -> Line:
    n, f, k = d.size(), d.size(), d.size()
    rows, columns = d.integers(n, k), d.integers(f, k)
    return Line(
        dict(x=d.data(n, f)),
        lambda x: x[rows, columns],
        lambda x: (_chosen(rows, n).to(x.dtype) @ x * _chosen(columns, f).to(x.dtype)).sum(1),
    )


def _joined(call: Callable[..., Tensor]) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        shape = d.size(), d.size()
        return Line(dict(x=d.data(*shape), z=d.data(*shape)), lambda x, z: call([x, z]))

    return line


def _repeated_each(d: Draw) -> Line:
    rows = d.size()
    counts = d.integers(4, rows)
    counts[0] = 2
    at = torch.arange(rows).repeat_interleave(counts)
    return Line(
        dict(x=d.data(rows, d.size())),
        lambda x: x.repeat_interleave(counts, 0),
        lambda x: _chosen(at, rows).to(x.dtype) @ x,
    )


INDEXING: Family = {
    "index_select": _of_rows(lambda x, at: x.index_select(0, at)),
    "x[rows]": _of_rows(lambda x, at: x[at]),
    "x[rows, columns]": _points,
    "embedding": _embedding,
    "embedding_bag, sum": _bag("sum"),
    "embedding_bag, mean": _bag("mean"),
    "embedding_bag, max": _bag("max"),
    "embedding_bag, weighted": _weighted_bag,
    "gather": _along(lambda x, at: x.gather(1, at)),
    "take_along_dim": _along(lambda x, at: x.take_along_dim(at, 1)),
    "take": _along(lambda x, at: x.take(at + torch.arange(len(x))[:, None] * x.shape[1])),
    "index_add": _added_rows(lambda x, at, z: x.index_add(0, at, z)),
    "index_copy": _copied_rows,
    "index_put": _put,
    "scatter": _scattered,
    "scatter_add": _scatter_added,
    "scatter_reduce, mean": _scatter_reduced("mean"),
    "scatter_reduce, prod": _scatter_reduced("prod"),
    "scatter_reduce, amax": _scatter_reduced("amax"),
    "masked_fill": _masked_fill,
    "masked_select": _masked_select,
    "cat": _joined(lambda both: torch.cat(both, 1)),
    "stack": _joined(lambda both: torch.stack(both, 1)),
    "repeat": _of_matrix(lambda x: x.repeat(2, 3), lambda x: torch.cat([torch.cat([x, x, x], 1)] * 2)),
    "repeat_interleave": _repeated_each,
    "expand": _of_matrix(lambda x: x.unsqueeze(1).expand(-1, 5, -1), lambda x: torch.stack([x] * 5, 1)),
    "flip": _of_matrix(lambda x: x.flip(0, 1), lambda x: x[range(len(x) - 1, -1, -1)].T.flip(0).T),
    "roll": _of_matrix(lambda x: x.roll(1, 0), lambda x: torch.cat([x[-1:], x[:-1]])),
    "diagonal": _of_matrix(lambda x: x.diagonal(), lambda x: (x * torch.eye(*x.shape).to(x)).sum(0)[: min(x.shape)]),
    "tril": _of_matrix(lambda x: x.tril(), lambda x: x * torch.ones_like(x).tril()),
    "unfold": _of_matrix(lambda x: x.unfold(1, 2, 1), lambda x: torch.stack([x[:, :-1], x[:, 1:]], 2)),
    "as_strided": _of_matrix(
        lambda x: x.as_strided((2, 2), (x.shape[1], 1)), lambda x: torch.stack([x[0, :2], x[1, :2]])
    ),
    "permute": _of_matrix(lambda x: x[None].permute(2, 1, 0), lambda x: x.T[:, :, None]),
}
