"""The constant that brings one gradient closest to another."""

from __future__ import annotations

import torch


def fitted_factor(got: torch.Tensor, expected: torch.Tensor) -> float | None:
    """The c for which c · expected comes closest to `got`; None where `expected` is all zeros."""
    size = float(expected.flatten().dot(expected.flatten()))
    return float(got.flatten().dot(expected.flatten())) / size if size > 0 else None
