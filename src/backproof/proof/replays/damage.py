"""A line that writes into what it may only read. Found by bits and version, traced to the line, and separated
from the innocent lines that read the damaged numbers afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from torch import Tensor

from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.pair_calls import UPSTREAM, Answer, Functions, PairTrial, Run, run_backward, run_forward
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Certainty
from backproof.proof.report.rows import Row, finding
from backproof.proof.user.modes import Watch, Write
from backproof.proof.user.writes import Kept, describe_change, storage_of
from backproof.proof.verdict.decide import Known, row_of, ruled
from backproof.proof.verdict.glance import glance

UNCHANGED = "arguments unchanged"


ADVICE = "write a new tensor, `a * b` instead of `a *= b` or `a.mul_(b)`; others still need the old one"


def find_damage(functions: Functions, trial: PairTrial, ledger: Ledger) -> list[Row]:
    """Nothing passed in changed; a line that read what another line had damaged is judged by what it read.

    The findings go into the ledger themselves, since they overrule what the first run says; no rows are left.
    """
    for name, kept in trial.run.damage.items():
        claim = f"The forward pass changes its input {name} in place"
        ledger.put(_accused(ledger.row(name), claim, describe_change(kept)))
    damage = trial.answer.damage
    if not damage:
        return []
    watch = Watch()
    watched = run_backward(functions, trial.run, trial.upstream.clone(), watch)
    fair = _innocents(functions, trial, damage)
    guilty = set()
    for name, kept in damage.items():
        storage = storage_of(watched.arguments[name])
        writes = [write for write in watch.writes if storage_of(write.written) == storage]
        found = _line_of(writes, watched, storage, trial.run)
        culprit = found or (trial.run.output if name == UPSTREAM else name)
        guilty.add(culprit)
        row = ledger.row(culprit)
        if not row.culprit or row.cause is None or culprit in fair:
            what = name if name == UPSTREAM else f"the value {name}"
            claim = f"is computed in place: its line changes {what}, which it may only read"
            if found is None:
                claim = f"The backward pass changes {what} in place, which it may only read"
            line = writes[0].line if writes else ""
            ledger.put(_accused(row, claim, line, f"{what}: {describe_change(kept)}"))
    for row in [row for row in ledger.rows.values() if row.culprit and row.name in fair - guilty]:
        ledger.excuse(_innocent(row, sorted(guilty), " and ".join(damage)))
    return []


Overwriting = list[tuple[str, str, Write]]  # guilty, victim, write


def before_overwriting(
    functions: Functions, trial: PairTrial, send: Callable[[], Tensor]
) -> tuple[dict[str, Tensor | None], Overwriting]:
    """The gradients as they were when later lines read them, and who wrote into whose.

    `dx = dy; dx += more` changes dy as well, where both are returned: dy is put back to what it held before, if
    that is what makes it right. `send` makes the upstream gradient, in its layout, once more.
    """
    gradients = trial.answer.gradients
    memory = [storage_of(gradient) for gradient in gradients.values() if gradient is not None and gradient.numel()]
    if len(memory) == len(set(memory)):
        return gradients, []
    watch = Watch()
    gradients = run_backward(functions, trial.run, send(), watch).gradients
    doubtful = [
        (name, other, write)
        for name, gradient in gradients.items()
        for other, write in _writes_of_others(watch.writes, name, gradient, trial.run)
    ]
    overwriting, wrong = [], _faults(trial, gradients) if doubtful else frozenset()
    for name, other, write in doubtful if wrong else ():
        restored = {**gradients, name: write.before}
        left = _faults(trial, restored)
        if left < wrong:
            gradients, wrong = restored, left
            overwriting.append((other, name, write))
    return gradients, overwriting


def overwriting_rows(rows: list[Row], overwriting: Overwriting) -> list[Row]:
    """The rows, with those in place of the guilty ones that say so."""
    found = {row.name: row for row in rows}
    for guilty, victim, write in overwriting:
        claim = f"is computed in place: its line changes d{victim}, which is a gradient of its own"
        found[guilty] = _accused(found.get(guilty) or row_of(guilty, Known.SHOWN_BY_A_REPLAY), claim, write.line)
    return list(found.values())


def value_called(target: str | None, run: Run) -> str | None:
    """The value whose gradient a variable of backward holds, by its name: `dh`, `grad_h` or `h_grad`."""
    for name in (
        (target.removeprefix("d"), target.removeprefix("grad_"), target.removesuffix("_grad")) if target else ()
    ):
        if name != target and name in run.values:
            return name
    return None


def _accused(row: Row, claim: str, *details: str) -> Row:
    guilty = finding(ruled(row, Known.SHOWN_BY_A_REPLAY), Cause.CHANGED_IN_PLACE, claim, *details, next=ADVICE,
                     certainty=Certainty.REPLAYED)  # fmt: skip
    return replace(guilty, replay=UNCHANGED)


def _innocents(functions: Functions, trial: PairTrial, damage: Mapping[str, Kept]) -> set[str]:
    """The values whose lines are right for the damaged arguments, or where in-place operations leave them alone."""
    run = run_forward(functions)
    for name, kept in damage.items():
        if name in run.values and run.values[name].shape == kept.tensor.shape:
            run.values[name].data.copy_(kept.tensor)  # what autograd saved changes with it, unseen
    upstream = damage[UPSTREAM].tensor if UPSTREAM in damage else trial.upstream
    gradients = trial.answer.gradients
    faults = glance(run.values, gradients, run.result, upstream).faults
    protected = run_backward(functions, trial.run, trial.upstream.clone(), protect=True).gradients
    return gradients.keys() - (faults & _faults(trial, protected))


def _line_of(writes: list[Write], watched: Answer, storage: int, run: Run) -> str | None:
    """The value whose gradient was being assigned, or is returned in the damaged memory."""
    for write in writes:
        value = value_called(write.target, run)
        if value is not None:
            return value
    for name, gradient in watched.gradients.items():
        if gradient is not None and storage_of(gradient) == storage:
            return name
    return None


def _innocent(row: Row, guilty: list[str], what: str) -> Row:
    names = ", ".join(f"d{name}" for name in guilty)
    message = f"{row.gradient}: inherited from {names}, whose line had changed {what} in place; this line is right."
    return ruled(row, Known.READ_DAMAGE, cause=None, certainty=None, applicability=None, candidates=(),
                 inherited_from=tuple(guilty), message=message, evidence=None)  # fmt: skip


def _faults(trial: PairTrial, gradients: dict[str, Tensor | None]) -> frozenset[str]:
    return glance(trial.run.values, gradients, trial.run.result, trial.upstream).faults


def _writes_of_others(writes: list[Write], name: str, gradient: Tensor | None, run: Run) -> Iterator[tuple[str, Write]]:
    """In-place operations on the memory of `name`'s gradient by lines that compute another value's."""
    for write in writes:
        other = value_called(write.target, run)
        if gradient is None or other is None or other == name or storage_of(write.written) != storage_of(gradient):
            continue
        if write.before.shape == gradient.shape:
            yield other, write
