"""Large tensors in pieces: what is worked out element by element needs no second tensor of their size."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

PIECE = 1 << 20  # elements
LARGE = 4 * PIECE  # from here on memory counts for more than the time of a pass


def blocks(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Views of tensors of one shape, piece by piece; of small ones, the tensors themselves."""
    count = tensors[0].numel()
    if count <= PIECE:
        yield tensors
        return
    dim = max(range(tensors[0].dim()), key=tensors[0].size)
    pieces = -(-count // PIECE)
    for parts in zip(*(tensor.chunk(pieces, dim) for tensor in tensors), strict=True):
        yield from blocks(*parts)
