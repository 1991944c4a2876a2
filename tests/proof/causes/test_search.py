"""Networks unlike the examples: fused kernels, an unrolled recurrence, several heads, lines of several steps.

Each wrong line must be found alone, and its cause be one that is fair to name. "unknown" is a right answer where
several faults would look alike; where it is the only one, any name would be a guess.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backproof.proof.check import check
from backproof.proof.report.report import Report

NETWORKS: dict[str, tuple[str, str]] = {}
FAULTS: dict[str, list[tuple[str, str, str]]] = {}  # wrong line, value at fault, fair causes

NETWORKS["normalised in one line"] = (
    """
x = torch.randn(12, 7); t = torch.randint(5, (12,)); W = leaf(7, 5, s=0.5); g = leaf(5, s=0.2, o=1); e = leaf(5, s=0.2)
z = x @ W
xh = (z - z.mean(0)) / (z.var(0, unbiased=True) + 1e-5).sqrt()
y = g * xh + e
loss = F.cross_entropy(y, t)
""",
    """
n = 12
dy = (F.softmax(y, 1) - F.one_hot(t, 5)) / n
dg = (dy * xh).sum(0)
de = dy.sum(0)
dxh = dy * g
dz = (z.var(0) + 1e-5) ** -0.5 / n * (n * dxh - dxh.sum(0) - n / (n - 1) * xh * (dxh * xh).sum(0))
dW = x.T @ dz
""",
)
FAULTS["normalised in one line"] = [
    ("dy = F.softmax(y, 1) - F.one_hot(t, 5)", "y", "F8"),
    ("dy = F.softmax(y, 1) / n", "y", "F6"),
    ("dy = (F.one_hot(t, 5) - F.softmax(y, 1)) / n", "y", "F13"),
    ("dz = (z.var(0) + 1e-5) ** -0.5 / n * (n * dxh - dxh.sum(0) - xh * (dxh * xh).sum(0))", "z", "F8 F14"),
    ("dz = (z.var(0) + 1e-5) ** -0.5 * dxh", "z", "F6"),
    ("dz = (z.var(0) + 1e-5) ** -0.5 / n * (n * dxh - n / (n - 1) * xh * (dxh * xh).sum(0))", "z", "F6"),
    ("dg = (dy * z).sum(0)", "g", "F14"),
]

NETWORKS["recurrence"] = (
    """
x = torch.randn(6, 4, 3); Wx = leaf(3, 5, s=0.5); Wh = leaf(5, 5, s=0.5); b = leaf(5, s=0.3); h0 = leaf(4, 5, s=0.5)
target = torch.randn(4, 5)
h1 = torch.tanh(x[0] @ Wx + h0 @ Wh + b)
h2 = torch.tanh(x[1] @ Wx + h1 @ Wh + b)
h3 = torch.tanh(x[2] @ Wx + h2 @ Wh + b)
loss = ((h3 - target) ** 2).mean()
""",
    """
dh3 = 2 * (h3 - target) / 20
a3 = (1 - h3**2) * dh3
dh2 = a3 @ Wh.T
a2 = (1 - h2**2) * dh2
dh1 = a2 @ Wh.T
a1 = (1 - h1**2) * dh1
dh0 = a1 @ Wh.T
dWx = x[0].T @ a1 + x[1].T @ a2 + x[2].T @ a3
dWh = h0.T @ a1 + h1.T @ a2 + h2.T @ a3
db = (a1 + a2 + a3).sum(0)
""",
)
FAULTS["recurrence"] = [
    ("dWx = x[1].T @ a2 + x[2].T @ a3", "Wx", "F6"),
    ("dWh = h0.T @ a1 + h1.T @ a2 + h3.T @ a3", "Wh", "F14"),
    ("dWh = h0.T @ a1 + h1.T @ a2 + h2.T @ dh3", "Wh", "F16"),
    ("db = (a1 + a2 + a3 + a3).sum(0)", "b", "F6"),
    ("db = a3.sum(0)", "b", "F6"),
    ("dh2 = a3 @ Wh", "h2", "F10"),
    ("dh3 = 2 * (h3 - target)", "h3", "F8"),
    ("dh3 = (h3 - target) / 20", "h3", "F12"),
    ("dh1 = dh2 @ Wh.T", "h1", "F16"),
    ("dh0 = torch.zeros(4, 5)", "h0", "F4"),
]

NETWORKS["fused layer normalisation"] = (
    """
x = leaf(6, 9); w = leaf(9, s=0.2, o=1); b = leaf(9, s=0.2); V = leaf(9, 4, s=0.4)
y = F.layer_norm(x, (9,), w, b)
u = F.gelu(y)
o = u @ V
loss = (o**3).sum()
""",
    """
do = 3 * o**2
du = do @ V.T
dV = u.T @ do
pdf = torch.exp(-y**2 / 2) / (2 * torch.pi) ** 0.5
cdf = 0.5 * (1 + torch.erf(y / 2**0.5))
dy = du * (cdf + y * pdf)
rstd = (x.var(1, keepdim=True, unbiased=False) + 1e-5) ** -0.5
xh = (x - x.mean(1, keepdim=True)) * rstd
dw = (dy * xh).sum(0)
db = dy.sum(0)
dx = rstd * (dy * w - (dy * w).mean(1, keepdim=True) - xh * (dy * w * xh).mean(1, keepdim=True))
""",
)
FAULTS["fused layer normalisation"] = [
    ("dx = rstd * (dy * w - xh * (dy * w * xh).mean(1, keepdim=True))", "x", "F6"),
    ("dx = rstd * (dy * w - (dy * w).mean(1, keepdim=True))", "x", "F6"),
    ("dx = rstd * dy * w", "x", "F6"),
    ("dx = rstd * (dy * w - (dy * w).mean(1, keepdim=True) - xh * (dy * w * xh).sum(1, keepdim=True) / 8)", "x", "F8"),
    ("dw = (dy * y).sum(0)", "w", "F14"),
    ("dy = du * cdf", "y", "F6"),
    ("dy = du * (cdf - y * pdf)", "y", "F13"),
    ("do = o**2", "o", "F12"),
    ("do = 3 * o", "o", "F14"),
    ("dV = u.T @ do; dV[-1] = 0", "V", "F7"),
    ("db = dy[:-1].sum(0)", "b", "F7"),
    ("db = dy[::2].sum(0)", "b", "F7"),
]

NETWORKS["two heads"] = (
    """
B, T, C, H = 2, 5, 8, 2
x = leaf(B, T, C); Wqkv = leaf(C, 3 * C, s=0.4); Wo = leaf(C, C, s=0.4)
qkv = x @ Wqkv
q, k, v = [a.view(B, T, H, C // H).transpose(1, 2) for a in qkv.split(C, 2)]
att = (q @ k.transpose(-2, -1)) * (C // H) ** -0.5
p = att.softmax(-1)
y = p @ v
yc = y.transpose(1, 2).reshape(B, T, C)
out = yc @ Wo
loss = (out * torch.linspace(-1, 1, B * T * C).view(B, T, C)).sum()
""",
    """
dout = torch.linspace(-1, 1, B * T * C).view(B, T, C)
dyc = dout @ Wo.T
dWo = yc.reshape(-1, C).T @ dout.reshape(-1, C)
dy = dyc.view(B, T, H, C // H).transpose(1, 2)
dp = dy @ v.transpose(-2, -1)
dv = p.transpose(-2, -1) @ dy
datt = p * (dp - (dp * p).sum(-1, keepdim=True))
dq = datt @ k * (C // H) ** -0.5
dk = datt.transpose(-2, -1) @ q * (C // H) ** -0.5
dqkv = torch.cat([a.transpose(1, 2).reshape(B, T, C) for a in (dq, dk, dv)], 2)
dWqkv = (x.transpose(1, 2) @ dqkv).sum(0)
dx = dqkv @ Wqkv.T
""",
)
FAULTS["two heads"] = [
    ("dy = dyc.view(B, H, T, C // H)", "y", "F10"),
    ("dq = datt @ k", "q", "F12"),
    ("dk = datt @ q * (C // H) ** -0.5", "k", "F10"),
    ("dv = p @ dy", "v", "F10"),
    ("dqkv = torch.cat([a.transpose(1, 2).reshape(B, T, C) for a in (dk, dq, dv)], 2)", "qkv", "F10"),
    ("datt = p * (dp - (dp * p).sum())", "att", "F9"),
    ("datt = p * dp * (1 - p)", "att", "F14"),
    ("dWqkv = x[0].T @ dqkv[0]", "Wqkv", "F7"),
    ("dWo = yc.reshape(-1, C).T @ dyc.reshape(-1, C)", "Wo", "F15"),
    ("dWo = dout.reshape(-1, C).T @ yc.reshape(-1, C)", "Wo", "F10"),
    ("dx = dqkv @ Wqkv.T; dx[1] = 0", "x", "F7"),
]

NETWORKS["several steps a line"] = (
    """
a = leaf(8, 6); b = leaf(6); c = leaf(8, 1); E = leaf(6, 6)
index = torch.tensor([0, 2, 2, 1, 0, 5, 5, 5]); M = (torch.rand(8, 6) > 0.3).float() / 0.7
e = E[index]
s = torch.sigmoid(a * b + c)
d = s * M
r = torch.relu(d - 0.4) * e
q = r.sum(1)
l = torch.log1p(q.abs())
loss = l.mean() + 0.1 * (e**2).sum()
""",
    """
n = 8
dl = torch.full((8,), 1 / n)
dq = dl * torch.sign(q) / (1 + q.abs())
dr = dq[:, None].expand(8, 6)
dd = dr * e * (d > 0.4)
ds = dd * M
de = dr * torch.relu(d - 0.4) + 0.2 * e
dE = torch.zeros(6, 6).index_add(0, index, de)
da = s * (1 - s) * ds * b
db = (s * (1 - s) * ds * a).sum(0)
dc = (s * (1 - s) * ds).sum(1, keepdim=True)
""",
)
FAULTS["several steps a line"] = [
    ("ds = dd", "s", "F16"),
    ("dd = dr * e", "d", "F16"),
    ("de = dr * torch.relu(d - 0.4)", "e", "F6"),
    ("de = dr * torch.relu(d - 0.4) + 0.1 * e", "e", "F12 F14"),
    ("dE = torch.zeros(6, 6).index_copy(0, index, de)", "E", "F11"),
    ("dE = torch.zeros(6, 6); dE[index] += de", "E", "F11"),
    ("da = s * ds * b", "a", "F14"),
    ("da = (1 - s) * ds * b", "a", "F14 F16"),
    ("da = s * (1 - s) * ds", "a", "F16"),
    ("da = (1 - s**2) * ds * b", "a", "F14"),
    ("db = (s * (1 - s) * ds).sum(0)", "b", "F16"),
    ("db = (s * (1 - s) * ds * a).mean(0)", "b", "F8"),
    ("dc = s * (1 - s) * ds", "c", "F9"),
    ("dc = (s * (1 - s) * ds).sum(1)", "c", "F9"),
    ("dc = (s * (1 - s) * ds).sum(0, keepdim=True)", "c", "F9"),
    ("dq = dl * torch.sign(q)", "q", "F14 F16"),
    ("dl = torch.ones(8)", "l", "F8"),
    ("dl = torch.full((8,), 1 / 6)", "l", "F8"),
    ("dl = torch.full((8,), 1 / n) * 1.001", "l", "F12"),
    ("db = (s * (1 - s) * ds * a).sum(0).bfloat16().float()", "b", "F5"),
    ("db = (s * (1 - s) * ds * a).sum(0) * (1 + 1e-3 * torch.randn(6))", "b", "unknown"),
    ("da = s * (1 - s) * ds * b; da[3, 1] *= 1.05", "a", "unknown"),
    ("da = s * (1 - s) * ds * b + 1e-3 * torch.randn(8, 6)", "a", "unknown"),
    ("db = torch.randn(6)", "b", "unknown"),
    ("dE = torch.randn(6, 6)", "E", "unknown"),
    ("de = torch.ones(8, 6)", "e", "unknown"),
]


def leaf(*shape: int, s: float = 1.0, o: float = 0.0) -> Tensor:
    return (torch.randn(*shape) * s + o).requires_grad_()


def judged(network: str, wrong: str | None = None) -> Report:
    forward, backward = NETWORKS[network]
    torch.manual_seed(5)
    names: dict[str, Any] = dict(torch=torch, F=functional, leaf=leaf)
    exec(forward, names)
    lines = backward.strip().splitlines()
    if wrong is not None:
        left = wrong.split(" = ")[0]
        assert sum(line.split(" = ")[0] == left for line in lines) == 1
        lines = [wrong if line.split(" = ")[0] == left else line for line in lines]
    loose = {name: value.detach() if isinstance(value, Tensor) else value for name, value in names.items()}
    exec("\n".join(lines), loose)
    found = {name: value for name, value in (loose | names).items() if isinstance(value, Tensor)}
    return check(names["loss"], found)


@pytest.mark.parametrize("network", NETWORKS)
def test_right_lines_are_not_accused(network: str) -> None:
    report = judged(network)
    assert report.ok, report


@pytest.mark.parametrize(
    ("network", "wrong", "value", "causes"),
    [
        pytest.param(network, *fault, id=f"{network}: {fault[0]}")
        for network, faults in FAULTS.items()
        for fault in faults
    ],
)
def test_a_wrong_line_is_found_and_its_cause_named(network: str, wrong: str, value: str, causes: str) -> None:
    report = judged(network, wrong)
    assert [row.name for row in report.culprits] == [value], report
    assert (report[value].cause or "unknown") in causes.split(), report


def message(network: str, wrong: str, value: str) -> str:
    return judged(network, wrong)[value].message


def test_an_unknown_cause_is_said_to_be_unknown() -> None:
    text = message("several steps a line", "da = s * (1 - s) * ds * b; da[3, 1] *= 1.05", "a")
    assert text.startswith("da is wrong: cause unknown.")
    assert "1 of 48 elements are wrong, all at index 3 of dimension 0" in text
    assert "follow what comes back through s = sigmoid((a * b) + c), for one element, such as [3, 1]" in text


def test_messages_name_value_line_cause_evidence_and_next_step() -> None:
    first, *rest = message("recurrence", "db = (a1 + a2 + a3 + a3).sum(0)", "b").splitlines()
    assert first == "db is wrong: the share that comes back through h3 is counted twice."
    assert "b is read by h3, h2 and h1" in rest[0]
    assert rest[1].startswith("  largest difference")
    assert rest[2].startswith("  mend: add what flows back from dh3 through h3 = tanh(")


@pytest.mark.parametrize(
    ("network", "wrong", "value", "words"),
    [
        ("two heads", "dv = p @ dy", "v", "it is made as p @ dy, with a factor transposed"),
        ("two heads", "datt = p * (dp - (dp * p).sum())", "att", "the inner sum runs over everything"),
        ("recurrence", "dh3 = 2 * (h3 - target)", "h3", "n = 20 is dimensions 0 and 1 of h3 together: 1/n is missing"),
        ("several steps a line", "ds = dd", "s", "the derivative of d = s * M is left out"),
        ("several steps a line", "db = (s * (1 - s) * ds).sum(0)", "b", "is left out"),
        ("several steps a line", "da = s * (1 - s) * ds", "a", "the factor b is left out"),
        ("several steps a line", "dE = torch.zeros(6, 6); dE[index] += de", "E", "the last one is left"),
        ("fused layer normalisation", "do = o**2", "o", "3 is the exponent in"),
        ("fused layer normalisation", "do = 3 * o", "o", "o stands where o**2 belongs"),
        ("fused layer normalisation", "db = dy[::2].sum(0)", "b", "index 1, 3 and 5 of dimension 0 of dy is left out"),
        ("several steps a line", "dc = s * (1 - s) * ds", "c", "it is not summed over dimension 1"),
        ("several steps a line", "dc = (s * (1 - s) * ds).sum(1)", "c", "a dimension of size 1 is lost"),
    ],
)
def test_messages_teach(network: str, wrong: str, value: str, words: str) -> None:
    assert words in message(network, wrong, value)


def test_gradients_of_two_values_swapped() -> None:
    torch.manual_seed(0)
    g, b = leaf(5), leaf(5)
    x = torch.randn(7, 5)
    y = g * x + b
    up = torch.randn(7, 5)
    report = check((y * up).sum(), dict(g=g, b=b, x=x, y=y, dy=up, dg=up.sum(0), db=(up * x).sum(0)))
    assert {row.name: row.cause for row in report.culprits} == {"g": "F10", "b": "F10"}


def test_an_incomplete_gradient_that_was_used_too_early() -> None:
    torch.manual_seed(0)
    x = leaf(6, 4)
    w = leaf(4)
    u = x * w
    a, b = u**2, torch.sin(u)
    up = torch.randn(6, 4)
    da, db = up, 2 * up
    early = (da * 2 * u).detach()
    names = dict(x=x, w=w, u=u, a=a, b=b, da=da, db=db, du=(early + db * torch.cos(u)).detach())
    report = check((a * up + b * 2 * up).sum(), names | dict(dw=(early * x).detach().sum(0)))
    assert {row.name: row.cause for row in report.culprits} == {"w": "F6"}
    assert "it was computed from du before du was complete" in report["w"].message


def test_upstream_gradients_that_are_ignored_or_read_in_memory_order() -> None:
    torch.manual_seed(0)
    x = leaf(6, 4)
    y = x**3
    up = torch.randn(4, 6).T
    own = (3 * x**2).detach()
    causes = {
        "F1": [own, own * up[0, 0], own * up[:1]],
        "F2": [own * up.as_strided((6, 4), (4, 1))],
    }
    for cause, gradients in causes.items():
        for gradient in gradients:
            report = check(y, dict(x=x, dx=gradient), upstream=up)
            assert report["x"].cause == cause, report


def test_a_vanishing_search_budget_ends_in_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backproof.proof.causes.fault._PASSES", 0)
    report = judged("two heads", "dy = dyc.view(B, H, T, C // H)")
    assert report["y"].culprit


def test_a_gradient_handed_past_values_without_one() -> None:
    """Readers without a gradient of their own do not stop the search for terms."""
    torch.manual_seed(0)
    z = leaf(5, 4)
    m = z.mean(0)
    d = z - m
    y = d * 2
    up = torch.randn(5, 4)
    names = dict(z=z, m=m, d=d, y=y, dy=up)
    assert check((y * up).sum(), names | dict(dz=2 * up - 2 * up.mean(0))).ok
    report = check((y * up).sum(), names | dict(dz=2 * up))
    assert report["z"].cause == "F6" and "through m" in report["z"].message


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("middle", [False, True])
def test_a_slice_that_is_overwritten_is_not_taken_for_rows_left_out(width: int, middle: bool) -> None:
    torch.manual_seed(0)
    x, up = leaf(5, 4), torch.randn(5, 8 + width)
    a, c, e = x * 2, x[:, :width] * 3, x.sin()
    da, dc, de = up[:, :4], up[:, 4 : 4 + width], up[:, 4 + width :]
    dx = 2 * da + (0 if middle else 1) * de * x.detach().cos()
    right = dx.clone()
    dx[:, :width], right[:, :width] = 3 * dc, right[:, :width] + 3 * dc
    if middle:  # the last of three shares is added as it should be
        dx, right = (gradient + de * x.detach().cos() for gradient in (dx, right))
    names = dict(x=x, a=a, c=c, e=e, da=da, dc=dc, de=de)
    assert check(torch.cat([a, c, e], 1), names | dict(dx=right), upstream=up).ok
    report = check(torch.cat([a, c, e], 1), names | dict(dx=dx), upstream=up)
    assert [row.cause for row in report.culprits] == ["F11"]
    assert "what comes back through c = slice(x) * 3 overwrites what is there" in report["x"].message
    assert "+= where = stands" in report["x"].message


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(8,), (5, 8)])
def test_scatter_in_place_of_scatter_add(shape: tuple[int, ...], seed: int) -> None:
    torch.manual_seed(seed)
    x = leaf(*shape)
    v, index = x.topk(3, -1)
    z = x * 0.5
    up = torch.randn(*shape[:-1], 11)
    dz, dv = up[..., :8], up[..., 8:]
    names = dict(x=x, v=v, z=z, dz=dz, dv=dv)
    y = torch.cat([z, v], -1)
    assert check(y, names | dict(dx=(0.5 * dz).scatter_add(-1, index, dv)), upstream=up).ok
    report = check(y, names | dict(dx=(0.5 * dz).scatter(-1, index, dv)), upstream=up)
    assert [row.cause for row in report.culprits] == ["F11"]
    assert "what comes back through v = topk(x) overwrites" in report["x"].message


@pytest.mark.parametrize(
    ("line", "cause", "said"),
    [
        (lambda dy: dy.sum(0)[:, 0], "F7", "only index 0 of dimension 2 of dy is in the sum"),
        (lambda dy: dy.sum(0)[:, -1], "F11", "only the last 1 of 5 indices of dimension 2 of dy are in the sum"),
        (lambda dy: dy[:, :, :3].sum((0, 2)), "F7", "index 3 and 4 of dimension 2 of dy is left out"),
        (lambda dy: dy[0, :, 0], None, "cause unknown"),
    ],
)
def test_one_index_taken_where_a_sum_belongs(line: Callable, cause: str | None, said: str) -> None:
    torch.manual_seed(0)
    x, b, up = leaf(2, 4, 5), leaf(4), torch.randn(2, 4, 5)
    y = x + b[:, None]
    report = check(y, dict(x=x, b=b, y=y, dy=up, dx=up, db=line(up)), upstream=up)
    assert [(row.name, row.cause) for row in report.culprits] == [("b", cause)]
    assert said in report["b"].message
