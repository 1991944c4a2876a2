"""The one error of this package: a corpus that cannot be used as it is."""


class CorpusError(ValueError):
    """A corpus, or a text to encode, that the user has to change; the message is one sentence that says how."""
