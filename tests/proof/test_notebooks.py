"""What strangers' notebooks hold when check(loss, globals()) is called: several experiments, and second formulas."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backproof import check
from backproof.proof.report.rows import Verdict


def draw(*shape: int, seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def centred() -> dict[str, Tensor]:
    """Rows minus their mean, through a cube; the gradient of the mean as the lecture writes it, without keepdim."""
    x = draw(4, 6, seed=1).requires_grad_()
    mean = x.mean(0, keepdim=True)
    off = x - mean
    loss = (off**3).sum()
    with torch.no_grad():
        doff = 3 * off**2
        dmean = -doff.sum(0)
        dx = doff + dmean / 4
    return dict(x=x, mean=mean, off=off, loss=loss, doff=doff, dmean=dmean, dx=dx)


def test_lines_behind_a_lost_dimension_of_one_are_judged() -> None:
    names = centred()
    report = check(names["loss"], names)
    assert [row.name for row in report.culprits] == ["mean"] and report["mean"].verdict is Verdict.SHAPE
    assert report["x"].ok
    report = check(names["loss"], {**names, "dx": names["doff"] - names["dmean"] / 4})
    assert [row.name for row in report.culprits] == ["mean", "x"] and report["x"].cause == "F13"


def test_a_dimension_lost_where_broadcasting_takes_it_for_another_excuses_the_line_behind() -> None:
    x = draw(4, 4, seed=1).requires_grad_()
    total = x.sum(1, keepdim=True)
    loss = (x / total).pow(2).sum()
    with torch.no_grad():
        dtotal = (-2 * x * x / total**3).sum(1)  # [4]: a row where a column belongs
        dx = 2 * x / total**2 + dtotal
    report = check(loss, dict(x=x, total=total, dtotal=dtotal, dx=dx))
    assert [row.name for row in report.culprits] == ["total"]


def test_what_is_left_over_from_another_experiment_is_no_fault() -> None:
    X, W, Y = draw(8, 5, seed=1), draw(5, 4, seed=2).requires_grad_(), torch.arange(8) % 4
    odds = (X @ W).exp()
    share = odds / odds.sum(1, keepdim=True)
    left_over = dict(odds=odds, share=share, dodds=torch.ones(8, 4), dshare=torch.ones(8, 4))
    logits = X @ W
    loss = functional.cross_entropy(logits, Y)
    dlogits = (logits.softmax(1) - functional.one_hot(Y, 4)).detach() / 8
    names = dict(X=X, W=W, logits=logits, dlogits=dlogits, dW=X.T @ dlogits, **left_over)
    report = check(loss, names)
    assert report.ok and report.proved == 2
    assert set(report.unjudged) == {
        "dshare (the loss was not computed from this share)", "dodds (the loss was not computed from this odds)",
    }  # fmt: skip
    assert not check(loss, {**names, "dlogits": 2 * dlogits}).ok


def test_a_value_computed_once_more_is_no_fault() -> None:
    x = draw(6, seed=1).requires_grad_()
    h = x.sin()
    loss = (h**2).sum()
    dh = 2 * h.detach()
    again = x.sin()
    report = check(loss, dict(x=x, h=again, dh=dh, dx=dh * x.detach().cos()))
    assert report.ok and report.unjudged == ("dh (the loss was not computed from this h)",)


def test_the_gradient_of_another_loss_is_no_fault_of_this_one() -> None:
    x = draw(6, seed=1).requires_grad_()
    h = x.sin()
    loss, penalty = (h**2).sum(), h.abs().sum()
    names = dict(x=x, h=h, loss=loss, penalty=penalty, dh=h.detach().sign(), dx=h.detach().sign() * x.detach().cos())
    assert check(loss, names).unjudged[0] == "dh (it is the gradient of penalty, another output)"
    assert check(penalty, names).proved == 2
    total = loss + penalty  # a gradient that lacks a term of this loss is one of it
    assert [row.name for row in check(total, {**names, "total": total}).culprits] == ["h"]


def softmaxed(n: int = 8) -> tuple[Tensor, dict[str, Tensor]]:
    X, Y = draw(n, 5, seed=1), torch.arange(n) % 4
    W = draw(5, 4, seed=2).requires_grad_()
    logits = X @ W
    logp = logits.log_softmax(1)
    loss = -logp[range(n), Y].mean()
    fused = ((logits.softmax(1) - functional.one_hot(Y, 4)) / n).detach()
    dlogp = torch.zeros(n, 4).index_put((torch.arange(n), Y), torch.tensor(-1 / n))
    return loss, dict(X=X, W=W, logits=logits, logp=logp, dlogp=dlogp, dlogits=fused, dW=X.T @ fused)


def test_a_right_second_formula_is_not_accused_for_the_staged_pass_above_it() -> None:
    loss, names = softmaxed()
    staged = {"dlogp": 8 * names["dlogp"], "dW": 8 * names["dW"]}  # dW is of the first formula, which came of dlogp
    report = check(loss, {**names, **staged, "dlogits": names["dlogits"].clone().mul_(1)})
    assert [(row.name, row.cause) for row in report.culprits] == [("logp", "F8")]
    assert report["logits"].ok and report["W"].inherited_from == ("logp",)


def test_a_wrong_second_formula_has_its_own_cause() -> None:
    loss, names = softmaxed()
    report = check(loss, {**names, "dlogits": (8 * names["dlogits"]).mul_(1)})
    assert [(row.name, row.cause) for row in report.culprits] == [("logits", "F8")]
    assert report["W"].ok


@pytest.mark.parametrize(("wrong", "cause"), [(False, None), (True, "F8")])
def test_a_fused_formula_after_the_staged_pass(wrong: bool, cause: str | None) -> None:
    """Layer normalisation with the unbiased variance, whose last term needs d/(d - 1)."""
    d = 7
    x, weight = draw(5, d, seed=1).requires_grad_(), draw(5, d, seed=2)
    mean = x.sum(1, keepdim=True) / d
    off = x - mean
    square = off**2
    var = square.sum(1, keepdim=True) / (d - 1)
    inv = (var + 1e-5) ** -0.5
    y = off * inv
    loss = (weight * y).sum()
    values = dict(x=x, mean=mean, off=off, square=square, var=var, inv=inv, y=y)
    with torch.no_grad():
        dy = weight.clone()
        dinv = (dy * off).sum(1, keepdim=True)
        dvar = -0.5 * (var + 1e-5) ** -1.5 * dinv
        dsquare = dvar.expand(5, d) / (d - 1)
        doff = dy * inv + 2 * off * dsquare
        dmean = -doff.sum(1, keepdim=True)
        factor = 1.0 if wrong else d / (d - 1)
        dx = inv / d * (d * dy - dy.sum(1, keepdim=True) - factor * y * (dy * y).sum(1, keepdim=True))
    staged = dict(dy=dy, dinv=dinv, dvar=dvar, dsquare=dsquare, doff=doff, dmean=dmean)
    report = check(loss, {**values, **staged, "dx": dx})
    assert [(row.name, row.cause) for row in report.culprits] == ([("x", cause)] if wrong else [])


def test_only_what_was_changed_after_use_is_named() -> None:
    x, w = draw(5, 3, seed=1), draw(3, 4, seed=2).requires_grad_()
    first = x @ w
    first[first < 0] = 0  # before anything has used it
    second = first.exp()
    loss = second.log().sum() + second.sum()
    second.mul_(2)
    report = check(loss, dict(x=x, w=w, first=first, second=second, dfirst=torch.ones(5, 4), dw=torch.ones(3, 4)))
    assert "since second was changed in place" in report["w"].message


def test_a_sum_over_everything_in_numpy_is_a_number_and_judged() -> None:
    x, b = torch.randn(6, 3), torch.randn(3, requires_grad=True)
    z = x + b
    loss = (z**2).sum()
    dz = (2 * z).detach().numpy()
    wrong = check(loss, dict(z=z, b=b, dz=dz, db=dz.sum()))
    assert wrong["b"].culprit and wrong["b"].cause == "F9"
    assert check(loss, dict(z=z, b=b, dz=dz, db=dz.sum(0))).ok
