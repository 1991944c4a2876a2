"""Places spread evenly over many: where a candidate is tried before it is compared in full."""

from __future__ import annotations

import torch
from torch import Tensor


def evenly(size: int, count: int, device: torch.device | None = None) -> Tensor:
    """`count` places of `size`, the first and the last among them, in whole numbers.

    A `linspace` would count in float32, which knows no odd number above 2²⁴ and rounds the last place out of range.
    """
    gaps = max(count - 1, 1)
    return (2 * torch.arange(count, device=device) * (size - 1) + gaps) // (2 * gaps)
