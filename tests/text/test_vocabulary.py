import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backproof.text import CorpusError, Vocabulary, vocabulary_of

LETTERS = st.characters(exclude_characters=".", exclude_categories=["Cs", "Cc"])
WORDS = st.lists(st.text(LETTERS, min_size=1, max_size=12), min_size=1, max_size=20)


def test_dot_is_zero_and_the_letters_follow():
    vocabulary = vocabulary_of(["cab", "abba"])
    assert vocabulary.symbols == (".", "a", "b", "c")
    assert vocabulary.encode(["cab", "a"]).tolist() == [3, 1, 2, 0, 1, 0]


@given(WORDS)
def test_decoding_undoes_encoding(words: list[str]):
    vocabulary = vocabulary_of(words)
    assert vocabulary.decode(vocabulary.encode(words)) == "".join(word + "." for word in words)
    assert list(vocabulary.symbols[1:]) == sorted(set("".join(words)))


@pytest.mark.parametrize(("symbols", "bytes_each"), [(2, 1), (255, 1), (256, 1), (257, 2), (65_535, 2)])
def test_symbols_are_stored_in_as_few_bytes_as_they_need(symbols: int, bytes_each: int):
    letters = [chr(0x20000 + i) for i in range(symbols - 1)]
    vocabulary = vocabulary_of(letters)
    stream = vocabulary.encode(letters)
    assert stream.dtype.itemsize == bytes_each
    assert stream.dtype.kind == "u"
    np.testing.assert_array_equal(stream[::2], np.arange(1, symbols))


def test_more_symbols_than_can_be_told_apart():
    with pytest.raises(CorpusError, match="has 65,536 symbols; at most 65,535"):
        vocabulary_of([chr(0x20000 + i) for i in range(65_535)])


@pytest.mark.parametrize("symbol", ["z", "é", "\U0001f600"])
def test_an_unknown_symbol_is_named_with_its_word(symbol: str):
    with pytest.raises(CorpusError, match=f"The symbol '{symbol}' of the word 'b{symbol}' is not among the 3 symbols"):
        Vocabulary((".", "a", "b", "c")).encode(["ab", f"b{symbol}"])
