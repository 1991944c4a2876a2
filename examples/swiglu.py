"""A gated feed-forward layer: one projection, passed through SiLU, opens or closes another.

    y = (SiLU(x Wg) · (x Wu)) Wd,   SiLU(z) = z σ(z)

Source: Shazeer 2020, arXiv:2002.05202, equation 6. Backward, `gate` has two readers, its sigmoid and the
product with it: together they give SiLU'(z) = σ + z σ (1 - σ). One row of the inputs is huge, so that the
sigmoid saturates; written with exp, the same derivative would overflow there.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Steps(NamedTuple):
    """Every named value of the forward pass, and its shape: width M, hidden H."""

    x: Tensor  # (n, M)
    Wg: Tensor  # (M, H)
    Wu: Tensor  # (M, H)
    Wd: Tensor  # (H, M)
    gate: Tensor  # (n, H)
    up: Tensor  # (n, H)
    sig: Tensor  # (n, H)
    act: Tensor  # (n, H)
    prod: Tensor  # (n, H)
    y: Tensor  # (n, M)


def inputs(n: int = 15, width: int = 5, hidden: int = 7) -> dict[str, Tensor]:
    g = torch.Generator().manual_seed(7)
    x = torch.randn((n, width), generator=g)
    if n > 2:
        x[2] *= 2000  # a row that saturates every gate
    Wg, Wu = (torch.randn((width, hidden), generator=g) / width**0.5 for _ in range(2))
    Wd = torch.randn((hidden, width), generator=g) / hidden**0.5
    return dict(x=x, Wg=Wg, Wu=Wu, Wd=Wd)


def forward(x: Tensor, Wg: Tensor, Wu: Tensor, Wd: Tensor) -> Steps:
    gate = x @ Wg
    up = x @ Wu
    sig = torch.sigmoid(gate)
    act = gate * sig
    prod = act * up
    y = prod @ Wd
    return Steps(x, Wg, Wu, Wd, gate, up, sig, act, prod, y)


def backward(s: Steps, dy: Tensor) -> dict[str, Tensor]:
    dprod = dy @ s.Wd.T
    dWd = s.prod.T @ dy
    dact = s.up * dprod
    dup = s.act * dprod
    dsig = s.gate * dact
    dgate = s.sig * dact + s.sig * (1 - s.sig) * dsig  # gate has two readers: act, sig
    dWg = s.x.T @ dgate
    dWu = s.x.T @ dup
    dx = dgate @ s.Wg.T + dup @ s.Wu.T  # x has two readers: gate, up
    return dict(x=dx, Wg=dWg, Wu=dWu, Wd=dWd, gate=dgate, up=dup, sig=dsig, act=dact, prod=dprod)
