"""Many cases at once, each worker process with one thread."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import TypeVar

import torch

T = TypeVar("T")


def in_processes(workers: int, judge: Callable[..., T], *arguments: Iterable) -> list[T]:
    """What `judge` says of each case, in their order; with one worker, here, where a debugger can follow."""
    if workers == 1:
        return list(map(judge, *arguments))
    with ProcessPoolExecutor(workers, get_context("spawn"), torch.set_num_threads, (1,)) as pool:
        return list(pool.map(judge, *arguments, chunksize=8))
