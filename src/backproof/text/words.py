"""Words as one array of code points: a byte a character where the symbols allow it, however many words there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import islice
from typing import overload

import numpy as np
from numpy.typing import NDArray

END = "."  # symbol 0: marks the start and the end of every word

PIECE = 2**20  # characters worked on at once, so that what is needed meanwhile does not grow with the text
_AT_ONCE = 2**16  # words gathered at once
_SHOWN = 5


class Words(Sequence[str]):
    """A sequence of words, none of which contains `.`; equal to any other sequence of the same words.

    `codes` are their code points, each word closed by that of `.`, in uint8, uint16 or uint32.
    """

    def __init__(self, codes: NDArray) -> None:
        self.codes = codes

    @classmethod
    def of(cls, words: Sequence[str]) -> Words:
        """The same words; what is `Words` already is not copied."""
        return words if isinstance(words, Words) else cls(code_points(END.join(words) + END if len(words) else ""))

    def pieces(self) -> Iterator[tuple[int, NDArray]]:
        """`codes` in pieces, each with the place where it begins."""
        for at in range(0, len(self.codes), PIECE):
            yield at, self.codes[at : at + PIECE]

    @cached_property
    def ends(self) -> NDArray:
        """Where in `codes` each word is closed."""
        count = sum(int(np.count_nonzero(piece == ord(END))) for _, piece in self.pieces())
        ends, filled = np.empty(count, np.min_scalar_type(len(self.codes))), 0
        for at, piece in self.pieces():
            found = np.flatnonzero(piece == ord(END))
            ends[filled : filled + len(found)] = found + at
            filled += len(found)
        return ends

    def _starts(self, numbers: NDArray) -> NDArray:
        """Where the words of these numbers begin, int64."""
        return np.where(numbers == 0, 0, self.ends[numbers - 1].astype(np.int64) + 1)

    def take(self, numbers: NDArray) -> Words:
        """The words of these numbers, each at most once, in that order."""
        codes, filled = np.empty(len(self.codes), self.codes.dtype), 0
        for at in range(0, len(numbers), _AT_ONCE):
            some = numbers[at : at + _AT_ONCE].astype(np.int64)
            starts, lengths = self._starts(some), self.ends[some].astype(np.int64) + 1
            lengths -= starts
            total = int(lengths.sum())
            if total > 16 * PIECE:  # long words: copied one by one
                for start, length in zip(starts.tolist(), lengths.tolist(), strict=True):
                    codes[filled : filled + length] = self.codes[start : start + length]
                    filled += length
                continue
            begins = np.cumsum(lengths) - lengths
            places = np.repeat(starts - begins, lengths) + np.arange(total)
            codes[filled : filled + total] = self.codes[places]
            filled += total
        codes.resize(filled, refcheck=False)  # in place: nobody else has it yet
        return Words(codes)

    def __len__(self) -> int:
        return len(self.ends)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Words: ...
    def __getitem__(self, index: int | slice) -> str | Words:
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return _text(self.take(np.array([range(len(self))[index]])).codes[:-1])

    def __iter__(self) -> Iterator[str]:
        begun = ""
        for _, piece in self.pieces():
            *whole, begun = (begun + _text(piece)).split(END)
            yield from whole

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Words):
            return np.array_equal(self.codes, other.codes)
        if not isinstance(other, Sequence) or isinstance(other, str):
            return NotImplemented
        return len(self) == len(other) and all(mine == theirs for mine, theirs in zip(self, other, strict=True))

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        shown = ", ".join(map(repr, islice(self, _SHOWN)))
        return f"Words({shown}{', ...' if len(self) > _SHOWN else ''}; {len(self):,} in all)"


def code_points(text: str) -> NDArray:
    """Of each character, in the smallest of uint8, uint16 and uint32 that holds all of them."""
    try:
        return np.frombuffer(text.encode("latin-1"), np.uint8)
    except UnicodeEncodeError:
        narrow = text.encode("utf-16-le")
    if len(narrow) == 2 * len(text):  # no character takes two of them
        return np.frombuffer(narrow, "<u2")
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _text(codes: NDArray) -> str:
    if codes.dtype.itemsize == 1:
        return codes.tobytes().decode("latin-1")
    return codes.astype("<u4").tobytes().decode("utf-32-le")
