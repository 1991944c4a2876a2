"""The long short-term memory: beside what it shows it keeps a cell, which is only ever scaled and added to.

    xh[t] = x[t] beside h[t−1]        gates[t] = xh[t] @ W + b, in four parts
    i, f, o = σ of the first three        g = tanh of the fourth
    c[t] = f · c[t−1] + i · g        h[t] = o · tanh(c[t])        y[t] = h[t]

with h[−1] = start and c[−1] = start_c, the same rows for every sequence.

Backward, through time, the last step first. h[t] is read by y and by xh[t+1], c[t] by h[t] and by c[t+1]:

    dc[t] = o (1 − tanh²(c[t])) dh[t] + f[t+1] dc[t+1]

and from there di = g dc, df = c[t−1] dc, dg = i dc, do = tanh(c) dh, each through its slope into dgates. Along the
cell a gradient is only multiplied by f, which may be near 1: that is what the layer is for. Fused, all that comes
from x is one product for all steps, and so are dx and dW.

Source: S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", 1997, doi:10.1162/neco.1997.9.8.1735, with the
forget gate of F. Gers, J. Schmidhuber and F. Cummins, 2000, doi:10.1162/089976600300015015.
"""

from typing import NamedTuple

import torch

from backproof.shapes import EH_4H, N4H, NEH, NH, NT4H, NTE, NTH, FourH, OneH


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape; the lists have a tensor a step."""

    x: NTE
    start: OneH
    start_c: OneH
    W: EH_4H
    b: FourH
    xh: list[NEH]
    gates: list[N4H]
    i: list[NH]
    f: list[NH]
    o: list[NH]
    g: list[NH]
    c: list[NH]
    h: list[NH]
    y: NTH


def forward_steps(x: NTE, start: OneH, start_c: OneH, W: EH_4H, b: FourH) -> Steps:
    """The values; `y` is the result."""
    xh, gates, i, f, o, g, c, h = [], [], [], [], [], [], [], []
    last, cell = start.expand(len(x), -1), start_c.expand(len(x), -1)
    for t in range(x.shape[1]):
        xh.append(torch.cat([x[:, t], last], 1))
        gates.append(xh[t] @ W + b)
        a_i, a_f, a_o, a_g = gates[t].chunk(4, 1)
        i.append(a_i.sigmoid())
        f.append(a_f.sigmoid())
        o.append(a_o.sigmoid())
        g.append(a_g.tanh())
        c.append(f[t] * cell + i[t] * g[t])
        h.append(o[t] * c[t].tanh())
        last, cell = h[t], c[t]
    return Steps(x, start, start_c, W, b, xh, gates, i, f, o, g, c, h, torch.stack(h, 1))


def backward_steps(s: Steps, dy: NTH) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    steps, inputs = range(s.x.shape[1]), s.x.shape[2]
    dx, dW, db = torch.zeros_like(s.x), torch.zeros_like(s.W), torch.zeros_like(s.b)
    dxh, dgates, di, df, do, dg = list(s.xh), list(s.gates), list(s.i), list(s.f), list(s.o), list(s.g)
    dc, dh = list(s.c), list(s.h)
    onward, along = torch.zeros_like(dy[:, 0]), torch.zeros_like(dy[:, 0])
    for t in reversed(steps):
        cell = s.c[t - 1] if t else s.start_c.expand_as(s.c[t])
        shown = s.c[t].tanh()
        dh[t] = dy[:, t] + onward  # h[t] has two readers: y, xh[t + 1]
        do[t] = shown * dh[t]
        dc[t] = s.o[t] * (1 - shown**2) * dh[t] + along  # c[t] has two readers: h[t], c[t + 1]
        df[t] = cell * dc[t]
        di[t] = s.g[t] * dc[t]
        dg[t] = s.i[t] * dc[t]
        opened = [gate * (1 - gate) * dgate for gate, dgate in ((s.i[t], di[t]), (s.f[t], df[t]), (s.o[t], do[t]))]
        dgates[t] = torch.cat([*opened, (1 - s.g[t] ** 2) * dg[t]], 1)
        dxh[t] = dgates[t] @ s.W.T
        dW += s.xh[t].T @ dgates[t]  # W and b have a reader a step
        db += dgates[t].sum(0)
        dx[:, t] = dxh[t][:, :inputs]
        onward, along = dxh[t][:, inputs:], s.f[t] * dc[t]
    dstart, dstart_c = onward.sum(0, keepdim=True), along.sum(0, keepdim=True)
    return Steps(dx, dstart, dstart_c, dW, db, dxh, dgates, di, df, do, dg, dc, dh, dy)


def forward(x: NTE, start: OneH, start_c: OneH, W: EH_4H, b: FourH) -> tuple[NTH, tuple[NT4H, NTH]]:
    """y, and what the way back needs beside the inputs: the gates, opened, and the cells."""
    inputs, last, cell = x.shape[2], start.expand(len(x), -1), start_c.expand(len(x), -1)
    gates = x @ W[:inputs] + b
    y, c = (gates.new_empty(*x.shape[:2], start.shape[1]) for _ in range(2))
    for t in range(x.shape[1]):
        opened = torch.addmm(gates[:, t], last, W[inputs:])
        ifo, g = opened[:, : 3 * start.shape[1]].sigmoid_(), opened[:, 3 * start.shape[1] :].tanh_()
        i, f, o = ifo.chunk(3, 1)
        cell = torch.addcmul(f * cell, i, g)
        last = o * cell.tanh()
        gates[:, t], c[:, t], y[:, t] = opened, cell, last
    return y, (gates, c)


def backward(
    x: NTE, start: OneH, start_c: OneH, W: EH_4H, y: NTH, saved: tuple[NT4H, NTH], dy: NTH
) -> tuple[NTE, OneH, OneH, EH_4H, FourH]:
    """dx, dstart, dstart_c, dW, db; step by step only what has to be."""
    (gates, c), inputs = saved, x.shape[2]
    i, f, o, g = gates.chunk(4, 2)
    before = torch.cat([start.expand(len(x), 1, -1), y[:, :-1]], 1)
    before_c = torch.cat([start_c.expand(len(x), 1, -1), c[:, :-1]], 1)
    shown = c.tanh()
    to_c = o * (1 - shown * shown)
    slopes = torch.cat([g * i * (1 - i), before_c * f * (1 - f), shown * o * (1 - o), i * (1 - g * g)], 2)
    dgates = torch.empty_like(gates)
    onward, along = torch.zeros_like(y[:, 0]), torch.zeros_like(y[:, 0])
    for t in reversed(range(x.shape[1])):
        dh = dy[:, t] + onward
        dc = torch.addcmul(along, to_c[:, t], dh)
        dgates[:, t] = slopes[:, t] * torch.cat([dc, dc, dh, dc], 1)
        onward, along = dgates[:, t] @ W[inputs:].T, f[:, t] * dc
    rows = dgates.flatten(0, 1)
    dW = torch.cat([x, before], 2).flatten(0, 1).T @ rows
    return dgates @ W[:inputs].T, onward.sum(0, keepdim=True), along.sum(0, keepdim=True), dW, rows.sum(0)
