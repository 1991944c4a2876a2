"""The recurrent layer: what it knows after a symbol comes from the symbol and from what it knew before.

    xh[t] = x[t] beside h[t−1]        a[t] = xh[t] @ W + b        h[t] = tanh(a[t])        y[t] = h[t]

with h[−1] = start, the same row for every sequence.

Backward, through time: h[t] is read by y and by xh[t+1], so that the last step comes first and each hands on to the one
before it

    dh[t] = dy[t] + the second part of dxh[t+1]        da[t] = (1 − h[t]²) dh[t]        dxh[t] = da[t] @ Wᵀ

W and b are read at every step: dW = Σ_t xh[t]ᵀ @ da[t], db = Σ_t Σ_n da[t]. Fused, the part of a that comes from x is
one product for all steps, and so are dx and dW: only h has to wait for h.

Source: J. L. Elman, "Finding Structure in Time", 1990, doi:10.1207/s15516709cog1402_1; P. Werbos, "Backpropagation
through time", 1990, doi:10.1109/5.58337; the cell is that of Karpathy's makemore.
"""

from typing import NamedTuple

import torch

from backproof.shapes import EH_H, NEH, NH, NTE, NTH, H, OneH


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape; the lists have a tensor a step."""

    x: NTE
    start: OneH
    W: EH_H
    b: H
    xh: list[NEH]
    a: list[NH]
    h: list[NH]
    y: NTH


def forward_steps(x: NTE, start: OneH, W: EH_H, b: H) -> Steps:
    """The values; `y` is the result."""
    xh, a, h, last = [], [], [], start.expand(len(x), -1)
    for t in range(x.shape[1]):
        xh.append(torch.cat([x[:, t], last], 1))
        a.append(xh[t] @ W + b)
        h.append(a[t].tanh())
        last = h[t]
    return Steps(x, start, W, b, xh, a, h, torch.stack(h, 1))


def backward_steps(s: Steps, dy: NTH) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    steps, inputs = range(s.x.shape[1]), s.x.shape[2]
    dx, dW, db = torch.zeros_like(s.x), torch.zeros_like(s.W), torch.zeros_like(s.b)
    dxh, da, dh = list(s.xh), list(s.a), list(s.h)
    onward = torch.zeros_like(dy[:, 0])
    for t in reversed(steps):
        dh[t] = dy[:, t] + onward  # h[t] has two readers: y, xh[t + 1]
        da[t] = (1 - s.h[t] ** 2) * dh[t]
        dxh[t] = da[t] @ s.W.T
        dW += s.xh[t].T @ da[t]  # W and b have a reader a step
        db += da[t].sum(0)
        dx[:, t] = dxh[t][:, :inputs]
        onward = dxh[t][:, inputs:]
    return Steps(dx, onward.sum(0, keepdim=True), dW, db, dxh, da, dh, dy)


def forward(x: NTE, start: OneH, W: EH_H, b: H) -> NTH:
    """The result alone, which with the inputs is all that the way back needs."""
    inputs = x.shape[2]
    y = x @ W[:inputs] + b
    last, W_h = start.expand(len(x), -1), W[inputs:]
    for t in range(x.shape[1]):
        last = torch.addmm(y[:, t], last, W_h).tanh_()
        y[:, t] = last
    return y


def backward(x: NTE, start: OneH, W: EH_H, y: NTH, dy: NTH) -> tuple[NTE, OneH, EH_H, H]:
    """dx, dstart, dW, db; step by step only what has to be."""
    inputs = x.shape[2]
    da, W_h = (1 - y * y).mul_(dy), W[inputs:].T
    slope = 1 - y * y
    onward = torch.zeros_like(y[:, 0])
    for t in reversed(range(x.shape[1])):
        da[:, t].addcmul_(slope[:, t], onward)
        onward = da[:, t] @ W_h
    before = torch.cat([start.expand(len(x), 1, -1), y[:, :-1]], 1)
    rows = da.flatten(0, 1)
    dW = torch.cat([x, before], 2).flatten(0, 1).T @ rows
    return da @ W[:inputs].T, onward.sum(0, keepdim=True), dW, rows.sum(0)
