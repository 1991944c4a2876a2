"""Attention, and the products of matrices that it and other layers are made of."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from torch_lines.draw import Draw, Family, Line


def _attended(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | float = 0.0, scale: float | None = None) -> Tensor:
    scores = q @ k.mT * (q.shape[-1] ** -0.5 if scale is None else scale) + bias
    weights = (scores - scores.amax(-1, keepdim=True).detach()).exp()
    return weights / weights.sum(-1, keepdim=True) @ v


def _attention(kind: str) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        heads, n, m, f = d.pick(1, 2, 3), d.size(1, 13), d.size(1, 13), d.pick(1, 3, 8, 16)
        lead = d.pick((2, heads), (1, heads))
        scale = d.pick(None, 1.0) if kind == "scaled" else None
        allowed = d.mask(n, m)
        allowed[:, 0] = True  # a row with nothing to look at has no weights
        if kind == "causal":
            allowed = torch.ones(n, m, dtype=torch.bool).tril()
        bias = torch.zeros(n, m).masked_fill(~allowed, -torch.inf) if kind in ("masked", "causal") else None
        if kind == "biased":
            bias = d.normal(n, m)
        q, k = d.pick(d.mild, d.mild, d.data)(*lead, n, f), d.mild(*lead, m, f)

        def call(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
            if kind == "causal":
                return functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            mask = allowed if kind == "masked" else None if bias is None else bias.to(q.dtype)
            return functional.scaled_dot_product_attention(q, k, v, mask, scale=scale)

        return Line(
            dict(q=q, k=k, v=d.data(*lead, m, f)),
            call,
            lambda q, k, v: _attended(q, k, v, 0.0 if bias is None else bias.to(q.dtype), scale),
        )

    return line


def _heads(d: Draw) -> Line:
    heads, f, n = 2, d.pick(1, 3, 5), d.size(1, 7)
    e = heads * f

    def plain(x: Tensor, wi: Tensor, wo: Tensor) -> Tensor:
        q, k, v = ((x @ wi.T).chunk(3, -1)[i].unflatten(-1, (heads, f)).transpose(0, 2) for i in range(3))
        return _attended(q, k, v).transpose(0, 2).flatten(-2) @ wo.T

    def call(x: Tensor, wi: Tensor, wo: Tensor) -> Tensor:
        none = x.new_zeros(3 * e)
        return functional.multi_head_attention_forward(
            x, x, x, e, heads, wi, none, None, None, False, 0.0, wo, none[:e], need_weights=False
        )[0]

    return Line(dict(x=d.mild(n, 3, e), wi=d.normal(3 * e, e) / e, wo=d.normal(e, e)), call, plain)


def _einsum(formula: str) -> Callable[[Draw], Line]:
    """The plain one multiplies everything with everything and sums."""
    inputs, output = formula.split("->")
    letters = sorted(set(formula) - set(",->"))

    def line(d: Draw) -> Line:
        sizes = {letter: d.size(1, 7) for letter in letters}

        def plain(*tensors: Tensor) -> Tensor:
            total: Tensor | float = 1.0
            for axes, one in zip(inputs.split(","), tensors, strict=True):
                order = sorted(range(len(axes)), key=lambda i, axes=axes: axes[i])
                shape = [sizes[letter] if letter in axes else 1 for letter in letters]
                total = total * one.permute(order).reshape(shape)
            assert isinstance(total, Tensor)
            gone = [i for i, letter in enumerate(letters) if letter not in output]
            kept = [letter for letter in letters if letter in output]
            summed = total.sum(gone) if gone else total
            return summed.permute([kept.index(letter) for letter in output])

        tensors = {
            name: d.data(*[sizes[letter] for letter in axes])
            for name, axes in zip("abc", inputs.split(","), strict=False)
        }
        return Line(tensors, lambda *tensors: torch.einsum(formula, *tensors), plain)

    return line


def _summed(a: Tensor, b: Tensor) -> Tensor:
    """a @ b without a matrix product"""
    return (a.unsqueeze(-1) * b.unsqueeze(-3)).sum(-2)


def _sizes(d: Draw) -> tuple[int, int, int, int]:
    return d.size(1, 7), d.size(), d.size(), d.size()


def _matmul(d: Draw) -> Line:
    n, i, j, k = _sizes(d)
    left = d.pick((i, j), (n, i, j), (n, 1, i, j))
    return Line(
        dict(a=d.data(*left), b=d.data(*d.pick((j, k), (n, j, k)))), lambda a, b: a @ b, lambda a, b: _summed(a, b)
    )


def _bmm(d: Draw) -> Line:
    n, i, j, k = _sizes(d)
    return Line(dict(a=d.data(n, i, j), b=d.data(n, j, k)), lambda a, b: torch.bmm(a, b), _summed)


def _added_products(call: Callable[..., Tensor], batched: bool) -> Callable[[Draw], Line]:
    def line(d: Draw) -> Line:
        n, i, j, k = _sizes(d)
        lead = (n,) if batched else ()
        beta, alpha = d.pick(1.0, 0.5), d.pick(1.0, -2.0)
        return Line(
            dict(c=d.data(*lead, i, k), a=d.data(*lead, i, j), b=d.data(*lead, j, k)),
            lambda c, a, b: call(c, a, b, beta=beta, alpha=alpha),
            lambda c, a, b: beta * c + alpha * _summed(a, b),
        )

    return line


def _addbmm(d: Draw) -> Line:
    n, i, j, k = _sizes(d)
    return Line(
        dict(c=d.data(i, k), a=d.data(n, i, j), b=d.data(n, j, k)),
        lambda c, a, b: torch.addbmm(c, a, b),
        lambda c, a, b: c + _summed(a, b).sum(0),
    )


def _linear(d: Draw) -> Line:
    n, i, j, k = _sizes(d)
    return Line(
        dict(x=d.data(*d.pick((i, j), (n, i, j))), w=d.data(k, j), b=d.normal(k)),
        lambda x, w, b: functional.linear(x, w, b),
        lambda x, w, b: _summed(x, w.mT) + b,
    )


def _bilinear(d: Draw) -> Line:
    n, i, j, k = (d.size(1, 13) for _ in range(4))
    return Line(
        dict(x=d.data(n, i), z=d.data(n, j), w=d.normal(k, i, j)),
        lambda x, z, w: functional.bilinear(x, z, w),
        lambda x, z, w: (x[:, None, :, None] * w * z[:, None, None, :]).sum((2, 3)),
    )


def _mv(d: Draw) -> Line:
    i, j = d.size(), d.size()
    return Line(
        dict(c=d.data(i), a=d.data(i, j), b=d.data(j)),
        lambda c, a, b: torch.addmv(c, a, b),
        lambda c, a, b: c + (a * b).sum(1),
    )


def _dot(d: Draw) -> Line:
    n = d.size()
    return Line(dict(a=d.data(n), b=d.data(n)), lambda a, b: a @ b, lambda a, b: (a * b).sum())


def _outer(d: Draw) -> Line:
    return Line(
        dict(a=d.data(d.size()), b=d.data(d.size())),
        lambda a, b: torch.outer(a, b),
        lambda a, b: a[:, None] * b,
    )


def _kron(d: Draw) -> Line:
    return Line(
        dict(a=d.data(d.size(1, 5), d.size(1, 5)), b=d.data(d.size(1, 5), d.size(1, 5))),
        lambda a, b: torch.kron(a, b),
        lambda a, b: (a[:, None, :, None] * b[None, :, None, :]).flatten(2).flatten(0, 1),
    )


def _cross(d: Draw) -> Line:
    n = d.size()
    return Line(
        dict(a=d.data(n, 3), b=d.data(n, 3)),
        lambda a, b: torch.linalg.cross(a, b),
        lambda a, b: a.roll(-1, 1) * b.roll(-2, 1) - a.roll(-2, 1) * b.roll(-1, 1),
    )


PRODUCTS: Family = {
    "attention": _attention("bare"),
    "attention, scaled": _attention("scaled"),
    "attention, masked": _attention("masked"),
    "attention, with a bias": _attention("biased"),
    "attention, causal": _attention("causal"),
    "attention of several heads": _heads,
    "einsum bij,bjk->bik": _einsum("bij,bjk->bik"),
    "einsum bhid,bhjd->bhij": _einsum("bhid,bhjd->bhij"),
    "einsum i,ij,j->": _einsum("i,ij,j->"),
    "einsum ij->j": _einsum("ij->j"),
    "matmul": _matmul,
    "bmm": _bmm,
    "baddbmm": _added_products(torch.baddbmm, True),
    "addmm": _added_products(torch.addmm, False),
    "addbmm": _addbmm,
    "linear": _linear,
    "bilinear": _bilinear,
    "addmv": _mv,
    "dot": _dot,
    "outer": _outer,
    "kron": _kron,
    "cross": _cross,
}
