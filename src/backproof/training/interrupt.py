"""Ctrl-C as a question asked between chunks of steps, so that it never tears a step apart."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

# Signals that end a program as Ctrl-C does: somebody asks it to go, or its terminal has gone.
ENDING = tuple(number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, 0)))


@contextmanager
def deferred_interrupt(*others: int) -> Iterator[Callable[[], int]]:
    """Within the block Ctrl-C, and `others`, are only noted; the function given says which signal came, or 0.

    A second one interrupts. A block within a block answers for both: Ctrl-C before the inner one began is not forgotten
    in it. What the process ignores, as hang-ups under nohup, it goes on ignoring. Outside the main thread signals
    cannot be handled, and the answer is always 0.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    present = signal.getsignal(signal.SIGINT)
    if isinstance(present, _Note):
        yield lambda: present.number
        return
    note = _Note()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, *others)}
    before = {number: handler for number, handler in before.items() if handler not in (signal.SIG_IGN, None)}
    for number in before:
        signal.signal(number, note)
    try:
        yield lambda: note.number
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class _Note:
    """A handler that remembers the first signal and raises KeyboardInterrupt at the second."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, number: int, frame: object) -> None:
        if self.number:
            raise KeyboardInterrupt
        self.number = number
