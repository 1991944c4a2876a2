"""Upstream gradients to prove with."""

from __future__ import annotations

import torch
from torch import Tensor


def upstream_for(result: Tensor, seed: int, *, unit: bool = False) -> Tensor:
    """A random gradient of `result`'s shape, the same numbers in every dtype; with `unit`, a single number gets 1."""
    if unit and result.ndim == 0:
        return torch.ones_like(result, requires_grad=False)
    generator = torch.Generator().manual_seed(seed)
    wide = torch.complex128 if result.is_complex() else torch.float64
    numbers = torch.randn(result.shape, generator=generator, dtype=wide)
    if result.ndim == 0:
        numbers = -1.25 - numbers.abs()  # neither 1 nor near 0
    return numbers.to(result.dtype).to(result.device)
