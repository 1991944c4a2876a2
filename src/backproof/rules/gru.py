"""The gated recurrent layer: at every step it decides how much of what it knows is forgotten, and how much replaced.

    xh[t] = x[t] beside h[t−1]        r[t] = σ(xh[t] @ Wr + br)        z[t] = σ(xh[t] @ Wz + bz)
    xr[t] = x[t] beside r[t] · h[t−1]        hbar[t] = tanh(xr[t] @ Wh + bh)
    h[t] = (1 − z[t]) · h[t−1] + z[t] · hbar[t]        y[t] = h[t]

with h[−1] = start, the same row for every sequence.

Backward, through time, the last step first. h[t−1] is read in four places: by xh[t], by r[t] · h[t−1], by h[t], and
by y. From dh[t]: dz = (hbar − h[t−1]) dh and dhbar = z dh; through tanh into dxr, whose second part is the gradient
of r · h[t−1]; through the two σ, each with the slope σ (1 − σ), into dxh. Fused, all that comes from x is one product
for all steps, and so are dx and the gradients of the weights.

Source: K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder", 2014, arXiv:1406.1078, equations 5
to 8; z and 1 − z stand as in Karpathy's makemore.
"""

from typing import NamedTuple

import torch

from backproof.shapes import EH_H, NEH, NH, NTE, NTH, H, OneH


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape; the lists have a tensor a step."""

    x: NTE
    start: OneH
    Wr: EH_H
    br: H
    Wz: EH_H
    bz: H
    Wh: EH_H
    bh: H
    xh: list[NEH]
    r: list[NH]
    z: list[NH]
    xr: list[NEH]
    hbar: list[NH]
    h: list[NH]
    y: NTH


def forward_steps(x: NTE, start: OneH, Wr: EH_H, br: H, Wz: EH_H, bz: H, Wh: EH_H, bh: H) -> Steps:
    """The values; `y` is the result."""
    xh, r, z, xr, hbar, h, last = [], [], [], [], [], [], start.expand(len(x), -1)
    for t in range(x.shape[1]):
        xh.append(torch.cat([x[:, t], last], 1))
        r.append((xh[t] @ Wr + br).sigmoid())
        z.append((xh[t] @ Wz + bz).sigmoid())
        xr.append(torch.cat([x[:, t], r[t] * last], 1))
        hbar.append((xr[t] @ Wh + bh).tanh())
        h.append((1 - z[t]) * last + z[t] * hbar[t])
        last = h[t]
    return Steps(x, start, Wr, br, Wz, bz, Wh, bh, xh, r, z, xr, hbar, h, torch.stack(h, 1))


def backward_steps(s: Steps, dy: NTH) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    steps, inputs = range(s.x.shape[1]), s.x.shape[2]
    dx, dWr, dbr, dWz, dbz, dWh, dbh = map(torch.zeros_like, (s.x, s.Wr, s.br, s.Wz, s.bz, s.Wh, s.bh))
    dxh, dr, dz, dxr, dhbar, dh = list(s.xh), list(s.r), list(s.z), list(s.xr), list(s.hbar), list(s.h)
    onward = torch.zeros_like(dy[:, 0])
    for t in reversed(steps):
        last = s.xh[t][:, inputs:]
        dh[t] = dy[:, t] + onward  # h[t] is read by y, and by what comes after it
        dhbar[t] = s.z[t] * dh[t]
        dz[t] = (s.hbar[t] - last) * dh[t]
        da_h = (1 - s.hbar[t] ** 2) * dhbar[t]
        dxr[t] = da_h @ s.Wh.T
        dr[t] = last * dxr[t][:, inputs:]
        da_r = s.r[t] * (1 - s.r[t]) * dr[t]
        da_z = s.z[t] * (1 - s.z[t]) * dz[t]
        dxh[t] = da_r @ s.Wr.T + da_z @ s.Wz.T  # xh has two readers: r, z
        dWr += s.xh[t].T @ da_r
        dWz += s.xh[t].T @ da_z
        dWh += s.xr[t].T @ da_h
        dbr += da_r.sum(0)
        dbz += da_z.sum(0)
        dbh += da_h.sum(0)
        dx[:, t] = dxh[t][:, :inputs] + dxr[t][:, :inputs]  # x has two readers: xh, xr
        # what was known before has three readers in this step: h, r · h and xh
        onward = (1 - s.z[t]) * dh[t] + s.r[t] * dxr[t][:, inputs:] + dxh[t][:, inputs:]
    dstart = onward.sum(0, keepdim=True)
    return Steps(dx, dstart, dWr, dbr, dWz, dbz, dWh, dbh, dxh, dr, dz, dxr, dhbar, dh, dy)


def forward(x: NTE, start: OneH, Wr: EH_H, br: H, Wz: EH_H, bz: H, Wh: EH_H, bh: H) -> tuple[NTH, tuple[NTH, NTH, NTH]]:
    """y, and what the way back needs beside the inputs: r, z and hbar."""
    inputs, last = x.shape[2], start.expand(len(x), -1)
    r, z, hbar = (x @ W[:inputs] + b for W, b in ((Wr, br), (Wz, bz), (Wh, bh)))
    y = torch.empty_like(r)
    for t in range(x.shape[1]):
        r[:, t] = torch.addmm(r[:, t], last, Wr[inputs:]).sigmoid_()
        z[:, t] = torch.addmm(z[:, t], last, Wz[inputs:]).sigmoid_()
        hbar[:, t] = torch.addmm(hbar[:, t], r[:, t] * last, Wh[inputs:]).tanh_()
        last = torch.lerp(last, hbar[:, t], z[:, t])
        y[:, t] = last
    return y, (r, z, hbar)


def backward(
    x: NTE, start: OneH, Wr: EH_H, Wz: EH_H, Wh: EH_H, y: NTH, saved: tuple[NTH, NTH, NTH], dy: NTH
) -> tuple[NTE, OneH, EH_H, H, EH_H, H, EH_H, H]:
    """dx, dstart, dWr, dbr, dWz, dbz, dWh, dbh; step by step only what has to be."""
    (r, z, hbar), inputs = saved, x.shape[2]
    before = torch.cat([start.expand(len(x), 1, -1), y[:, :-1]], 1)
    da_r, da_z, da_h = (torch.empty_like(y) for _ in range(3))
    onward = torch.zeros_like(y[:, 0])
    for t in reversed(range(x.shape[1])):
        dh = dy[:, t] + onward
        da_h[:, t] = (1 - hbar[:, t] ** 2) * (z[:, t] * dh)
        dreset = da_h[:, t] @ Wh[inputs:].T
        da_r[:, t] = r[:, t] * (1 - r[:, t]) * before[:, t] * dreset
        da_z[:, t] = z[:, t] * (1 - z[:, t]) * (hbar[:, t] - before[:, t]) * dh
        onward = (1 - z[:, t]) * dh + r[:, t] * dreset + da_r[:, t] @ Wr[inputs:].T + da_z[:, t] @ Wz[inputs:].T
    dx = da_r @ Wr[:inputs].T + da_z @ Wz[:inputs].T + da_h @ Wh[:inputs].T
    rows_r, rows_z, rows_h = (each.flatten(0, 1) for each in (da_r, da_z, da_h))
    xh = torch.cat([x, before], 2).flatten(0, 1).T
    xr = torch.cat([x, r * before], 2).flatten(0, 1).T
    dstart = onward.sum(0, keepdim=True)
    return dx, dstart, xh @ rows_r, rows_r.sum(0), xh @ rows_z, rows_z.sum(0), xr @ rows_h, rows_h.sum(0)
