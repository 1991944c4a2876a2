import hashlib
import re

import pytest

from backproof.text import Corpus, CorpusError, parse_corpus, read_corpus, split_words
from backproof.text.corpus import Cleaning


def test_the_embedded_list_keeps_its_promises():
    corpus = read_corpus("embedded")
    assert len(corpus.words) >= 4000
    assert len(set(corpus.words)) == len(corpus.words)
    assert list(corpus.words) == sorted(corpus.words)
    assert all(re.fullmatch("[a-z]{2,}", word) for word in corpus.words)
    assert not str(corpus.cleaning)


def test_the_embedded_list_is_spoken_all_over_the_world():
    of_areas = (
        "olivia siobhan jurgen ingrid amelie inigo chiara dimitra katarzyna jurgita zoltan ayse yusuf shirin yael "
        "lakshmi akira minh adaeze thandiwe leilani tigran"
    )
    assert set(of_areas.split()) <= set(read_corpus("embedded").words)


def test_windows_files_are_cleaned_and_the_cleaning_is_counted():
    data = b"\xef\xbb\xbfanna\r\n  bob \r\n\r\n\tmia\r\n"
    corpus = parse_corpus(data, "names.txt")
    assert corpus.words == ("anna", "bob", "mia")
    assert corpus.cleaning == Cleaning(byte_order_mark=True, carriage_returns=4, blank_lines=1, padded_lines=2)
    assert str(corpus.cleaning) == "a byte-order mark, 4 carriage returns, 1 blank line, the spaces around 2 words"
    assert corpus.sha256 == hashlib.sha256(data).hexdigest()


def test_old_line_ends_and_a_missing_last_one_are_no_trouble():
    assert parse_corpus(b"a\rb\rc", "x").words == ("a", "b", "c")


def test_any_alphabet_and_repeats_are_kept():
    assert parse_corpus("ελένη\n李娜\nελένη\n".encode(), "x").words == ("ελένη", "李娜", "ελένη")


WEB_PAGE = b"\n\n\n<!DOCTYPE html>\n<html lang='en'>\n<body>anna</body></html>\n"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "x is empty; give a text file with one word a line."),
        (b"\n \n\n", "x holds no words; give a text file with one word a line."),
        (WEB_PAGE, "x is a web page (HTML), not a list of words; download the raw file instead (on a code-hosting"),
        (b"<html><p>", "x is a web page"),
        (b"<!-- saved -->\n<HTML>", "x is a web page"),
        (b"anna\nb\x00b\n", "x, line 2: holds the control character 0x00, so it is a binary file; give a text"),
        (b"\x7fELF\x01\x02", "x, line 1: holds the control character 0x7f"),
        (b"\xff\xfea\x00n\x00", "x is encoded as UTF-16; save the file as UTF-8."),
        (b"anna\nbob\nzo\xeb\n", "x, line 3: byte 0xeb is not valid UTF-8; save the file as UTF-8."),
        (b"anna\n\nst. john\n", "x, line 3: the word 'st. john' contains '.', which marks the start and end of words"),
    ],
)
def test_what_is_no_list_of_words_is_refused_in_a_sentence(data: bytes, message: str):
    with pytest.raises(CorpusError, match=re.escape(message)) as error:
        parse_corpus(data, "x")
    assert str(error.value).endswith(".")
    assert "\n" not in str(error.value)


def test_comments_without_end_are_no_riddle():
    """In 40 of them a pattern that tries every way to read them takes longer than anyone waits."""
    assert parse_corpus(b"<!-- a -->\n" * 40, "x").words == ("<!-- a -->",) * 40
    with pytest.raises(CorpusError, match="x is a web page"):
        parse_corpus(b"<!-- a -->\n" * 40 + b"<html>", "x")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("ab", "a.b"), "x: the word 'a.b' contains '.', which marks the start and end of words; remove it."),
        (("ab", ""), "x: word 2 is empty; leave it out."),
    ],
)
def test_words_that_did_not_come_from_a_file_are_checked_as_well(words: tuple[str, ...], message: str):
    with pytest.raises(CorpusError, match=re.escape(message)):
        Corpus(words, "x", "y")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(CorpusError, match=r"^'a\\x00b' cannot be the name of a file; give a text file"):
        read_corpus("a\0b")
    with pytest.raises(CorpusError, match=r"^'\\ud800' cannot be the name of a file"):
        read_corpus("\ud800")
    with pytest.raises(CorpusError, match=r"There is no file .*absent\.txt; give a text file"):
        read_corpus(tmp_path / "absent.txt")
    with pytest.raises(CorpusError, match="is a folder; give a text file"):
        read_corpus(tmp_path)


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5])
def test_too_few_words_to_split(count: int):
    with pytest.raises(CorpusError, match=f"has {count} words?, too few to split into .* give at least 6"):
        split_words(["ab"] * count, seed=42)


@pytest.mark.parametrize("count", range(6, 40))
def test_every_split_of_six_words_or_more_has_words(count: int):
    parts = split_words([str(i) for i in range(count)], seed=1)
    assert all(parts)
    assert sorted(word for part in parts for word in part) == sorted(str(i) for i in range(count))


@pytest.mark.parametrize("piece", [1, 3, 8])
def test_a_text_is_read_alike_in_pieces_of_any_length(monkeypatch, piece: int):
    data = b"\xef\xbb\xbf" + "ada\r\n\n eve\u3000\nжук\r\rx y\n\U0001f600z".encode()
    whole = parse_corpus(data, "src")
    monkeypatch.setattr("backproof.text.corpus.PIECE", piece)
    assert parse_corpus(data, "src") == whole
    assert whole.words == ("ada", "eve", "жук", "x y", "\U0001f600z")
    assert whole.cleaning == Cleaning(True, 3, 2, 1)


@pytest.mark.parametrize("piece", [1, 2**20])
@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\xef\xbb\xbfada\neve\n\xd0", "src, line 3: byte 0xd0 is not valid UTF-8; save the file as UTF-8."),
        (b"ada\r\neve\ra.b\n", "src, line 3: the word 'a.b' contains '.', which marks the start and end of words"),
    ],
)
def test_the_line_is_named_whatever_the_pieces(monkeypatch, piece: int, data: bytes, sentence: str):
    monkeypatch.setattr("backproof.text.corpus.PIECE", piece)
    with pytest.raises(CorpusError, match=sentence):
        parse_corpus(data, "src")


def test_every_space_of_python_is_known():
    from backproof.text.corpus import _SPACES

    assert {*_SPACES, "\n"} == {one for one in map(chr, range(0x110000)) if one.isspace()}
