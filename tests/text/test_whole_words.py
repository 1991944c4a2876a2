"""Whole words as examples, beside the plainest Python that makes the same."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from backproof.text import Corpus, WholeWords, split_examples, split_whole_words, vocabulary_of

WORDS = st.lists(st.text("abc", min_size=1, max_size=9), min_size=1, max_size=8)


def cells_of(numbers: list[int], block_size: int) -> tuple[list[int], list[int]]:
    """What a model reads of one word, and what it should have foreseen."""
    return [0, *numbers][:block_size], [*numbers, 0][:block_size]


@given(words=WORDS, block_size=st.integers(1, 7), data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_batch_is_what_plain_python_makes(words: list[str], block_size: int, data: st.DataObject):
    vocabulary = vocabulary_of(words)
    whole = WholeWords(vocabulary.encode(words), block_size)
    assert len(whole) == len(words)
    indices = data.draw(st.lists(st.integers(0, len(words) - 1), min_size=1, max_size=5))
    x, y = whole.batch(np.array(indices))
    numbers = [[vocabulary.symbols.index(symbol) for symbol in words[index]] for index in indices]
    rows = [cells_of(word, block_size) for word in numbers]
    t = max(len(contexts) for contexts, _ in rows)
    assert x.dtype == y.dtype == np.int64
    assert x.tolist() == [contexts + [0] * (t - len(contexts)) for contexts, _ in rows]
    assert y.tolist() == [targets + [-1] * (t - len(targets)) for _, targets in rows]


@given(words=WORDS, block_size=st.integers(1, 7))
@settings(max_examples=30, deadline=None)
def test_starts_and_cells_are_those_of_the_words(words: list[str], block_size: int):
    whole = WholeWords(vocabulary_of(words).encode(words), block_size)
    assert whole.starts.dtype == np.int64
    assert whole.starts.tolist() == [sum(len(word) + 1 for word in words[:count]) for count in range(len(words) + 1)]
    assert whole.cells == sum(min(len(word) + 1, block_size) for word in words)
    assert whole.cells == int((whole.batch(np.arange(len(words)))[1] >= 0).sum())


def test_the_example_of_the_docstring():
    whole = WholeWords(vocabulary_of(["ada", "adada"]).encode(["ada", "adada"]), 6)
    x, y = whole.batch(np.array([0, 1]))
    assert x.tolist() == [[0, 1, 2, 1, 0, 0], [0, 1, 2, 1, 2, 1]]
    assert y.tolist() == [[1, 2, 1, 0, -1, -1], [1, 2, 1, 2, 1, 0]]


def test_the_splits_hold_the_same_words_as_those_of_examples(small_corpus: Corpus):
    vocabulary = vocabulary_of(small_corpus.words)
    ours = split_whole_words(small_corpus.words, vocabulary, 6, 5)
    theirs = split_examples(small_corpus.words, vocabulary, 6, 5)
    for one, other in zip(ours, theirs, strict=True):
        assert one.stream.tolist() == other.stream[6:].tolist()
