"""Ctrl-C as a question asked between chunks of steps, so that it never tears a step apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interrupt() -> Iterator[Callable[[], bool]]:
    """Within the block Ctrl-C is only noted; the function given answers whether it came. A second one interrupts.

    A block within a block answers for both: Ctrl-C before the inner one began is not forgotten in it.
    Outside the main thread signals cannot be handled, and the answer is always no.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)
    if isinstance(before, _Note):
        yield before.came.is_set
        return
    note = _Note()
    signal.signal(signal.SIGINT, note)
    try:
        yield note.came.is_set
    finally:
        signal.signal(signal.SIGINT, before)


class _Note:
    """A handler that remembers the first Ctrl-C and raises the second."""

    def __init__(self) -> None:
        self.came = threading.Event()

    def __call__(self, number: int, frame: object) -> None:
        if self.came.is_set():
            raise KeyboardInterrupt
        self.came.set()
