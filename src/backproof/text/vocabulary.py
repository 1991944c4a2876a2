"""The symbols of a corpus, and words as numbers: no Python loop touches a single character."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from backproof.text.errors import CorpusError
from backproof.text.words import END, Words, code_points

MOST_SYMBOLS = 65_535


@dataclass(frozen=True)
class Vocabulary:
    """Symbol 0 is `.`, the others are the corpus's code points in sorted order."""

    symbols: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.symbols)

    @property
    def dtype(self) -> np.dtype:
        """The smallest unsigned integer that holds every symbol number: one byte up to 256 symbols."""
        return np.dtype(np.min_scalar_type(len(self.symbols) - 1))

    @cached_property
    def _numbers(self) -> NDArray:
        """Symbol number by code point; the number of symbols itself stands for 'unknown'."""
        codes = code_points("".join(self.symbols))
        table = np.full(int(codes.max()) + 2, len(self.symbols), np.min_scalar_type(len(self.symbols)))
        table[codes] = np.arange(len(self.symbols))
        return table

    def encode(self, words: Sequence[str], before: int = 0) -> NDArray:
        """Every word followed by `.`, as one stream of symbol numbers of shape (before + characters + words,).

        It begins with `before` times symbol 0.
        Raises CorpusError for a symbol that the vocabulary lacks, naming the symbol and its word.
        """
        every, table = Words.of(words), self._numbers
        numbers = np.empty(before + len(every.codes), self.dtype)
        numbers[:before] = 0
        for at, piece in every.pieces():
            found = table[np.minimum(piece, len(table) - 1)]
            unknown = found == len(self.symbols)
            if unknown.any():
                self._refuse(words, chr(piece[unknown.argmax()]))
            numbers[before + at : before + at + len(found)] = found
        return numbers

    def _refuse(self, words: Sequence[str], symbol: str) -> None:
        word = next(word for word in words if symbol in word)
        raise CorpusError(
            f"The symbol {symbol!r} of the word {word!r} is not among the {len(self) - 1:,} symbols that the model "
            "knows; use words made of those symbols."
        )

    def decode(self, numbers: Iterable[int]) -> str:
        """The symbols of `numbers`, joined."""
        return "".join(self.symbols[number] for number in numbers)


def checked(symbols: object) -> tuple[str, ...]:
    """The symbols of a vocabulary that was read from a file; raises ValueError for what `vocabulary_of` cannot give."""
    if not isinstance(symbols, list) or not 1 < len(symbols) <= MOST_SYMBOLS or symbols[0] != END:
        raise ValueError
    others = symbols[1:]
    if not all(isinstance(one, str) and len(one) == 1 and one != END for one in others):
        raise ValueError
    if others != sorted(set(others)) or any("\ud800" <= one <= "\udfff" for one in others):
        raise ValueError
    return tuple(symbols)


def vocabulary_of(words: Sequence[str]) -> Vocabulary:
    """`.` and every distinct symbol of `words`, sorted by code point."""
    every = Words.of(words)
    seen = np.zeros(int(every.codes.max(initial=0)) + 1, dtype=bool)
    for _, piece in every.pieces():
        seen[piece] = True
    seen[ord(END) : ord(END) + 1] = False
    symbols = (END, *map(chr, np.flatnonzero(seen)))
    if len(symbols) > MOST_SYMBOLS:
        raise CorpusError(f"The corpus has {len(symbols):,} symbols; at most {MOST_SYMBOLS:,} can be told apart.")
    return Vocabulary(symbols)
