from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from backproof.proof.check import check
from backproof.proof.graph import passes
from backproof.proof.judge.judge import CannotJudgeError, judge
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Verdict

PUBLISHED = [
    "logprobs",
    "probs",
    "counts_sum_inv",
    "counts_sum",
    "counts",
    "norm_logits",
    "logit_maxes",
    "logits",
    "h",
    "W2",
    "b2",
    "hpreact",
    "bngain",
    "bnbias",
    "bnraw",
    "bnvar_inv",
    "bnvar",
    "bndiff2",
    "bndiff",
    "bnmeani",
    "hprebn",
    "embcat",
    "W1",
    "b1",
    "emb",
    "C",
]


def small(n: int = 8, cells: int = 5, dtype: torch.dtype = torch.float32) -> dict[str, Any]:
    """A layer, tanh and a squared error, with right gradients."""
    g = torch.Generator().manual_seed(0)
    x = torch.randn((n, 3), generator=g).to(dtype)
    W = torch.randn((3, cells), generator=g).to(dtype).requires_grad_()
    b = torch.randn(cells, generator=g).to(dtype).requires_grad_()
    V = torch.randn((cells, 1), generator=g).to(dtype).requires_grad_()
    hpre = x @ W + b
    h = torch.tanh(hpre)
    y = h @ V
    loss = (y**2).mean()
    with torch.no_grad():
        dy = 2 * y / n
        dV = h.T @ dy
        dh = dy @ V.T
        dhpre = (1 - h**2) * dh
        dW = x.T @ dhpre
        db = dhpre.sum(0)
    return dict(
        x=x, W=W, b=b, V=V, hpre=hpre, h=h, y=y, loss=loss, dy=dy, dV=dV, dh=dh, dhpre=dhpre, dW=dW, db=db
    )  # fmt: skip


def checked(names: dict[str, Any], **changes: Any) -> Report:
    return check(names["loss"], {**names, **changes})


def test_the_published_network_is_proved(notebook: Callable[..., dict]) -> None:
    for correction in (1, 0):
        names = notebook(correction=correction)
        report = check(names["loss"], names)
        assert report.ok, report
        assert {row.name for row in report.rows} == set(PUBLISHED)
        exact = {row.name for row in report.rows if row.exact}
        assert set(PUBLISHED[:11]) <= exact
        assert (report["hpreact"].max_difference or 0) < 1e-9


def test_the_known_rounding_of_tanh_is_explained_in_a_line(notebook: Callable[..., dict]) -> None:
    names = notebook()
    row = check(names["loss"], names)["hpreact"]
    if row.exact:
        pytest.skip("this processor has no fused multiply-add")
    assert row.verdict is Verdict.ROUNDING
    assert row.message == (
        "dhpreact differs by a fused multiply-add: PyTorch rounds dh*(1 - h*h) once less than you can."
    )


def test_nothing_is_left_behind(notebook: Callable[..., dict]) -> None:
    names = notebook()
    tensors = {name: value for name, value in names.items() if isinstance(value, Tensor)}
    names["h"].retain_grad()
    names["loss"].backward(retain_graph=True)
    grads = {name: value.grad for name, value in tensors.items() if value.is_leaf or value.retains_grad}
    copies = {name: value.detach().clone() for name, value in tensors.items()}
    versions = {name: value._version for name, value in tensors.items()}
    grad_copies = {name: grad.clone() for name, grad in grads.items() if grad is not None}
    torch.manual_seed(5)
    drawn = torch.get_rng_state()
    check(names["loss"], {**names, "dbndiff": names["dbndiff"] * 2})
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, value in tensors.items():
        assert torch.equal(value.detach(), copies[name]) and value._version == versions[name]
        assert not value._backward_hooks
    for name, grad in grads.items():
        now = tensors[name].grad
        assert now is grad
        assert grad is None or torch.equal(grad, grad_copies[name])
    again = torch.autograd.grad(names["loss"], names["C"])[0]  # the graph can still be used, for the last time
    assert torch.equal(again, grad_copies["C"])


def test_a_check_makes_a_fixed_number_of_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that its cost grows as the graph does."""
    from backproof.proof.verdict import yardstick as scale

    counts = []
    for length in (5, 60):
        calls = []
        own = passes.run

        def counted(*args: Any, _own: Callable = own, _calls: list = calls, **kwargs: Any) -> Any:
            _calls.append(1)
            return _own(*args, **kwargs)

        monkeypatch.setattr(passes, "run", counted)
        monkeypatch.setattr(scale, "run", counted)
        x = torch.randn(3, 4, requires_grad=True)
        values, gradients = {"x0": x}, {}
        for i in range(length):
            values[f"x{i + 1}"] = values[f"x{i}"] * 1.5
        for i in range(length + 1):
            gradients[f"dx{i}"] = torch.full_like(x, 1.5 ** (length - i)).detach()
        assert check(values[f"x{length}"].sum(), values | gradients).ok
        counts.append(len(calls))
        monkeypatch.undo()
    assert max(counts) <= 6  # of which one measures the rounding, along a long way


def test_loss_of_any_shape_with_upstream() -> None:
    names = small()
    upstream = names["dy"]
    names.pop("loss")
    assert check(names["y"], names, upstream=upstream).ok
    assert not check(names["y"], names, upstream=2 * upstream).ok


def test_prefix_suffix_and_pairs() -> None:
    names = small()
    gradients = {name: names.pop(name) for name in list(names) if name.startswith("d")}
    renamed = {f"grad_{name[1:]}": gradient for name, gradient in gradients.items()}
    assert len(check(names["loss"], names | renamed, prefix="grad_").rows) == 6
    renamed = {f"{name[1:]}_bar": gradient for name, gradient in gradients.items()}
    report = check(names["loss"], names | renamed, prefix="", suffix="_bar")
    assert len(report.rows) == 6 and report["W"].gradient == "W_bar"
    report = check(names["loss"], names | {"mine": gradients["dW"]}, pairs={"W": "mine", "b": gradients["db"]})
    assert report.ok and {row.name for row in report.rows} == {"W", "b"}
    report = check(names["loss"], names, pairs={"layer.weight": (names["W"], gradients["dW"] * 2)})
    assert [row.name for row in report.culprits] == ["layer.weight"]


def test_gradients_may_hang_on_a_graph_of_their_own() -> None:
    names = small()
    with_graph = (names["dhpre"].clone().requires_grad_() * 1).sum(0)
    assert checked(names, db=with_graph, dW=names["dW"].clone().requires_grad_()).ok


def test_a_forward_value_that_is_called_like_a_gradient_is_not_one() -> None:
    x = torch.randn(4, requires_grad=True)
    x0 = torch.randn(4)
    dx = x - x0
    loss = (dx**2).sum()
    ddx = (2 * dx).detach()
    report = check(loss, dict(x=x, dx=dx, ddx=ddx, loss=loss))
    assert report.ok and [row.name for row in report.rows] == ["dx"]


def refused(loss: Any, names: dict[str, Any], **options: Any) -> str:
    with pytest.raises(CannotJudgeError) as caught:
        check(loss, names, **options)
    return str(caught.value)


def test_what_cannot_be_judged_at_all_is_refused_with_the_way_out() -> None:
    names = small()
    y, loss = names["y"], names["loss"]
    assert "pass upstream=" in refused(y, names)
    assert "upstream has shape [3]" in refused(y, names, upstream=torch.ones(3))
    assert "before .item()" in refused(loss.item(), names)
    assert "has no graph" in refused(loss.detach(), names)
    with torch.no_grad():
        assert "has no graph" in refused((y**2).mean(), names)
    assert "cannot both be empty" in refused(loss, names, prefix="")
    assert "pass locals()" in refused(loss, {"n": 3})
    bare = {name: value for name, value in names.items() if not name.startswith("d")}
    assert "nothing is called dW, d_W, grad_W or W_grad where W is a tensor" in refused(loss, bare)
    assert "there is no gone" in refused(loss, names, pairs={"W": "gone"})
    assert "a tensor is needed" in refused(loss, names, pairs={"W": (names["W"], 3)})
    loss.backward()
    for value in names.values():
        if value.is_leaf:
            value.grad = None
    assert "loss.backward(retain_graph=True)" in refused(loss, names)


def test_names_without_a_tensor_are_remarked_on() -> None:
    names = small()
    report = checked(names, dhpree=torch.ones(3), dtemp=torch.ones(2), dW=3.0)
    assert report.ok
    assert report.unjudged == (
        "dW (a float and not a tensor)", "dhpree (is hpre meant?)", "dtemp (there is no tensor temp)",
    )  # fmt: skip
    assert report.open == ("W",)
    report = check(names["loss"], names, pairs={"gone": "dW"})
    assert report["gone"].message == "dW has no value: there is no tensor called gone."
    assert report["gone"].culprit


def test_a_number_may_be_the_gradient_of_a_number() -> None:
    assert checked(small(), dloss=1.0)["loss"].verdict is Verdict.EXACT
    report = checked(small(), dloss=2.0)  # a helper of the author's: nobody needs it
    assert report.ok and report.unjudged[0].startswith("dloss (the gradient of the loss is 1")
    names = small()
    twice = {name: 2 * names[name] for name in names if name in ("dy", "dh", "dhpre", "dW", "db", "dV")}
    assert [row.name for row in checked(names, dloss=2.0, **twice).culprits] == ["loss"]


def test_values_without_a_graph_are_not_judged_and_the_others_are() -> None:
    names = small()
    report = checked(names, dx=names["dhpre"] @ names["W"].detach().T)
    assert report["x"].verdict is Verdict.UNREACHABLE and not report["x"].culprit
    assert "x has no graph" in report["x"].message and "x.requires_grad_()" in report["x"].message
    assert sum(row.ok for row in report.rows) == 6


def test_a_missing_gradient_is_a_culprit() -> None:
    report = checked(small(), dW=None)
    assert report["W"].verdict is Verdict.MISSING and report["W"].cause == "F4"
    assert report["W"].message.splitlines()[-1] == "  next: compute it from hpre = (x @ W) + b"
    assert [row.name for row in report.culprits] == ["W"]


def test_dtype_is_strict_and_the_numbers_are_judged_all_the_same() -> None:
    names = small()
    wide = checked(names, dW=names["dW"].double())["W"]
    assert wide.verdict is Verdict.DTYPE and wide.culprit and wide.cause is None
    assert "dW has dtype float64, and W has float32" in wide.message and "right as far" in wide.message
    low = checked(names, dW=names["dW"].bfloat16())["W"]
    assert low.verdict is Verdict.DTYPE and low.cause == "F5"
    whole = checked(names, dW=(100 * names["dW"]).long())["W"]
    assert whole.verdict is Verdict.DTYPE and "wrong as well" in whole.message


def test_a_gradient_on_another_device() -> None:
    names = small()
    report = checked(names, dW=names["dW"].to("meta"))
    assert report["W"].verdict is Verdict.DTYPE and report["W"].culprit
    assert "dW is on meta, and W on cpu" in report["W"].message
    assert report["b"].ok


def test_sparse_complex_integer_and_empty_tensors() -> None:
    names = small()
    z = torch.randn(3, dtype=torch.complex64, requires_grad=True)
    empty = torch.zeros((0, 3), requires_grad=True)
    counts = torch.arange(3)
    loss = names["loss"] + (z.abs() ** 2).sum() + empty.sum()
    more = dict(z=z, dz=2 * z.detach(), empty=empty, dempty=torch.zeros((0, 3)), counts=counts, dcounts=torch.ones(3))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report = check(loss, {**names, **more, "dW": names["dW"].to_sparse(), "loss": loss})
    assert "z is complex" in report["z"].message and report["z"].verdict is Verdict.NOT_TESTABLE
    assert "no number to compare" in report["empty"].message
    assert "integers have no gradient" in report["counts"].message
    assert report["W"].ok and report["b"].ok
    assert not report.culprits


def test_a_sparse_gradient_of_autograds_own() -> None:
    E = torch.randn(10, 3, requires_grad=True)
    ix = torch.tensor([1, 1, 4])
    e = functional.embedding(ix, E, sparse=True)
    loss = (e**2).sum()
    de = 2 * e.detach()
    assert check(loss, dict(E=E, e=e, de=de, dE=torch.zeros(10, 3).index_add(0, ix, de))).ok
    wrong = check(loss, dict(E=E, e=e, de=de, dE=torch.zeros(10, 3).index_copy(0, ix, de)))
    assert wrong["E"].cause == "F11"


def test_shapes_are_compared_strictly() -> None:
    names = small()
    row = checked(names, db=names["db"][None])["b"]
    assert row.verdict is Verdict.SHAPE and row.cause == "F9" and row.culprit
    assert "a comparison that broadcasts does not see it" in row.message
    assert (row.exact, row.approximate, row.max_difference) == (False, False, None)


def test_what_follows_from_a_wrong_shape_is_not_blamed() -> None:
    x = torch.randn(6, 4, requires_grad=True)
    m = x.mean(1, keepdim=True)
    d = x - m
    loss = (d**3).sum()
    dd = (3 * d**2).detach()
    dm = -dd  # not summed
    dx = dd + dm / 4
    report = check(loss, dict(x=x, m=m, d=d, dd=dd, dm=dm, dx=dx))
    assert [row.name for row in report.culprits] == ["m"]
    assert report["x"].verdict is Verdict.INHERITED and report["x"].inherited_from == ("m",)


def test_two_names_of_one_tensor() -> None:
    names = small()
    assert checked(names, also=names["h"], dalso=names["dh"]).ok
    report = checked(names, also=names["h"], dalso=2 * names["dh"])
    assert [row.name for row in report.culprits] == ["also"]
    report = checked(names, also=names["h"], dalso=names["dh"], dh=3 * names["dh"])
    assert [row.name for row in report.culprits] == ["h"]  # the right one is handed on, whichever comes first


def test_a_second_name_for_one_branch_of_a_tensor() -> None:
    x = torch.randn(5, requires_grad=True)
    skip = x
    f = x**3
    loss = ((f + skip) * torch.arange(5.0)).sum()
    up = torch.arange(5.0)
    dx = (3 * x**2 * up + up).detach()
    names = dict(x=x, skip=skip, f=f, df=up, dx=dx, dskip=up)
    report = check(loss, names)
    assert report["skip"].verdict is Verdict.NOT_TESTABLE
    assert "skip and x are one tensor" in report["skip"].message
    assert not report.culprits


def test_values_changed_in_place() -> None:
    names = small()
    names["hpre"].mul_(2)  # nobody saved it: only its own gradient is out of reach
    report = checked(names)
    assert report["hpre"].verdict is Verdict.UNREACHABLE and report["hpre"].cause == "F3"
    assert "hpre was changed in place after it was used" in report["hpre"].message
    assert report["W"].ok and report["h"].ok
    names = small()
    names["h"].mul_(2)  # tanh and the product had saved it
    report = checked(names)
    assert report["y"].ok
    for name in ("V", "hpre", "W", "b"):
        assert report[name].verdict is Verdict.NOT_TESTABLE and report[name].cause == "F3"
        assert "h was changed in place after the forward pass had used it" in report[name].message
    assert not report.ok


def test_a_gradient_changed_in_place_after_it_was_used() -> None:
    names = small()
    names["dh"].mul_(3)
    report = checked(names)
    assert {row.name: row.cause for row in report.culprits} == {"h": "F3"}
    assert "dhpre was computed from the right dh, before the change" in report["h"].message
    assert report["hpre"].ok


def test_a_line_that_is_right_all_the_same_is_not_accused() -> None:
    names = small()
    report = checked(names, dh=-names["dh"])
    assert {row.name: row.cause for row in report.culprits} == {"h": "F13"}
    assert report["hpre"].ok and report["W"].ok


def test_a_gradient_computed_without_the_wrong_one_is_not_accused() -> None:
    """dz collapsed from logits to loss is right, whatever is wrong with the steps it does not use."""
    z = torch.randn(6, 4, requires_grad=True)
    p = z.softmax(1)
    logp = p.log()
    y = torch.tensor([0, 1, 2, 3, 0, 1])
    loss = -logp[range(6), y].mean()
    dlogp = torch.zeros(6, 4).index_put((torch.arange(6), y), torch.tensor(-1 / 6))
    dp = (dlogp / p).detach() * torch.rand(6, 4)
    dz = (p.detach() - functional.one_hot(y, 4)) / 6
    report = check(loss, dict(z=z, p=p, logp=logp, dlogp=dlogp, dp=dp, dz=dz))
    assert [row.name for row in report.culprits] == ["p"]
    assert report["z"].ok


def test_not_a_number_is_traced_to_where_it_appears() -> None:
    names = small()
    bad = names["dhpre"].clone()
    bad[3, 2] = float("nan")
    report = checked(names, dhpre=bad, dW=names["x"].T @ bad, db=bad.sum(0))
    assert {row.name: row.cause for row in report.culprits} == {"hpre": "F17"}
    assert "first at [3, 2]: got nan" in report["hpre"].message
    assert report["W"].inherited_from == report["b"].inherited_from == ("hpre",)


def test_a_forward_pass_that_is_not_finite_is_not_held_against_the_gradient() -> None:
    a = torch.tensor([1.0, 0.0, 2.0], requires_grad=True)
    l = a.log()  # noqa: E741
    s = l * 0
    report = check(s.sum(), dict(a=a, l=l, s=s, ds=torch.ones(3), dl=torch.zeros(3), da=0 / a.detach()))
    assert report["a"].verdict is Verdict.NOT_FINITE and not report["a"].culprit
    assert "the forward pass is not, from l on" in report["a"].message


def test_a_zero_proves_nothing(notebook: Callable[..., dict]) -> None:
    names = notebook()
    zero = torch.zeros_like(names["dlogit_maxes"])
    report = check(names["loss"], {**names, "dlogit_maxes": zero})
    assert report["logit_maxes"].verdict is Verdict.NOT_TESTABLE
    assert "all its terms cancel" in report["logit_maxes"].message
    x = torch.full((4,), -1.0, requires_grad=True)
    r = torch.relu(x)
    report = check((r * 2).sum(), dict(x=x, r=r, dr=torch.full((4,), 2.0), dx=torch.zeros(4)))
    assert report["x"].verdict is Verdict.NOT_TESTABLE and "a zero proves nothing" in report["x"].message
    assert report["x"].exact and report.ok


def test_rounding_left_of_a_zero_has_a_fingerprint(notebook: Callable[..., dict]) -> None:
    names = notebook()
    assert check(names["loss"], names)["logit_maxes"].verdict is Verdict.EXACT
    report = check(names["loss"], {**names, "dlogit_maxes": -names["dlogit_maxes"]})
    assert report["logit_maxes"].cause == "F13"


def test_values_nobody_reads(notebook: Callable[..., dict]) -> None:
    """tanh applied to the value before batch normalisation, as in the published variant."""
    names = notebook(("h = torch.tanh(hpreact)", "h = torch.tanh(hprebn)"), correction=0, hidden=200)
    report = check(names["loss"], names)
    assert report["hpreact"].verdict is Verdict.UNREACHABLE
    assert {row.name: row.cause for row in report.culprits} == {"hpreact": "F4", "hprebn": "F4"}
    assert "should read hpreact in place of hprebn" in report["hpreact"].message
    assert "your dhpreact is what h would send back if it read hpreact" in report["hpreact"].message
    for name in ("bngain", "bnbias", "bnmeani"):
        assert report[name].verdict is Verdict.UNREACHABLE and report[name].inherited_from == ("hpreact",)
    assert "it is what comes back through" in report["hprebn"].message


def test_a_zero_gradient_of_a_value_nobody_reads_is_right() -> None:
    names = small()
    unused = names["h"] * 2
    report = checked(names, unused=unused, dunused=torch.zeros_like(unused))
    assert report.ok and report["unused"].verdict is Verdict.NOT_TESTABLE


def test_a_loss_from_another_run_is_noticed() -> None:
    report = check(small()["loss"], {k: v for k, v in small().items() if k != "loss"})
    assert "does it come from another run of the forward pass?" in report.notes[0]
    assert not report.ok


def test_judge_takes_any_names() -> None:
    names = small()
    values = {"layer 1/weight": names["W"], "out": names["y"]}
    report = judge(values, {"layer 1/weight": names["dW"]}, names["loss"], label=lambda name: f"grad of {name}")
    assert report["layer 1/weight"].gradient == "grad of layer 1/weight" and report.ok


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_other_dtypes(dtype: torch.dtype) -> None:
    names = small(dtype=dtype)
    assert checked(names).ok
    report = checked(names, dV=0.7 * names["dV"])
    assert [row.name for row in report.culprits] == ["V"]


def test_messages_fit_a_terminal(notebook: Callable[..., dict]) -> None:
    names = notebook(("dbndiff += (2 * bndiff) * dbndiff2", "pass"))
    text = str(check(names["loss"], names))
    assert max(map(len, text.splitlines())) <= 80
    assert re.search(r"dbndiff is wrong: the share that comes back through bndiff2 is missing\.", text)
    assert "mend: add what flows back from dbndiff2 through bndiff2 = bndiff**2" in text


@pytest.mark.parametrize(
    ("loss", "namespace", "options", "said"),
    [
        ("l", [1], {}, "namespace must map names to tensors, as locals() does; it is a list"),
        ({}, "l", {}, "the loss comes first"),
        ("l", {}, {"prefix": 3}, "prefix and suffix must be strings"),
        ("l", {}, {"pairs": ["w"]}, "pairs must map the name of each value"),
        ("l", {}, {"pairs": {"w": ("w",)}}, "pairs gives 1 things for w"),
        ("l", {"dw": torch.ones(3)}, {"upstream": 1.0}, "upstream must be a tensor with numbers"),
    ],
)
def test_a_call_that_is_no_question_is_refused(loss: Any, namespace: Any, options: dict, said: str) -> None:
    w = torch.randn(3, requires_grad=True)
    real = (w * w).sum()
    given = [real if one == "l" else one for one in (loss, namespace)]
    if isinstance(given[1], dict):
        given[1] |= {"w": w}
    with pytest.raises(CannotJudgeError, match=re.escape(said)):
        check(*given, **options)  # pyright: ignore[reportArgumentType]


def test_graphs_that_cannot_be_walked_back_are_refused() -> None:
    w = torch.randn(3, requires_grad=True)
    names = {"w": w, "dw": 2 * w.detach()}
    with torch.inference_mode(), pytest.raises(CannotJudgeError, match="inference mode keeps no graph"):
        check((w * w).sum(), names)
    recomputed = checkpoint(lambda x: x * x, w, use_reentrant=True)
    assert isinstance(recomputed, Tensor)
    with pytest.raises(CannotJudgeError, match="use_reentrant=False"):
        check(recomputed.sum(), names)
    meta = torch.randn(3, device="meta", requires_grad=True)
    with pytest.raises(CannotJudgeError, match="holds no numbers"):
        check((meta * meta).sum(), {"w": w, "dw": w.detach()})


def test_a_leaf_of_a_tensor_subclass() -> None:
    class Named(torch.Tensor):
        pass

    x = torch.randn(3).as_subclass(Named).requires_grad_()
    y = x * 2
    assert check((y * y).sum(), {"x": x, "y": y, "dy": 2 * y.detach(), "dx": 4 * y.detach()}).ok


def test_autocast_where_the_check_stands_does_not_change_the_graph() -> None:
    a, b = torch.randn(4, 3), torch.randn(3, 2, requires_grad=True)
    y = a @ b
    names = {"a": a, "b": b, "y": y, "dy": 2 * y.detach(), "db": a.T @ (2 * y.detach())}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        report = check((y**2).sum(), names)
    assert report["b"].exact


def test_a_sparse_leaf_is_not_judged_and_the_rest_is() -> None:
    w = torch.randn(3, 2, requires_grad=True)
    x = torch.randn(4, 3).to_sparse().requires_grad_()
    y = torch.sparse.mm(x, w)
    dy = 2 * y.detach()
    names = {"x": x, "w": w, "y": y, "dy": dy, "dw": x.detach().to_dense().T @ dy, "dx": dy @ w.detach().T}
    report = check((y**2).sum(), names)
    assert report.ok
    assert report["x"].verdict is Verdict.NOT_TESTABLE


def test_where_autograd_has_no_number_there_is_no_difference() -> None:
    x = torch.tensor([0.0, 1.0], requires_grad=True)
    y = (x * 0).sqrt()
    report = check(y.sum(), {"x": x, "y": y, "dy": torch.ones(2), "dx": torch.full((2,), math.nan)})
    assert report["x"].max_difference is None
