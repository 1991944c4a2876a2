"""Words in, examples out. Needs numpy alone; knows nothing of networks."""

from backproof.text.corpus import Cleaning, Corpus, parse_corpus, read_corpus
from backproof.text.download import fetch_names
from backproof.text.errors import CorpusError
from backproof.text.examples import Examples, Splits, make_examples, split_examples, split_words
from backproof.text.vocabulary import Vocabulary, vocabulary_of
from backproof.text.whole_words import WholeWords, WordSplits, split_whole_words
from backproof.text.words import END, Words

__all__ = [
    "END",
    "Cleaning",
    "Corpus",
    "CorpusError",
    "Examples",
    "Splits",
    "Vocabulary",
    "WholeWords",
    "WordSplits",
    "Words",
    "fetch_names",
    "make_examples",
    "parse_corpus",
    "read_corpus",
    "split_examples",
    "split_whole_words",
    "split_words",
    "vocabulary_of",
]
