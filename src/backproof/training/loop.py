"""The training loop: draws minibatches, hands them to an engine in chunks, watches the losses."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from backproof.engines import Engine
from backproof.training.interrupt import deferred_interrupt
from backproof.training.status import Status

_SECONDS_A_CHUNK = 0.1  # how long Ctrl-C and the progress display may have to wait
_MOST_INDICES_A_CHUNK = 1 << 20  # bounds the memory of a chunk


@dataclass(frozen=True)
class Progress:
    """Where a run stands: `losses` are those of all steps so far, in nats per example."""

    steps_done: int
    steps: int
    losses: NDArray
    learning_rate: float
    seconds: float


@dataclass(frozen=True)
class State:
    """All that a run needs to go on, bit by bit as if it had never stopped.

    `tensors` are the engine's; `random` is the state of the generator of minibatches; `losses` (float32) are those of
    all steps so far.
    """

    tensors: Mapping[str, Tensor]
    random: Tensor
    losses: NDArray
    seconds: float


@runtime_checkable
class Plan(Protocol):
    """What of a run's settings the loop asks for; `rates` are the learning rates of some steps, float64."""

    @property
    def steps(self) -> int: ...

    @property
    def batch_size(self) -> int: ...

    def rates(self, start: int = 0, stop: int | None = None) -> Tensor: ...


class Keep(NamedTuple):
    """What a run's state is given to: every so many seconds, when the run is interrupted, and after its last step."""

    save: Callable[[State], None]
    every: float
    on_interrupt: Callable[[], None] = lambda: None  # before that last one


@dataclass(frozen=True)
class Outcome:
    """Losses of the steps taken (float32, nats per example), how the run ended, and how long it took."""

    losses: NDArray
    status: Status
    seconds: float


def run(
    engine: Engine,
    examples: int,
    settings: Plan,
    generator: Generator,
    on_progress: Callable[[Progress], object] | None = None,
    *,
    begun: State | None = None,
    keep: Keep | None = None,
    until: int | None = None,
) -> Outcome:
    """Train `engine` on minibatches drawn from `examples` examples by `generator`; both are in the state of `begun`.

    Ends early after `until` steps, on Ctrl-C, and when `on_progress` returns True: the run is then interrupted. It also
    ends on a step that makes the loss or a parameter infinite or NaN: the engine is then left in the last state in
    which all of its numbers were finite, and only the losses up to it are returned.
    """
    until = settings.steps if until is None else min(until, settings.steps)
    losses = np.empty(settings.steps, np.float32)
    status, done, chunk = Status.FINISHED, 0, 1
    started = kept = perf_counter()
    if begun is not None:
        done = len(begun.losses)
        losses[:done] = begun.losses
        started -= begun.seconds

    def state() -> State:
        return State(engine.state(), generator.get_state(), losses[:done], perf_counter() - started)

    stopped = False
    with deferred_interrupt() as interrupted:
        while done < until:
            if stopped or interrupted():
                status = Status.INTERRUPTED
                if keep is not None and done:
                    keep.on_interrupt()
                    keep.save(state())
                break
            if keep is not None and done and perf_counter() - kept >= keep.every:
                keep.save(state())
                kept = perf_counter()
            chunk_started = perf_counter()
            count = min(chunk, until - done)
            before = engine.state()
            indices = torch.randint(0, examples, (count, settings.batch_size), generator=generator)
            chunk_rates = settings.rates(done, done + count)
            chunk_losses = engine.run(indices, chunk_rates)
            if not (_finite(chunk_losses) and _all_finite(engine)):
                count = _rewind(engine, before, indices, chunk_rates)
                chunk_losses, status = chunk_losses[:count], Status.DIVERGED
            losses[done : done + count] = chunk_losses.numpy()
            done += count
            if on_progress and done:
                seconds = perf_counter() - started
                rate = chunk_rates[count - 1].item()
                stopped = on_progress(Progress(done, settings.steps, losses[:done], rate, seconds)) is True
            if status is Status.DIVERGED:
                break
            chunk = _next_chunk(count, perf_counter() - chunk_started, settings.batch_size)
        if keep is not None and status is Status.FINISHED:
            keep.save(state())  # what is made of it now may fail, as on a full disk
        if status is Status.FINISHED and done < settings.steps:
            status = Status.INTERRUPTED
    return Outcome(losses[:done], status, perf_counter() - started)


def _next_chunk(count: int, seconds: float, batch_size: int) -> int:
    wanted = int(count * _SECONDS_A_CHUNK / max(seconds, 1e-9))
    return max(1, min(wanted, 2 * count, _MOST_INDICES_A_CHUNK // batch_size))


def _rewind(engine: Engine, before: Mapping[str, Tensor], indices: Tensor, rates: Tensor) -> int:
    """Repeat the chunk up to the step that spoilt it, and leave the engine just before; return the steps that count.

    A state that is not finite never becomes finite again, so the step is found by bisection.
    """

    def spoilt_after(steps: int) -> bool:
        engine.load(before)
        return not (_finite(engine.run(indices[:steps], rates[:steps])) and _all_finite(engine))

    good = bisect_left(range(1, len(indices) + 1), True, key=spoilt_after)
    spoilt_after(good)
    return good


def _all_finite(engine: Engine) -> bool:
    return all(_finite(tensor) for tensor in engine.state().values())


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
