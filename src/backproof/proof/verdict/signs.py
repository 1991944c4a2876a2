"""Random signs, and small random errors: what a backward pass is multiplied by to see how large its terms are."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.graph.node import Node


def wide(dtype: torch.dtype) -> torch.dtype:
    """Yardsticks of half-precision numbers need more range than half precision has."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def can_be_drawn(gradient: Tensor, generator: torch.Generator) -> bool:
    """Whether random numbers can be laid beside the gradient's own."""
    return gradient.device == generator.device and not gradient.is_sparse and gradient.is_floating_point()


def signed(gradient: Tensor, generator: torch.Generator) -> Tensor:
    """Times ±¾ to ±5/4 at random: with signs alone, two equal terms would cancel every other time."""
    if not can_be_drawn(gradient, generator):
        return gradient
    drawn = signs(gradient, generator)
    return drawn.mul_(gradient) if drawn.dtype == gradient.dtype else gradient * drawn.to(gradient.dtype)


def signs(like: Tensor, generator: torch.Generator) -> Tensor:
    """Numbers of ±¾ to ±5/4 in the shape of `like`, drawn in place: they may be as many as fill the memory."""
    draw = torch.rand(like.shape, generator=generator, device=like.device, dtype=wide(like.dtype)).sub_(0.5)
    return draw.add_(draw.sign(), alpha=0.75)


def sent_twice(node: Node) -> list[int]:
    """The gradients that a node sends to one and the same place, such as those of x - x."""
    places = [place for place in node.next_functions if place[0] is not None]
    if len(places) < 2 or len(set(places)) == len(places):
        return []
    return [i for i, place in enumerate(node.next_functions) if places.count(place) > 1]
