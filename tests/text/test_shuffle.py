"""The order is Python's own, to the last number."""

from __future__ import annotations

import random

import pytest

from backproof.text.shuffle import shuffled

# around powers of two the number of bits that are drawn changes; above 256 swaps are made many at once
COUNTS = [*range(20), 63, 64, 65, 255, 256, 257, 258, 1023, 1024, 1025, 4805, 32_033, 65_537, 200_003]


@pytest.mark.parametrize("seed", [0, 42, 2**40])
@pytest.mark.parametrize("count", COUNTS)
def test_the_order_is_that_of_python(count: int, seed: int):
    order = list(range(count))
    random.Random(seed).shuffle(order)
    assert shuffled(count, seed).tolist() == order
