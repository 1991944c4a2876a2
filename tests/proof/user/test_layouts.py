"""The same numbers in other places of the memory, and what is there between them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from backproof.proof.user.layouts import (
    LAYOUTS,
    Layout,
    copied,
    expanded,
    expanded_rows,
    layouts_of,
    offset,
    strided,
    transposed,
)

Make = Callable[[Tensor], Tensor | None]

X = torch.arange(1.0, 13.0).reshape(3, 4)


def memory(value: Tensor) -> list[float]:
    return value.as_strided((value.untyped_storage().nbytes() // value.element_size(),), (1,), 0).tolist()


@pytest.mark.parametrize(
    ("make", "stride", "start"), [(strided, (8, 2), 0), (transposed, (1, 3), 0), (offset, (4, 1), 3)]
)
def test_the_same_numbers_elsewhere(make: Make, stride: tuple, start: int) -> None:
    made = make(X)
    assert made is not None and torch.equal(made, X) and made.stride() == stride and made.storage_offset() == start
    assert made.untyped_storage().data_ptr() != X.untyped_storage().data_ptr()


def test_numbers_that_repeat_with_stride_zero() -> None:
    one = expanded(X)
    assert one is not None and one.stride() == (0, 0) and set(one.flatten().tolist()) == {1.0}
    rows = expanded_rows(X)
    assert rows is not None and rows.stride() == (0, 1) and torch.equal(rows, X[:1].expand(3, 4))


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_who_takes_it_for_contiguous_reads_other_numbers_of_the_same_memory(layout: Layout) -> None:
    """The gaps hold numbers that are nowhere in the tensor, and the memory reaches as far as is read."""
    made = layout.of(X)
    assert made is not None and len(memory(made)) >= X.numel()
    read = made.as_strided((12,), (1,), 0)
    assert not torch.equal(read, made.reshape(-1))
    strangers = set(memory(made)) - set(X.flatten().tolist())
    assert strangers or layout.name == "transposed"
    assert strangers.isdisjoint(X.flatten().tolist())


@pytest.mark.parametrize(
    ("make", "shape", "has"),
    [
        (strided, (), False),
        (strided, (1,), False),
        (strided, (2,), True),
        (transposed, (4,), False),
        (transposed, (1, 4), False),
        (transposed, (4, 1), False),
        (transposed, (2, 2), True),
        (transposed, (1, 2, 3), True),
        (offset, (0,), False),
        (offset, (), True),
        (expanded, (1,), False),
        (expanded, (2,), True),
        (expanded_rows, (4,), False),
        (expanded_rows, (1, 4), False),
        (expanded_rows, (2, 1), True),
    ],
)
def test_not_every_shape_has_every_layout(make: Make, shape: tuple, has: bool) -> None:
    made = make(torch.ones(shape))
    assert (made is not None) is has
    assert made is None or made.shape == shape


def test_the_same_numbers_contiguous_for_comparison() -> None:
    for layout in LAYOUTS:
        made, plain = layout.of(X), layout.of(X, contiguous=True)
        assert made is not None and plain is not None
        assert plain.is_contiguous() and plain.storage_offset() == 0 and torch.equal(made, plain)
        assert layout.of(torch.empty(0), contiguous=True) is None


def test_a_copy_keeps_strides_and_offset() -> None:
    view = X[1:, ::2]
    twin = copied(view)
    assert torch.equal(twin, view) and twin.stride() == view.stride()
    assert twin.storage_offset() == view.storage_offset() == 4
    twin.zero_()
    assert float(X[1, 0]) == 5.0


def others(*shape: int, dtype: torch.dtype = torch.float32) -> list[str]:
    return [layout.name for layout in layouts_of([torch.ones(shape, dtype=dtype)]) if layout not in LAYOUTS]


def test_every_swap_of_two_dimensions_and_the_formats_of_convolutions() -> None:
    assert others(3, 4) == others() == []
    assert others(2, 3, 4) == ["transposed(0, 1)", "transposed(0, 2)"]
    swaps = [f"transposed({i}, {j})" for i, j in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3))]
    assert others(2, 3, 4, 5) == [*swaps, "channels_last"]
    assert others(2, 3, 4, 5, 6)[-1] == "channels_last_3d" and len(others(2, 3, 4, 5, 6)) == 10
    assert others(1, 3, 4) == []  # one row lies in memory as it does anyway
    assert others(2, 1, 3, 3) == ["transposed(0, 2)", "transposed(0, 3)"]  # one channel, too
    assert others(3, dtype=torch.cfloat) == ["conjugated"]


def test_such_layouts_hold_the_same_numbers_and_a_copy_keeps_them() -> None:
    generator = torch.Generator().manual_seed(1)
    for value in (torch.randn(2, 3, 4, 5, generator=generator), torch.randn(2, 3, 4, 2, 3, dtype=torch.cfloat)):
        for layout in layouts_of([value])[len(LAYOUTS) :]:
            made, plain = layout.of(value), layout.of(value, contiguous=True)
            assert made is not None and plain is not None and torch.equal(made, value) and torch.equal(plain, value)
            assert plain.is_contiguous() and not plain.is_conj()
            assert made.is_conj() if layout.name == "conjugated" else not made.is_contiguous()
            twin = copied(made)
            assert torch.equal(twin, value) and twin.stride() == made.stride() and twin.is_conj() == made.is_conj()
