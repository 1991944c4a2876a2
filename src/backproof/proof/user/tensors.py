"""Small questions about tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def to_neighbours(value: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """The value with each number off by `eps`, relative to itself, up or down by chance."""
    signs = torch.randint(0, 2, value.shape, generator=generator).to(value.device) * 2 - 1
    return value.detach() * (1 + eps * signs).to(value.dtype)


def is_float(value: Any) -> bool:
    """A tensor that can carry a gradient."""
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def leaf(value: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """A copy of `value` that autograd starts from, in the same layout where the numbers allow it."""
    copied = rounded_to(value.detach().clone(), dtype)
    return copied.requires_grad_(is_float(copied))


def counterpart(of: torch.dtype, real: torch.dtype) -> torch.dtype:
    """What a tensor of dtype `of` becomes in the precision of `real`: complex numbers stay complex.

    There are no complex numbers of half precision that all kernels know; they stay as they are.
    """
    if not of.is_complex:
        return real
    return {torch.float64: torch.complex128, torch.float32: torch.complex64}.get(real, of)


def rounded_to(value: Any, dtype: torch.dtype | None) -> Any:
    """A floating-point tensor in the precision of `dtype`; as it is for None, and so is anything else."""
    return value.to(counterpart(value.dtype, dtype)) if dtype is not None and is_float(value) else value


def widened(value: Tensor) -> Tensor:
    """The same numbers in float64, or complex128."""
    return value.to(counterpart(value.dtype, torch.float64))


def as_real(value: Tensor) -> Tensor:
    """A complex tensor as real numbers, with a last dimension of 2 for real and imaginary part; real ones as they are.

    PyTorch's gradient of a complex number z = a + bi is ∂L/∂a + i ∂L/∂b (the conjugate Wirtinger derivative, doubled),
    so that the real numbers of a gradient are the gradient of the real numbers.
    """
    return torch.view_as_real(value.resolve_conj()) if value.is_complex() else value


def same_bits(a: Tensor, b: Tensor) -> bool:
    """Equal shape, dtype and bits (a NaN equals itself, 0.0 differs from -0.0)."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return torch.equal(_bytes(a), _bytes(b))


def _bytes(value: Tensor) -> Tensor:
    """The bits, in memory of their own: one element may count as contiguous and still have a stride of 3."""
    stored = value.detach().resolve_conj().resolve_neg()
    return stored.clone(memory_format=torch.contiguous_format).reshape(-1).view(torch.uint8)


def is_finite(values: Mapping[str, Any]) -> bool:
    """Whether every floating-point tensor among `values` is finite throughout."""
    return all(bool(torch.isfinite(value).all()) for value in values.values() if is_float(value))


def short_name(dtype: torch.dtype) -> str:
    """`float32` for torch.float32."""
    return str(dtype).removeprefix("torch.")
