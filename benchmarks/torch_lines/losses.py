"""Losses, each as it stands in a textbook."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from torch_lines.draw import Draw, Family, Line


def _reduced(losses: Tensor, how: str) -> Tensor:
    return losses.mean() if how == "mean" else losses.sum() if how == "sum" else losses


def _how(d: Draw) -> str:
    return d.pick("mean", "sum", "none")


def _log_softmax(x: Tensor) -> Tensor:
    shifted = x - x.amax(1, keepdim=True).detach()
    return shifted - shifted.exp().sum(1, keepdim=True).log()


def _softplus(x: Tensor) -> Tensor:
    """Exact everywhere; PyTorch's own is the identity above 20."""
    return x.clamp(min=0) + (-x.abs()).exp().log1p()


def _cross_entropy(d: Draw) -> Line:
    n, c, how = d.size(), d.size(2), _how(d)
    y = d.integers(c, n)
    return Line(
        dict(x=d.data(n, c)),
        lambda x: functional.cross_entropy(x, y, reduction=how),
        lambda x: _reduced(-_log_softmax(x)[range(n), y], how),
    )


def _smoothed_cross_entropy(d: Draw) -> Line:
    n, c = d.size(), d.size(2)
    y = d.integers(c, n)

    def plain(x: Tensor) -> Tensor:
        target = 0.9 * functional.one_hot(y, c).to(x.dtype) + 0.1 / c
        return -(target * _log_softmax(x)).sum(1).mean()

    return Line(dict(x=d.data(n, c)), lambda x: functional.cross_entropy(x, y, label_smoothing=0.1), plain)


def _soft_cross_entropy(d: Draw) -> Line:
    n, c = d.size(), d.size(2)
    t = d.normal(n, c).softmax(1)
    return Line(
        dict(x=d.data(n, c)),
        lambda x: functional.cross_entropy(x, t.to(x.dtype)),
        lambda x: -(t.to(x.dtype) * _log_softmax(x)).sum(1).mean(),
    )


def _weighted_cross_entropy(d: Draw) -> Line:
    n, c = d.size(2), d.size(2)
    y, w = d.integers(c, n), d.within(0.1, 2, c)
    y[0] = -100

    def plain(x: Tensor) -> Tensor:
        own = w.to(x.dtype)[y[1:]]
        return -(own * _log_softmax(x)[range(1, n), y[1:]]).sum() / own.sum()

    return Line(dict(x=d.data(n, c)), lambda x: functional.cross_entropy(x, y, w.to(x.dtype)), plain)


def _image_cross_entropy(d: Draw) -> Line:
    n, c, size = d.size(1, 5), d.size(2, 7), d.size(1, 7)
    y = d.integers(c, n, size, size)
    return Line(
        dict(x=d.data(n, c, size, size)),
        lambda x: functional.cross_entropy(x, y),
        lambda x: -_log_softmax(x).gather(1, y.unsqueeze(1)).mean(),
    )


def _nll(d: Draw) -> Line:
    n, c, how = d.size(), d.size(2), _how(d)
    y, w = d.integers(c, n), d.within(0.1, 2, c)

    def plain(x: Tensor) -> Tensor:
        own = w.to(x.dtype)[y]
        losses = -own * x[range(n), y]
        return losses.sum() / own.sum() if how == "mean" else _reduced(losses, how)

    return Line(dict(x=d.data(n, c)), lambda x: functional.nll_loss(x, y, w.to(x.dtype), reduction=how), plain)


def _kl(d: Draw) -> Line:
    n, c, how = d.size(), d.size(2), d.pick("sum", "batchmean")
    t = d.normal(n, c).softmax(1)

    def plain(x: Tensor, z: Tensor) -> Tensor:
        target = t.to(x.dtype) + 0 * z
        return (target * (target.log() - x)).sum() / (n if how == "batchmean" else 1)

    return Line(
        dict(x=d.data(n, c), z=d.mild(n, c)),
        lambda x, z: functional.kl_div(x, t.to(x.dtype) + 0 * z, reduction=how),
        plain,
    )


def _kl_of_logarithms(d: Draw) -> Line:
    n, c = d.size(), d.size(2)
    return Line(
        dict(x=d.mild(n, c), z=d.mild(n, c)),
        lambda x, z: functional.kl_div(x, z, reduction="sum", log_target=True),
        lambda x, z: (z.exp() * (z - x)).sum(),
    )


def _of_pairs(call: Callable[..., Tensor], plain: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Draw], Line]:
    """A loss of each prediction beside its target, both with gradients."""

    def line(d: Draw) -> Line:
        shape, how = (d.size(), d.size()), _how(d)
        return Line(
            dict(x=d.data(*shape), t=d.data(*shape)),
            lambda x, t: call(x, t, reduction=how),
            lambda x, t: _reduced(plain(x, t), how),
        )

    return line


def _huber(e: Tensor, delta: float) -> Tensor:
    return torch.where(e.abs() < delta, 0.5 * e * e, delta * (e.abs() - 0.5 * delta))


def _bce(d: Draw) -> Line:
    shape, how = (d.size(), d.size()), _how(d)
    t = d.within(0, 1, *shape)

    def plain(x: Tensor) -> Tensor:
        target = t.to(x.dtype)
        return _reduced(-(target * x.log() + (1 - target) * (1 - x).log()), how)

    low = d.pick(0.3, 0.01, 1e-5)
    return Line(
        dict(x=d.within(low, 1 - low, *shape)),
        lambda x: functional.binary_cross_entropy(x, t.to(x.dtype), reduction=how),
        plain,
    )


def _bce_with_logits(d: Draw) -> Line:
    n, c, how = d.size(), d.size(), _how(d)
    t, pos, w = d.within(0, 1, n, c), d.within(0.5, 3, c), d.within(0.5, 3, n, c)

    def plain(x: Tensor) -> Tensor:
        target, positive, weight = (one.to(x.dtype) for one in (t, pos, w))
        above, below = -_softplus(-x), -_softplus(x)
        return _reduced(-weight * (positive * target * above + (1 - target) * below), how)

    return Line(
        dict(x=d.data(n, c)),
        lambda x: functional.binary_cross_entropy_with_logits(
            x, t.to(x.dtype), w.to(x.dtype), pos_weight=pos.to(x.dtype), reduction=how
        ),
        plain,
    )


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    return (a * b).sum(-1) / ((a * a).sum(-1) * (b * b).sum(-1)).sqrt()


def _cosine_embedding(d: Draw) -> Line:
    n, f = d.size(), d.size(3)
    y = d.signs(n)

    def plain(a: Tensor, b: Tensor) -> Tensor:
        sizes = [one.square().sum(1) + 1e-12 for one in (a, b)]  # as PyTorch does
        cosine = (a * b).sum(1) / (sizes[0] * sizes[1]).sqrt()
        return torch.where(y > 0, 1 - cosine, (cosine - 0.2).clamp(min=0)).mean()

    return Line(
        dict(a=d.data(n, f), b=d.data(n, f)),
        lambda a, b: functional.cosine_embedding_loss(a, b, y.to(a.dtype), margin=0.2),
        plain,
    )


def _cosine_similarity(d: Draw) -> Line:
    n, f = d.size(), d.size(3)
    return Line(dict(a=d.data(n, f), b=d.data(n, f)), lambda a, b: functional.cosine_similarity(a, b), _cosine)


def _hinge_embedding(d: Draw) -> Line:
    shape = (d.size(), d.size())
    y = d.signs(*shape)
    return Line(
        dict(x=d.data(*shape)),
        lambda x: functional.hinge_embedding_loss(x, y.to(x.dtype), margin=1.5),
        lambda x: torch.where(y > 0, x, (1.5 - x).clamp(min=0)).mean(),
    )


def _margin_ranking(d: Draw) -> Line:
    n = d.size()
    y = d.signs(n)
    return Line(
        dict(a=d.data(n), b=d.data(n)),
        lambda a, b: functional.margin_ranking_loss(a, b, y.to(a.dtype), margin=0.3),
        lambda a, b: (-y.to(a.dtype) * (a - b) + 0.3).clamp(min=0).mean(),
    )


def _multi_margin(d: Draw) -> Line:
    n, c = d.size(), d.size(2)
    y = d.integers(c, n)

    def plain(x: Tensor) -> Tensor:
        others = (1 - x.gather(1, y[:, None]) + x).clamp(min=0)
        return (others * (1 - functional.one_hot(y, c).to(x.dtype))).sum(1).mean() / c

    return Line(dict(x=d.data(n, c)), lambda x: functional.multi_margin_loss(x, y), plain)


def _soft_margin(d: Draw) -> Line:
    shape = (d.size(), d.size())
    y = d.signs(*shape)
    return Line(
        dict(x=d.mild(*shape)),
        lambda x: functional.soft_margin_loss(x, y.to(x.dtype)),
        lambda x: (-y.to(x.dtype) * x).exp().log1p().mean(),
    )


def _multilabel_soft_margin(d: Draw) -> Line:
    shape = (d.size(), d.size())
    t = d.mask(*shape)

    def plain(x: Tensor) -> Tensor:
        target = t.to(x.dtype)
        return (target * _softplus(-x) + (1 - target) * _softplus(x)).mean(1).mean()

    return Line(dict(x=d.data(*shape)), lambda x: functional.multilabel_soft_margin_loss(x, t.to(x.dtype)), plain)


def _triplet(d: Draw) -> Line:
    n, f = d.size(), d.size(3)

    def distance(a: Tensor, b: Tensor) -> Tensor:
        return (a - b + 1e-6).square().sum(1).sqrt()

    return Line(
        dict(a=d.data(n, f), p=d.data(n, f), q=d.data(n, f)),
        lambda a, p, q: functional.triplet_margin_loss(a, p, q, margin=0.5),
        lambda a, p, q: (distance(a, p) - distance(a, q) + 0.5).clamp(min=0).mean(),
    )


def _gaussian_nll(d: Draw) -> Line:
    shape = (d.size(), d.size())
    return Line(
        dict(x=d.data(*shape), t=d.data(*shape), v=d.positive(*shape)),
        lambda x, t, v: functional.gaussian_nll_loss(x, t, v),
        lambda x, t, v: 0.5 * (v.clamp(min=1e-6).log() + (x - t).square() / v.clamp(min=1e-6)).mean(),
    )


def _poisson_nll(d: Draw) -> Line:
    shape = (d.size(), d.size())
    t = d.integers(9, *shape)
    return Line(
        dict(x=d.mild(*shape)),
        lambda x: functional.poisson_nll_loss(x, t.to(x.dtype)),
        lambda x: (x.exp() - t.to(x.dtype) * x).mean(),
    )


def _ctc(d: Draw) -> Line:
    steps, n, c = d.pick(5, 9), d.size(1, 5), d.size(3, 7)
    y = d.integers(c - 1, n, 2) + 1
    lengths = torch.full((n,), steps), torch.full((n,), 2)
    return Line(
        dict(x=d.mild(steps, n, c)),
        lambda x: functional.ctc_loss(x.log_softmax(2), y, *lengths, reduction="sum"),
    )


LOSSES: Family = {
    "cross entropy": _cross_entropy,
    "cross entropy, smoothed": _smoothed_cross_entropy,
    "cross entropy, soft targets": _soft_cross_entropy,
    "cross entropy, weighted": _weighted_cross_entropy,
    "cross entropy of images": _image_cross_entropy,
    "nll_loss": _nll,
    "kl_div": _kl,
    "kl_div of logarithms": _kl_of_logarithms,
    "mse_loss": _of_pairs(functional.mse_loss, lambda x, t: (x - t).square()),
    "l1_loss": _of_pairs(functional.l1_loss, lambda x, t: (x - t).abs()),
    "smooth_l1_loss": _of_pairs(functional.smooth_l1_loss, lambda x, t: _huber(x - t, 1.0)),
    "huber_loss": _of_pairs(functional.huber_loss, lambda x, t: _huber(x - t, 1.0)),
    "binary_cross_entropy": _bce,
    "binary_cross_entropy_with_logits": _bce_with_logits,
    "cosine_embedding_loss": _cosine_embedding,
    "cosine_similarity": _cosine_similarity,
    "hinge_embedding_loss": _hinge_embedding,
    "margin_ranking_loss": _margin_ranking,
    "multi_margin_loss": _multi_margin,
    "soft_margin_loss": _soft_margin,
    "multilabel_soft_margin_loss": _multilabel_soft_margin,
    "triplet_margin_loss": _triplet,
    "gaussian_nll_loss": _gaussian_nll,
    "poisson_nll_loss": _poisson_nll,
    "ctc_loss": _ctc,
}
