"""Python's own shuffle, of millions in a second: the same order as `random.Random(seed).shuffle` gives."""

from __future__ import annotations

import random
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

_SCALAR = 256  # so few are swapped one by one
_MOST_DRAWS = 2**16
_WORD = 32  # bits of a draw of the generator


def shuffled(count: int, seed: int) -> NDArray:
    """The numbers from 0 up to `count` in the order that `random.Random(seed).shuffle` brings them into."""
    order = np.arange(count, dtype=np.min_scalar_type(max(count - 1, 0)))
    last = count - 1
    for others in _draws(count, seed):
        at = 0
        while at < len(others):
            some = others[at : at + max(8, int(last**0.5))]  # so few that hardly two of them meet
            _swap(order, last, some)
            last -= len(some)
            at += len(some)
    return order


def _draws(count: int, seed: int) -> Iterator[NDArray]:
    """What is drawn for the last place, the one before and so on: which place each changes with.

    Python draws as many bits as the bound has, again where that is not below it. How many have been taken decides the
    bound of the next; almost always a draw is below all that it can be, so that a few rounds settle many at once.
    """
    generator = _same_generator(seed)
    raw = np.empty(0, np.uint32)
    bound = count
    while bound > 1:
        bits = bound.bit_length()
        left = bound - max(2, 1 << (bits - 1)) + 1  # that are drawn with as many bits
        most = min(_MOST_DRAWS, max(_SCALAR, bound >> 6))
        if len(raw) < most:
            raw = np.concatenate([raw, generator.random_raw(_MOST_DRAWS).astype(np.uint32)])
        drawn = (raw[:most] >> (_WORD - bits)).astype(np.int64)
        taken, before = drawn < bound, None
        while before is None or not np.array_equal(taken, before):
            before = taken
            taken = drawn < bound - (np.cumsum(before) - before)
        places = np.flatnonzero(taken)[:left]
        used = int(places[-1]) + 1 if len(places) == left else most
        raw = raw[used:]
        bound -= len(places)
        yield drawn[places]


def _same_generator(seed: int) -> np.random.MT19937:
    """NumPy's Mersenne Twister in the state of Python's."""
    *key, position = random.Random(seed).getstate()[1]
    generator = np.random.MT19937()
    generator.state = {"bit_generator": "MT19937", "state": {"key": np.array(key, np.uint32), "pos": position}}
    return generator


def _swap(order: NDArray, last: int, others: NDArray) -> None:
    """Swap places `last`, `last` - 1 and so on with `others`, one after the other."""
    count = len(others)
    if last < _SCALAR or count <= 4:
        for place, other in zip(range(last, last - count, -1), others.tolist(), strict=True):
            order[place], order[other] = order[other], order[place]
        return
    met = np.sort(others)
    if met[-1] > last - count or (met[1:] == met[:-1]).any():  # two of them meet
        _swap(order, last, others[: count // 2])
        _swap(order, last - count // 2, others[count // 2 :])
        return
    mine = order[last - count + 1 : last + 1][::-1].copy()
    order[last - count + 1 : last + 1] = order[others][::-1]
    order[others] = mine
