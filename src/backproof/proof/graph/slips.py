"""How the derivatives of single operations go wrong when they are written by hand.

A slip says what the node would have sent to one of its inputs: from the node, from what it did send and from what had
arrived, all in the node's own dtype. None where the slip does not apply, as a transposition of what is not square.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.graph.node import Node, saved, saved_dims
from backproof.proof.report.cause import Cause

Spoil = Callable[[Node, Tensor, Tensor], Tensor | None]


class Slip(NamedTuple):
    """One usual mistake: its cause, what is wrong in a clause, the input whose gradient it spoils, and how."""

    cause: Cause
    says: str
    position: int
    spoil: Spoil
    scaled: bool = False  # to a constant factor, which the numbers tell


def _square(matrix: Tensor) -> bool:
    return matrix.dim() >= 2 and matrix.shape[-1] == matrix.shape[-2] > 1


def product(first: str, second: str, shift: int = 0) -> tuple[Slip, ...]:
    """C = A @ B: dA = dC Bᵀ and dB = Aᵀ dC, with a transposition that only the shape would give away."""

    def times_b(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
        b = saved(node, second)
        return g @ b if _square(b) else None

    def a_times(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
        a = saved(node, first)
        return a @ g if _square(a) else None

    def turned_before_b(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
        return g.mT @ saved(node, second).mT if _square(g) else None

    def turned_behind_a(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
        return saved(node, first).mT @ g.mT if _square(g) else None

    factor, arriving = "the other factor is not transposed", "what comes back is transposed first"
    of = Cause.SWAPPED_OR_TRANSPOSED
    return (
        Slip(of, factor, shift, times_b),
        Slip(of, factor, shift + 1, a_times),
        Slip(of, arriving, shift, turned_before_b),
        Slip(of, arriving, shift + 1, turned_behind_a),
        *(Slip(of, "the product is transposed", position, turned) for position in (shift, shift + 1)),
    )


def turned(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """Rows for columns."""
    return sent.mT if _square(sent) else None


def softmax_elsewhere(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """p · (g - Σ p g) with the sum over the neighbouring dimension."""
    p = saved(node, "result")
    other = _neighbour(node, p)
    return None if other is None else p * (g - (p * g).sum(other, keepdim=True))


def log_softmax_elsewhere(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """g - p Σ g, likewise."""
    y = saved(node, "result")
    other = _neighbour(node, y)
    return None if other is None else g - y.exp() * g.sum(other, keepdim=True)


def logsumexp_elsewhere(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """g · exp(x - y) with g spread along the neighbouring dimension, where the sizes do not tell."""
    x, y = saved(node, "self"), saved(node, "result")
    (dim,) = saved_dims(node, x.dim())
    other = _neighbour(node, x)
    if other is None or x.shape[dim] != x.shape[other]:
        return None
    if saved(node, "keepdim"):
        g, y = g.squeeze(dim), y.squeeze(dim)
    return g.unsqueeze(other) * (x - y.unsqueeze(dim)).exp()


def _neighbour(node: Node, like: Tensor) -> int | None:
    (dim,) = saved_dims(node, like.dim())
    return None if like.dim() < 2 else dim - 1 if dim else 1


def undivided(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """a / b with a number for all elements of b."""
    b = saved(node, "other")
    return sent * b if isinstance(b, Tensor) and b.numel() > 1 else None


def not_squared(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """d(a / b)/db = -a / b², with b for b²."""
    b = saved(node, "other")
    return sent * b if isinstance(b, Tensor) else None


def times_result(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """A division by the result left out: dx = g · x / ‖x‖, or g / (2 √x)."""
    result = saved(node, "result")
    return sent * result if result.dim() in (0, sent.dim()) else None


def power_kept(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """p · xᵖ for p · xᵖ⁻¹."""
    return sent * saved(node, "self")


def kernel_unflipped(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """dx of a convolution with the kernel read backwards."""
    weight, dims = saved(node, "weight"), tuple(range(2, sent.dim()))
    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    sizes = saved(node, "bias_sym_sizes_opt")
    return torch.ops.aten.convolution_backward(
        g, saved(node, "input"), weight.flip(dims), sizes, *(saved(node, name) for name in names), [True, False, False]
    )[0]


def kernel_flipped(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """dW of a convolution with the kernel written backwards."""
    return sent.flip(tuple(range(2, sent.dim())))


def every_row_alike(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """The rows of a table that was looked up: each gets what belongs to all of them."""
    if sent.dim() < 2 or g.shape[g.dim() - sent.dim() + 1 :] != sent.shape[1:]:
        return None
    return g.reshape(-1, *sent.shape[1:]).sum(0).expand_as(sent)


def first_copies(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """Of an element that was repeated in a block, the gradient of the block's corner alone."""
    steps = [arrived // made for arrived, made in zip(g.shape, sent.shape, strict=True)]
    corner = g[tuple(slice(None, None, step) for step in steps)]
    return corner if corner.shape == sent.shape else None


def v_for_its_transpose(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """dA = U dS Vᴴ with V for Vᴴ."""
    vh = saved(node, "Vh")
    return sent @ vh.mH @ vh.mH if _square(vh) else None


def largest_everywhere(node: Node, sent: Tensor, g: Tensor) -> Tensor | None:
    """What belongs to the largest element alone, sent to all that were compared."""
    dims = saved_dims(node, sent.dim())
    if not saved(node, "keepdim"):
        for dim in sorted(dims):
            g = g.unsqueeze(dim)
    return g.expand_as(sent)
