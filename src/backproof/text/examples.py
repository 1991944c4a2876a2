"""Examples out: (context, next symbol) pairs, stored as the text itself and cut out a batch at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backproof.text.errors import CorpusError
from backproof.text.shuffle import shuffled
from backproof.text.vocabulary import Vocabulary
from backproof.text.words import Words


@dataclass(frozen=True)
class Examples:
    """All (context, target) pairs of a list of words, one symbol of storage an example.

    `stream` is `block_size` zeros, then each word and a closing `.` (symbol 0). Example i has the target
    `stream[block_size + i]`; its context is the `block_size` symbols before, where everything left of the nearest
    `.` reads as `.` too, so that words do not leak into each other:

        ada -> ...→a  ..a→d  .ad→a  ada→.
    """

    stream: NDArray
    block_size: int

    def __len__(self) -> int:
        return len(self.stream) - self.block_size

    @cached_property
    def _windows(self) -> NDArray:
        return np.lib.stride_tricks.sliding_window_view(self.stream, self.block_size + 1)

    def batch(self, indices: NDArray | slice) -> tuple[NDArray, NDArray]:
        """Contexts (n, block_size) and targets (n,) of the examples `indices`, both int64."""
        windows = self._windows[indices].astype(np.int64)
        contexts, targets = windows[:, :-1], windows[:, -1]
        inside = np.logical_and.accumulate(contexts[:, ::-1] != 0, axis=1)[:, ::-1]
        return contexts * inside, np.ascontiguousarray(targets)


class Splits(NamedTuple):
    """The examples to train on, to choose by, and to report."""

    train: Examples
    validation: Examples
    test: Examples


def make_examples(words: Sequence[str], vocabulary: Vocabulary, block_size: int) -> Examples:
    """Encode `words` in their order; raises CorpusError for a symbol that is not in the vocabulary."""
    return Examples(vocabulary.encode(words, before=block_size), block_size)


def split_words(words: Sequence[str], seed: int) -> tuple[Words, Words, Words]:
    """Shuffle with Python's own generator, cut at 80 % and 90 % of the words; raises CorpusError for too few words."""
    every = Words.of(words)
    order = shuffled(len(every), seed)
    first, second = int(0.8 * len(order)), int(0.9 * len(order))
    parts = order[:first], order[first:second], order[second:]
    if not all(map(len, parts)):
        raise CorpusError(
            f"The corpus has {len(order)} word{'' if len(order) == 1 else 's'}, too few to split into training, "
            "validation and test words; give at least 6."
        )
    train, validation, test = map(every.take, parts)
    return train, validation, test


def split_examples(words: Sequence[str], vocabulary: Vocabulary, block_size: int, seed: int) -> Splits:
    """The three splits of a corpus as examples."""
    return Splits(*(make_examples(part, vocabulary, block_size) for part in split_words(words, seed)))
