"""Words in one array are the same words."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backproof.text import words as module
from backproof.text.words import Words

SYMBOLS = st.characters(blacklist_categories=["Cs"], blacklist_characters=".")
LISTS = st.lists(st.text(SYMBOLS, min_size=1, max_size=8), max_size=12)


@given(LISTS)
def test_it_is_a_sequence_of_the_same_words(words: list[str]):
    made = Words.of(words)
    assert list(made) == words
    assert len(made) == len(words)
    assert made == tuple(words)
    assert hash(made) == hash(tuple(words))
    assert [made[index] for index in range(-len(words), len(words))] == words + words
    assert list(made[1:-1:2]) == words[1:-1:2]
    assert Words.of(made) is made


@given(LISTS.filter(bool), st.data())
def test_words_are_taken_in_any_order(words: list[str], data):
    numbers = data.draw(st.lists(st.integers(0, len(words) - 1), max_size=len(words), unique=True))
    taken = Words.of(words).take(np.array(numbers, np.uint8))
    assert list(taken) == [words[number] for number in numbers]


@pytest.mark.parametrize("piece", [1, 2, 3, 5])
def test_pieces_of_any_length_make_the_same(monkeypatch, piece: int):
    words = ["ada", "eve", "x", "longer than a piece", "жук", "e"]
    monkeypatch.setattr(module, "PIECE", piece)
    monkeypatch.setattr(module, "_AT_ONCE", piece)
    made = Words.of(words)
    assert list(made) == words
    assert list(made.take(np.array([5, 3, 0, 4]))) == ["e", "longer than a piece", "ada", "жук"]


@pytest.mark.parametrize(("symbol", "size"), [("z", 1), ("ÿ", 1), ("Ā", 2), ("空", 2), ("\U0001f600", 4)])
def test_a_character_takes_no_more_than_it_has_to(symbol: str, size: int):
    assert Words.of(["a", symbol]).codes.itemsize == size


def test_others_are_not_equal():
    made = Words.of(["a", "b"])
    assert made != ["a"]
    assert made != ["a", "c"]
    assert made != "ab"
    assert made != Words.of(["a"])


def test_a_number_that_no_word_has():
    with pytest.raises(IndexError):
        Words.of(["a"])[1]


def test_few_of_them_are_shown():
    assert repr(Words.of(["a", "b"])) == "Words('a', 'b'; 2 in all)"
    assert repr(Words.of(["a"] * 9)) == "Words('a', 'a', 'a', 'a', 'a', ...; 9 in all)"
