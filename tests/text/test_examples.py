import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backproof.text import Corpus, make_examples, split_examples, vocabulary_of

WORDS = st.lists(st.text("abcdefg", min_size=1, max_size=7), min_size=1, max_size=12)


def plain_examples(words: list[str], block_size: int) -> tuple[list[str], str]:
    """The notebooks' loop: contexts and targets as strings."""
    contexts, targets = [], ""
    for word in words:
        context = "." * block_size
        for symbol in word + ".":
            contexts.append(context)
            targets += symbol
            context = context[1:] + symbol
    return contexts, targets


def test_ada():
    vocabulary = vocabulary_of(["ada"])
    contexts, targets = make_examples(["ada"], vocabulary, 3).batch(slice(None))
    assert [vocabulary.decode(context) for context in contexts] == ["...", "..a", ".ad", "ada"]
    assert vocabulary.decode(targets) == "ada."


@given(WORDS, st.integers(1, 6))
def test_examples_are_those_of_the_plain_loop(words: list[str], block_size: int):
    vocabulary = vocabulary_of(words)
    examples = make_examples(words, vocabulary, block_size)
    contexts, targets = examples.batch(np.arange(len(examples)))
    wanted_contexts, wanted_targets = plain_examples(words, block_size)
    assert [vocabulary.decode(context) for context in contexts] == wanted_contexts
    assert vocabulary.decode(targets) == wanted_targets
    assert contexts.dtype == targets.dtype == np.int64


def test_a_batch_may_be_in_any_order_and_repeat():
    vocabulary = vocabulary_of(["anna", "bob"])
    examples = make_examples(["anna", "bob"], vocabulary, 2)
    contexts, targets = examples.batch(np.array([6, 0, 6]))
    assert [vocabulary.decode(row) for row in contexts] == [".b", "..", ".b"]
    assert vocabulary.decode(targets) == "oao"


@pytest.mark.parametrize("block_size", [1, 3, 8])
def test_an_example_takes_one_byte(block_size: int):
    words = ["".join(random.Random(i).choices("abcdefghij", k=7)) for i in range(500)]
    examples = make_examples(words, vocabulary_of(words), block_size)
    assert len(examples) == 8 * 500
    assert examples.stream.nbytes == len(examples) + block_size


@pytest.mark.parametrize(("seed", "sizes"), [(42, (182_625, 22_655, 22_866)), (278, (182_418, 22_885, 22_843))])
def test_published_splits(published: Corpus, seed: int, sizes: tuple[int, int, int]):
    vocabulary = vocabulary_of(published.words)
    assert len(published.words) == 32_033
    assert "".join(vocabulary.symbols) == ".abcdefghijklmnopqrstuvwxyz"
    assert max(map(len, published.words)) == 15
    assert tuple(map(len, split_examples(published.words, vocabulary, 3, seed))) == sizes
