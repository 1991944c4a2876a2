"""SwiGLU: one half of a layer opens or closes the other, cell by cell.

    sig = σ(gate)        act = gate · sig        y = act · up

act is SiLU, also called swish. The linear layers around it are rules of their own.

Backward, fused. y is a product, so dup = act · dy, and act receives up · dy. gate has two readers, the product and its
sigmoid, whose derivative is σ (1 − σ):

    dgate = (σ + gate σ (1 − σ)) · up · dy = (σ + act (1 − σ)) · up · dy

Written with the exponential function, the same would overflow where gate is large; σ does not.
Source: N. Shazeer, "GLU Variants Improve Transformer", 2020, arXiv:2002.05202, equation 6.
"""

from typing import NamedTuple

from backproof.shapes import RowsF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    gate: RowsF
    up: RowsF
    sig: RowsF
    act: RowsF
    y: RowsF


def forward_steps(gate: RowsF, up: RowsF) -> Steps:
    """The values; `y` is the result."""
    sig = gate.sigmoid()
    act = gate * sig
    y = act * up
    return Steps(gate, up, sig, act, y)


def backward_steps(s: Steps, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    dup = s.act * dy
    dact = s.up * dy
    dsig = s.gate * dact
    dgate = s.sig * dact + s.sig * (1 - s.sig) * dsig  # gate has two readers: act, sig
    return Steps(dgate, dup, dsig, dact, dy)


def forward(gate: RowsF, up: RowsF) -> tuple[RowsF, RowsF]:
    """y, and what the way back needs beside the inputs: sig."""
    sig = gate.sigmoid()
    return (gate * sig).mul_(up), sig


def backward(gate: RowsF, up: RowsF, sig: RowsF, dy: RowsF) -> tuple[RowsF, RowsF]:
    """dgate and dup in one step."""
    act = gate * sig
    dgate = (1 - sig).mul_(act).add_(sig).mul_(up).mul_(dy)
    return dgate, act.mul_(dy)
