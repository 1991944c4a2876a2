"""Initial values, drawn as the layers of PyTorch that makemore is built of draw theirs."""

from __future__ import annotations

import torch
from torch import Generator, Tensor


def normal(g: Generator, *shape: int) -> Tensor:
    """Of a table of embeddings: mean 0, variance 1."""
    return torch.randn(shape, generator=g)


def uniform(g: Generator, fan_in: int, *shape: int) -> Tensor:
    """Of the weights and biases of a layer with `fan_in` inputs: between -1/√fan_in and 1/√fan_in."""
    return (torch.rand(shape, generator=g) * 2 - 1) * fan_in**-0.5


def layer(g: Generator, name: str, fan_in: int, fan_out: int) -> dict[str, Tensor]:
    """`name_W` and `name_b` of a linear layer."""
    return {f"{name}_W": uniform(g, fan_in, fan_in, fan_out), f"{name}_b": uniform(g, fan_in, fan_out)}


def norm(name: str, width: int) -> dict[str, Tensor]:
    """`name_gain` and `name_bias` of a normalisation, which does nothing at first but normalise."""
    return {f"{name}_gain": torch.ones(width), f"{name}_bias": torch.zeros(width)}
