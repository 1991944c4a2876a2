"""A forward and a backward function as a subject of proofs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from backproof.proof.judge.misread_upstream import judged
from backproof.proof.replays.damage import before_overwriting, overwriting_rows, value_called
from backproof.proof.replays.pair_calls import (
    Answer,
    Functions,
    PairTrial,
    Run,
    other_leaves,
    run_backward,
    run_forward,
)
from backproof.proof.replays.subject import FIRST, BackwardRaisedError, Conditions, SkippedError
from backproof.proof.report.rows import Row
from backproof.proof.user.calls import CannotProveError, blamed_line, describe, takes_upstream
from backproof.proof.user.tensors import is_finite, short_name
from backproof.proof.user.upstream import upstream_for
from backproof.proof.user.writes import Kept, damaged, keep
from backproof.proof.verdict.glance import glance


@dataclass(frozen=True)
class Pair:
    """The subject; see `subject.py` for what each member is."""

    functions: Functions

    backward_called = "backward"
    stateless = "compute everything from the arguments; keep nothing between calls"
    bound_to_dtypes = False

    @property
    def inputs(self) -> Any:
        return self.functions.inputs

    @property
    def takes_upstream(self) -> bool:
        return takes_upstream(self.functions.backward)

    def tried(self, conditions: Conditions, known: Collection[str] | None = None) -> PairTrial:
        return self._tried(self._forward(conditions), conditions, known)

    def _tried(self, run: Run, conditions: Conditions, known: Collection[str] | None) -> PairTrial:
        upstream = upstream_for(run.result, self.functions.seed + conditions.draw, unit=conditions.unit)

        def send() -> Tensor:
            laid_out = conditions.layout and conditions.layout.of(upstream, contiguous=conditions.contiguous)
            return upstream.clone() if laid_out is None else laid_out

        answer = self._answer(run, send())
        trial = PairTrial(run, send(), answer)  # not what backward was given, which may be damaged
        gradients, overwriting = before_overwriting(self.functions, trial, send)
        seen = glance(run.values, gradients, run.result, trial.upstream)
        if known is not None and seen.faults <= set(known):
            return replace(trial, rows=seen.rows())
        rows = judged(run.values, gradients, run.result, trial.upstream)
        if known is not None:
            return replace(trial, rows=rows)
        notes = [
            f"forward depends on {name}, which is none of its inputs, so its gradient is not compared; "
            "pass it as an input."
            for name in other_leaves(self.functions, run)
        ]
        return replace(trial, rows=overwriting_rows(rows, overwriting), notes=tuple(notes))

    def second(self, first_run: PairTrial, known: Collection[str]) -> tuple[list[Row], Mapping[str, Kept]]:
        first = keep(self._answer(first_run.run, first_run.upstream.clone()).gradients)
        rows = self._tried(first_run.run, FIRST, known).rows
        return rows, damaged(first)

    def _forward(self, conditions: Conditions) -> Run:
        run = run_forward(self.functions, conditions)
        if conditions.dtype is not None and run.result.dtype is not conditions.dtype:
            wanted, got = short_name(conditions.dtype), short_name(run.result.dtype)
            raise SkippedError(f"forward turns {wanted} inputs into {got}")
        if conditions.size is not None:
            self._refuse_what_is_not_finite(run)
        return run

    def _refuse_what_is_not_finite(self, run: Run) -> None:
        usual = run_forward(self.functions).values  # infinite there as well, as a mask may be, is no matter
        if not is_finite({name: v for name, v in run.values.items() if is_finite({name: usual.get(name)})}):
            raise SkippedError("the values of forward are not finite")
        upstream = upstream_for(run.result, self.functions.seed, unit=True)
        floats = {name: value for name, value in run.values.items() if value.requires_grad}
        truth = torch.autograd.grad(run.result, list(floats.values()), upstream, retain_graph=True, allow_unused=True)
        if not is_finite(dict(zip(floats, truth, strict=True))):
            raise SkippedError("the gradients of automatic differentiation are not finite")

    def _answer(self, run: Run, upstream: Tensor) -> Answer:
        try:
            return run_backward(self.functions, run, upstream)
        except CannotProveError as error:
            raise _raised(error, self.functions.backward, run) from error.__cause__


def _raised(error: CannotProveError, backward: Callable, run: Run) -> BackwardRaisedError:
    if error.__cause__ is None:  # what it returned is of no use
        return BackwardRaisedError(str(error), sentence=str(error))
    target, line = blamed_line(error.__cause__, backward)
    reason = describe(error.__cause__)
    return BackwardRaisedError(reason, sentence=str(error), line=line, value=value_called(target, run))
