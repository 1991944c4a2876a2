"""Testing what is mathematically zero: noise is added to one of the user's own gradients, just where it is computed.

The gradient of a bias before batch normalisation is zero, whatever its line does with the upstream gradient: twice
or half of nothing is nothing. So the backward function is run once more, and the operation that completes the
gradient of a reader is followed by random noise. The lines behind it read the noisy numbers, and the forced
backward pass is handed the same noisy gradient: now right and wrong differ. Only the value in question is judged,
and it is accused only if it did read the noise and the fault has a name.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from backproof.proof.graph.graph import trace
from backproof.proof.judge.misread_upstream import judged
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.pair_calls import Functions, PairTrial, run_backward
from backproof.proof.report.rows import PROVED, Row, Verdict
from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.upstream import upstream_for
from backproof.proof.user.writes import storage_of
from backproof.proof.verdict.decide import Known, row_of
from backproof.proof.verdict.glance import glance

_READ = 100  # times larger than the rounding left of a zero is what has read the noise


def shaken(functions: Functions, trial: PairTrial, ledger: Ledger) -> list[Row]:
    """Rows for the values that the first run could not test, from runs with noise in their readers' gradients."""
    run = trial.run
    untested = [row.name for row in ledger.rows.values() if row.verdict is Verdict.NOT_TESTABLE and not row.culprit]
    untested = [name for name in untested if run.values[name].requires_grad and run.values[name].numel()]
    if not untested:
        return []
    upstream = upstream_for(run.result, functions.seed, unit=True)
    graph = trace(run.values, run.result, upstream)
    found = []
    for name in untested:
        text = f"d{name} is mathematically zero: its terms cancel whatever the upstream gradient is."
        ledger.put(replace(ledger.rows[name], message=text))
        for reader in graph.readers.get(name, ()):
            gradients = _with_noise_in(functions, trial, reader, upstream) if reader != run.output else None
            row = None if gradients is None else _judged_alone(trial, name, gradients, upstream)
            if row is not None:
                found.append(row)
                break
    return found


def _judged_alone(trial: PairTrial, name: str, gradients: dict[str, Tensor | None], upstream: Tensor) -> Row | None:
    run, before, now = trial.run, trial.answer.gradients[name], gradients[name]
    if before is None or now is None or before.shape != now.shape or now.abs().max() <= _READ * before.abs().max():
        return None  # it has not read the noise, which is right for something that is zero
    seen = glance(run.values, gradients, run.result, upstream)
    if seen.right.get(name) in (*PROVED, Verdict.INHERITED):
        return row_of(name, Known.EQUAL)
    if name not in seen.faults:
        return None
    (row,) = (row for row in judged(run.values, gradients, run.result, upstream) if row.name == name)
    return replace(row, exact=False, approximate=False) if row.culprit and row.cause is not None else None


def _with_noise_in(
    functions: Functions, trial: PairTrial, reader: str, upstream: Tensor
) -> dict[str, Tensor | None] | None:
    """The gradients of a run in which that of `reader` was made noisy; None where no operation can be found."""
    first = _Shaker(None)
    try:
        gradient = run_backward(functions, trial.run, upstream.clone(), first).gradients.get(reader)
        if gradient is None or storage_of(gradient) not in first.completed:
            return None
        second = _Shaker(first.completed[storage_of(gradient)])
        gradients = run_backward(functions, trial.run, upstream.clone(), second).gradients
    except CannotProveError:
        return None
    return gradients if second.count == first.count else None


class _Shaker(TorchDispatchMode):
    """Counts operations, notes which was the last to fill each piece of memory, and adds noise after one of them."""

    def __init__(self, shake: int | None) -> None:
        super().__init__()
        self.shake = shake
        self.count = 0
        self.completed: dict[int, int] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.count += 1
        if isinstance(result, Tensor) and result.numel() and result.is_floating_point() and _fills(func):
            self.completed[storage_of(result)] = self.count
            if self.count == self.shake:
                size = result.abs().max().clamp(min=torch.finfo(result.dtype).tiny)
                result.add_(torch.randn_like(result) * size)
        return result


def _fills(func: Any) -> bool:
    """Whether an operation computes new numbers, or writes into its argument, and is no mere view."""
    returned = func._schema.returns[0].alias_info if func._schema.returns else None
    return returned is None or returned.is_write
