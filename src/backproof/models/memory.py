"""What to say when the memory is full: each library has an error of its own for that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class NotEnoughMemoryError(MemoryError):
    """Sizes that this machine has no memory for; the message says which settings make them smaller."""


@contextmanager
def memory_for(what: str, settings: str) -> Iterator[None]:
    """Turn a failed allocation of Python, NumPy, PyTorch or the native engine into one NotEnoughMemoryError."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        # PyTorch's is a bare RuntimeError, and where the size itself overflows its message is another.
        ours = isinstance(error, NotEnoughMemoryError)
        if ours or not (isinstance(error, MemoryError) or any(words in str(error) for words in _OF_PYTORCH)):
            raise
        raise NotEnoughMemoryError(f"There is not enough memory for {what}; choose a smaller {settings}.") from None


_OF_PYTORCH = ("not enough memory", "t allocate memory", "Storage size calculation overflowed")
