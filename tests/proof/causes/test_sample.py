"""Places counted in whole numbers: the first and the last are among them, however large the tensor."""

from __future__ import annotations

from itertools import pairwise

import pytest

from backproof.proof.causes.sample import evenly


@pytest.mark.parametrize("size", [1, 2, 7, 96, 2**24 - 1, 2**24 + 1, 20_000_000, 20_000_001, 2**31 + 5])
@pytest.mark.parametrize("count", [1, 2, 5, 48])
def test_places_are_in_range_and_even(size: int, count: int) -> None:
    places = evenly(size, min(count, size)).tolist()
    assert places[0] == 0 and (count == 1 or places[-1] == size - 1)
    gaps = [after - before for before, after in pairwise(places)]
    assert all(gap >= 1 for gap in gaps) and (not gaps or max(gaps) - min(gaps) <= 1)


def test_none_of_none() -> None:
    assert evenly(5, 0).tolist() == []
