"""Words in: one word a line, from the embedded list, the published corpus or any UTF-8 file."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from errno import EACCES, EPERM
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

from backproof.files import read_bytes
from backproof.text import download
from backproof.text.errors import CorpusError
from backproof.text.words import END, PIECE, Words, code_points

EMBEDDED = "embedded"
PUBLISHED = "makemore"

_MOST_BYTES = 4 * 2**30  # more does not fit into the memory of the machines that this is for
_BOM = b"\xef\xbb\xbf"
_SPACES = [character for character in map(chr, range(0x3001)) if character.isspace() and character != "\n"]
_UTF16_BOMS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
# (?>...): what has been read as comments stays read; to try every other way of it would take exponential time.
_WEB_PAGE = re.compile(rb"(?>\s*(<!--.*?-->\s*)*)<(!doctype\s+html|html|head)\b", re.IGNORECASE | re.DOTALL)


@dataclass(frozen=True)
class Cleaning:
    """What was tidied away while reading; every field is a number of lines, but `byte_order_mark`."""

    byte_order_mark: bool = False
    carriage_returns: int = 0
    blank_lines: int = 0
    padded_lines: int = 0

    def __str__(self) -> str:
        parts = [
            "a byte-order mark" if self.byte_order_mark else "",
            _count(self.carriage_returns, "carriage return"),
            _count(self.blank_lines, "blank line"),
            f"the spaces around {_count(self.padded_lines, 'word')}" if self.padded_lines else "",
        ]
        return ", ".join(part for part in parts if part)


@dataclass(frozen=True)
class Corpus:
    """Words in the order of their lines (repeats kept), where they came from, and the SHA-256 of the bytes.

    Any sequence of words may be given; `words` is a `Words`, which takes as little memory as the text itself.
    Raises CorpusError for a word that is empty or contains '.': it could not be told from the end of a word.
    """

    words: Sequence[str]
    source: str
    sha256: str
    cleaning: Cleaning = Cleaning()

    def __post_init__(self) -> None:
        if isinstance(self.words, Words):
            return
        if "" in self.words:
            raise CorpusError(f"{self.source}: word {self.words.index('') + 1:,} is empty; leave it out.")
        if END in "".join(self.words):
            word = next(word for word in self.words if END in word)
            raise CorpusError(
                f"{self.source}: the word {_shortened(word)!r} contains '{END}', which marks the start and end of "
                "words; remove it."
            )
        object.__setattr__(self, "words", Words.of(self.words))


def read_corpus(source: str | Path = EMBEDDED) -> Corpus:
    """Read `"embedded"` (the package's own list), `"makemore"` (once fetched) or a file of words.

    A file called `embedded` or `makemore` is reached as `./embedded`.
    Raises CorpusError, one sentence with the way out, for anything that is not a text of words.
    """
    if source == EMBEDDED:
        data = resources.files("backproof.text").joinpath("names.txt").read_bytes()
        return parse_corpus(data, EMBEDDED)
    if source == PUBLISHED:
        return parse_corpus(_read_file(download.published_names()), PUBLISHED)
    return parse_corpus(_read_file(Path(source)), str(source))


def parse_corpus(data: bytes, source: str) -> Corpus:
    """Turn the bytes of a word list into a `Corpus`; `source` is how messages call it."""
    _refuse_what_is_no_text(data, source)
    codes, filled = np.empty(len(data) + 1, np.uint8), 0  # what is not filled takes no memory
    returns = blank = padded = lines = 0
    for text in _pieces(data, source):
        if found := text.count("\r"):
            text = text.replace("\r\n", "\n").replace("\r", "\n")
            returns += found
        if END in text:
            _refuse_end(text, lines, source)
        tidy = _tidied(text)
        if len(tidy.text):
            some = code_points(tidy.text)
            if some.dtype.itemsize > codes.dtype.itemsize:
                narrow, codes = codes, np.empty(len(codes), some.dtype)
                codes[:filled] = narrow[:filled]
            codes[filled : filled + len(some)] = some
            filled += len(some)
        lines, blank, padded = lines + tidy.lines, blank + tidy.blank_lines, padded + tidy.padded_lines
    if not filled:
        raise CorpusError(f"{source} holds no words; give a text file with one word a line.")
    codes.resize(filled, refcheck=False)  # in place: nobody else has it yet
    cleaning = Cleaning(data.startswith(_BOM), returns, blank, padded)
    return Corpus(Words(codes), source, hashlib.sha256(data).hexdigest(), cleaning)


class _Tidied(NamedTuple):
    """Whole lines of a text as words, each closed by END, and what was tidied away."""

    text: str
    lines: int
    blank_lines: int = 0
    padded_lines: int = 0


def _tidied(text: str) -> _Tidied:
    text = text.removesuffix("\n")
    if (
        "\n\n" not in text
        and text[:1] not in ("", "\n")
        and text[-1] != "\n"
        and not any(map(text.__contains__, _SPACES))
    ):
        return _Tidied(text.replace("\n", END) + END, text.count("\n") + 1)
    lines = text.split("\n")
    stripped = [line.strip() for line in lines]
    words = [word for word in stripped if word]
    padded = sum(1 for line, word in zip(lines, stripped, strict=True) if word and len(line) != len(word))
    return _Tidied("".join([word + END for word in words]), len(lines), len(lines) - len(words), padded)


def _pieces(data: bytes, source: str) -> Iterator[str]:
    """The text in pieces of whole lines, without a byte-order mark."""
    at = len(_BOM) if data.startswith(_BOM) else 0
    while at < len(data):
        end = data.rfind(b"\n", at, at + PIECE) + 1 or data.find(b"\n", at) + 1 or len(data)
        try:
            yield data[at:end].decode()
        except UnicodeDecodeError as error:
            wrong = at + error.start
            place = f"{source}, line {_line_of(data, wrong)}"
            raise CorpusError(
                f"{place}: byte 0x{data[wrong]:02x} is not valid UTF-8; save the file as UTF-8."
            ) from None
        at = end


def _refuse_end(text: str, lines_before: int, source: str) -> None:
    lines = enumerate(text.split("\n"), lines_before + 1)
    number, line = next((number, line) for number, line in lines if END in line)
    word = f"{source}, line {number}: the word {_shortened(line.strip())!r}"
    raise CorpusError(f"{word} contains '{END}', which marks the start and end of words; remove it.")


def _read_file(path: Path) -> bytes:
    try:
        return read_bytes(path, _MOST_BYTES)
    except FileNotFoundError:
        raise CorpusError(
            f"There is no file {path}; give a text file with one word a line, '{EMBEDDED}' or '{PUBLISHED}'."
        ) from None
    except IsADirectoryError:
        raise CorpusError(f"{path} is a folder; give a text file with one word a line.") from None
    except ValueError:  # a zero character, or half of a surrogate pair
        raise CorpusError(
            f"{str(path)!r} cannot be the name of a file; give a text file with one word a line."
        ) from None
    except OSError as error:
        way_out = "check its permissions" if error.errno in (EACCES, EPERM) else "give another file of words"
        raise CorpusError(f"{path} cannot be read ({error.strerror}); {way_out}.") from None


def _refuse_what_is_no_text(data: bytes, source: str) -> None:
    if not data:
        raise CorpusError(f"{source} is empty; give a text file with one word a line.")
    if _WEB_PAGE.match(data, len(_BOM) if data.startswith(_BOM) else 0):
        raise CorpusError(
            f"{source} is a web page (HTML), not a list of words; download the raw file instead "
            "(on a code-hosting site: the 'Raw' button)."
        )
    if data.startswith(_UTF16_BOMS):
        raise CorpusError(f"{source} is encoded as UTF-16; save the file as UTF-8.")
    if control := _CONTROL.search(data):
        code, line = data[control.start()], _line_of(data, control.start())
        raise CorpusError(
            f"{source}, line {line}: holds the control character 0x{code:02x}, so it is a binary file; give a text "
            "file with one word a line."
        )


def _line_of(data: bytes, position: int) -> int:
    return data.count(b"\n", 0, position) + 1


def _shortened(word: str, length: int = 40) -> str:
    return word if len(word) <= length else word[:length] + "..."


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}" if number else ""
