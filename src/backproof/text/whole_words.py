"""Whole words as examples: what a model reads from left to right, and what it should have foreseen at every step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from backproof.text.examples import split_words
from backproof.text.vocabulary import Vocabulary

IGNORED = -1  # the target of a cell after a word's end


@dataclass(frozen=True)
class WholeWords:
    """A list of words, each one an example of as many cells as it has symbols and its end.

        ada, block size 6:    contexts  . a d a . .      targets  a d a . - -

    `stream` holds each word and a closing `.` (symbol 0). A context begins with `.`; a target says which symbol comes
    next, `-` (-1) that the cell lies after the end and counts for nothing. Of a word that is longer than the block only
    the first `block_size` cells are there.
    """

    stream: NDArray
    block_size: int

    def __len__(self) -> int:
        return len(self._ends)

    @cached_property
    def _ends(self) -> NDArray:
        return np.flatnonzero(self.stream == 0)

    @property
    def starts(self) -> NDArray:
        """Where in `stream` each word begins, and the end of the last one: int64, (words + 1,)."""
        return self._starts

    @cached_property
    def _starts(self) -> NDArray:
        return np.concatenate([[0], self._ends + 1]).astype(np.int64)

    @cached_property
    def cells(self) -> int:
        """How many targets there are."""
        return int(np.minimum(np.diff(self.starts), self.block_size).sum())

    def batch(self, indices: NDArray) -> tuple[NDArray, NDArray]:
        """Contexts and targets (n, t) of the words `indices`, int64; t is the longest one's number of cells."""
        starts = self.starts[indices]
        lengths = np.minimum(self.starts[indices + 1] - starts, self.block_size)
        steps = np.arange(lengths.max(initial=1))
        inside = steps < lengths[:, None]
        symbols = self.stream[np.where(inside, starts[:, None] + steps, 0)].astype(np.int64)
        targets = np.where(inside, symbols, IGNORED)
        contexts = np.zeros_like(targets)
        contexts[:, 1:] = np.where(inside[:, 1:], symbols[:, :-1], 0)
        return contexts, targets


class WordSplits(NamedTuple):
    """The words to train on, to choose by, and to report."""

    train: WholeWords
    validation: WholeWords
    test: WholeWords


def split_whole_words(words: Sequence[str], vocabulary: Vocabulary, block_size: int, seed: int) -> WordSplits:
    """The three splits of a corpus, the same words as `split_examples` has for this seed."""
    return WordSplits(*(WholeWords(vocabulary.encode(part), block_size) for part in split_words(words, seed)))
