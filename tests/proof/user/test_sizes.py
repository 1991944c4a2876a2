"""Other sizes than the first run's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from backproof.proof.user.sizes import SIZES, other_sizes, usual_size


def test_the_sizes_leave_a_part_of_every_tile_and_are_odd_two_and_one() -> None:
    largest, odd, *small = SIZES
    assert all(largest % tile for tile in (2, 4, 8, 16, 32, 64)) and 64 < largest < 128
    assert odd % 2 and 2 < odd < 8
    assert small == [2, 1]


@pytest.mark.parametrize(
    ("inputs", "size"),
    [
        (lambda n: n, 32),  # whole tiles of up to 32, so that the first run shows nothing that a part of one would
        (lambda n=5: n, 5),
        (lambda n="a": n, 32),
        (lambda *sizes: sizes, 32),
        (lambda: 1, None),
        (lambda *, n=5: n, None),
        ({"x": 1}, None),
        (max, None),  # without a readable signature
    ],
)
def test_the_size_of_the_first_run(inputs: Any, size: int | None) -> None:
    assert usual_size(inputs) == size


def test_further_whole_numbers_are_tried_two_larger() -> None:
    """What has to be odd or even stays so; a flag, a fraction and a name are no sizes."""

    def inputs(n: int = 4, width: int = 6, rate: float = 0.5, bias: bool = True, *, heads: int = 2) -> tuple:
        return n, width, rate, bias, heads

    sizes = other_sizes(inputs, (7, 1))
    assert [(one.name, one.n, one.now, one.usual) for one in sizes] == [
        ("size 7", 7, 7, 4),
        ("size 1", 1, 1, 4),
        ("size width=8", 4, 8, 6),
        ("size heads=4", 4, 4, 2),
    ]
    assert sizes[0].inputs(7) == (7, 6, 0.5, True, 2)
    assert sizes[2].inputs(4) == (4, 8, 0.5, True, 2)
    assert sizes[3].inputs(4) == (4, 6, 0.5, True, 4)


def positional(n: int = 4, width: int = 6, /) -> tuple:
    return n, width


@pytest.mark.parametrize("inputs", [positional, lambda n=4: n])
def test_what_cannot_be_named_is_not_tried(inputs: Callable) -> None:
    assert [one.name for one in other_sizes(inputs, (7,))] == ["size 7"]
    assert other_sizes(lambda: 1, (7,)) == []
