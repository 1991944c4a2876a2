"""The replays of a proof, each a function of the plain run and the ledger that takes its findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from functools import partial

import torch

from backproof.proof.judge.misread_upstream import judged
from backproof.proof.replays.damage import UNCHANGED, before_overwriting, find_damage, value_called
from backproof.proof.replays.float64 import error_of, forgiven, short_name
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.pair import Proof, Run, run_backward, run_forward
from backproof.proof.replays.runner import NO_SIZES, STRIDES, Replay, SkippedError
from backproof.proof.replays.shaken import shaken
from backproof.proof.report.rows import PROVED, Row, Verdict, finding
from backproof.proof.user.calls import CannotProveError, blamed_line, describe, takes_upstream
from backproof.proof.user.layouts import LAYOUTS
from backproof.proof.user.sizes import Size, other_sizes
from backproof.proof.user.tensors import is_finite
from backproof.proof.user.upstream import upstream_for
from backproof.proof.user.writes import damaged, describe_change, keep
from backproof.proof.verdict.glance import glance


def replays_for(proof: Proof, sizes: Sequence[int]) -> dict[str, Replay]:
    """The replays of `prove` by name, in their order."""
    replays: dict[str, Replay] = {
        UNCHANGED: find_damage,
        "second call": _second_call,
        "random upstream": _random_upstream,
        "shaken gradients": shaken,
        "float64": _float64,
        **{f"upstream {layout}": partial(_layout, layout=layout) for layout in LAYOUTS},
    }
    others = {size.name: partial(_size, size=size) for size in other_sizes(proof.subject.inputs, sizes)}
    return replays | (NO_SIZES if proof.size is None else others)


def _second_call(proof: Proof, ledger: Ledger) -> list[Row]:
    """The same arguments twice in a row: the same gradients, and the first ones still what they were."""
    first = keep(run_backward(proof.subject, proof.run, proof.upstream.clone()).gradients)
    advice = "compute everything from the arguments; keep nothing between calls"
    try:
        rows = _answered(proof, ledger, proof.run, proof.upstream.clone)
    except CannotProveError as error:
        return [_raised(proof, proof.run, error, "when it is called again", "F3", advice)]
    claim = "changes from call to call: a further one with the same arguments gives other numbers"
    found = [finding(row, "F3", claim, next=advice) for row in rows if row.culprit and row.name not in ledger.known()]
    claim = "is overwritten: the second call changes the tensor that the first one returned"
    for name in damaged(first).keys() - ledger.known() - {row.name for row in found}:
        change = describe_change(first[name])
        found.append(finding(ledger.rows[name], "F3", claim, change, next="return a new tensor"))
    return found


def _random_upstream(proof: Proof, ledger: Ledger) -> list[Row]:
    if not takes_upstream(proof.subject.backward):
        raise SkippedError("backward takes no upstream gradient")
    upstream = upstream_for(proof.run.result, proof.subject.seed + 1)
    return _rows(proof, ledger, proof.run, upstream, "for another upstream gradient", again=ledger.unknown())


def _float64(proof: Proof, ledger: Ledger) -> list[Row]:
    """Rounding or an error? In float64 a wrong formula stays wrong, and a rounding error goes away."""
    plain = proof.run.result.dtype
    if plain in (torch.float64, torch.complex128):
        return []
    run = _forward(proof, torch.float64)
    if run.result.dtype is not torch.float64:
        raise SkippedError(f"forward turns float64 inputs into {short_name(run.result.dtype)}")
    upstream = upstream_for(run.result, proof.subject.seed, plain=True)
    rows = _rows(proof, ledger, run, upstream, "in float64", again=ledger.unknown())
    narrow = [row.name for row in rows if row.name in ledger.unknown() and _shrinks(ledger.rows[row.name], row)]
    claim = f"is not precise: its rounding error in {short_name(plain)} is too large, and in float64 it nearly vanishes"
    advice = "the formula is right: sum in a wider dtype, or subtract before squaring"
    found = [finding(ledger.rows[name], "F5", claim, next=advice) for name in narrow]
    return found + forgiven([row for row in rows if row.name not in narrow], ledger, plain)


def _shrinks(plain: Row, wide: Row) -> bool:
    """Whether an error of the plain run goes away in float64, as rounding does and a wrong formula does not."""
    if plain.verdict is not Verdict.WRONG or plain.evidence is None:
        return False
    return wide.verdict in PROVED or (wide.evidence is not None and error_of(wide) < 1e-4 * error_of(plain))


def _layout(proof: Proof, ledger: Ledger, *, layout: str) -> list[Row]:
    """The same numbers laid out in another way must give the same gradients."""
    if not takes_upstream(proof.subject.backward):
        raise SkippedError("backward takes no upstream gradient")
    run, make = proof.run, LAYOUTS[layout]
    dense = upstream_for(run.result, proof.subject.seed + 2)
    upstream = make(dense)
    if upstream is None:  # this shape has no such layout
        return []

    def send() -> torch.Tensor:
        made = make(dense)
        assert made is not None
        return made

    when = f"when the upstream gradient is {layout} in memory, with strides {upstream.stride()}"
    try:
        rows = _answered(proof, ledger, run, send)
    except CannotProveError as error:
        rows = [_raised(proof, run, error, when, "F2", STRIDES)]
    suspects = {row.name for row in rows if row.culprit} - ledger.known()
    if suspects:  # the same numbers, contiguous: only where they are right is the layout to blame
        control = _rows(proof, ledger, run, send().contiguous(), "for another upstream gradient")
        suspects -= {row.name for row in control if row.culprit}
    claim = f"is wrong {when}; it is right for the same numbers in contiguous memory"
    return [
        finding(row, "F2", claim, next=STRIDES) if row.name in suspects and row.cause != "F2" else row for row in rows
    ]


def _size(proof: Proof, ledger: Ledger, *, size: Size) -> list[Row]:
    """Another size, unless forward or automatic differentiation has no finite answer there either."""
    proof = replace(proof, subject=replace(proof.subject, inputs=size.inputs), size=size.n, usual=size.usual)
    run = _forward(proof, None)
    usual = {name: value for name, value in run.values.items() if is_finite({name: proof.run.values.get(name)})}
    if not is_finite(usual):  # a value with infinities in the plain run, such as a mask, may have them here
        raise SkippedError("the values of forward are not finite")
    upstream = upstream_for(run.result, proof.subject.seed, plain=True)
    floats = {name: value for name, value in run.values.items() if value.requires_grad}
    truth = torch.autograd.grad(run.result, list(floats.values()), upstream, retain_graph=True, allow_unused=True)
    if not is_finite(dict(zip(floats, truth, strict=True))):
        raise SkippedError("the gradients of automatic differentiation are not finite")
    again = ledger.unknown() | ledger.counted() if size.n > 2 else ()
    rows = _rows(proof, ledger, run, upstream, f"for {size.name}", again=again)
    return rows if any(row.culprit for row in rows) else rows + _size_in_float64(proof, ledger, size)


def _size_in_float64(proof: Proof, ledger: Ledger, size: Size) -> list[Row]:
    """A row left out of a sum may hide in the rounding of much larger rows, but not in float64."""
    plain = proof.run.result.dtype
    try:
        run = _forward(proof, torch.float64)
    except SkippedError:  # listed by the replay in float64
        return []
    if plain is torch.float64 or run.result.dtype is not torch.float64:
        return []
    upstream = upstream_for(run.result, proof.subject.seed, plain=True)
    rows = _rows(proof, ledger, run, upstream, f"for {size.name} in float64")
    return [row for row in forgiven(rows, ledger, plain) if row.culprit]


def _forward(proof: Proof, dtype: torch.dtype | None) -> Run:
    try:
        return run_forward(proof.subject, proof.size, dtype)
    except CannotProveError as error:
        raise SkippedError(error.brief) from error


def _rows(
    proof: Proof, ledger: Ledger, run: Run, upstream: torch.Tensor, when: str, *, again: Collection[str] = ()
) -> list[Row]:
    """The rows of one more backward call, or the one row that says that it raised."""
    try:
        return _answered(proof, ledger, run, upstream.clone, again=again)
    except CannotProveError as error:
        return [_raised(proof, run, error, when, None, "make that line work there too, or skip this replay")]


def _answered(
    proof: Proof, ledger: Ledger, run: Run, send: Callable[[], torch.Tensor], *, again: Collection[str] = ()
) -> list[Row]:
    """Calls backward on what `send` makes; explains what is newly wrong, and the culprits in `again` once more.

    Raises CannotProveError where backward raises.
    """
    answer = run_backward(proof.subject, run, send())
    once = replace(proof, run=run, upstream=send(), answer=answer)  # not what backward was given: it may be damaged
    gradients, _ = before_overwriting(once, send)
    seen = glance(run.values, gradients, run.result, once.upstream)
    if seen.faults <= ledger.known() - set(again):
        return seen.rows()
    return judged(run.values, gradients, run.result, once.upstream, proof.usual)


def _raised(proof: Proof, run: Run, error: CannotProveError, when: str, cause: str | None, advice: str) -> Row:
    """A finding for the line that raised, or for the output where that line assigns no gradient."""
    reason, value, line = str(error), None, ""
    if error.__cause__ is not None:
        target, line = blamed_line(error.__cause__, proof.subject.backward)
        reason, value = describe(error.__cause__), value_called(target, run)
    parts = (f"backward raises {when}: {reason}", line, f"next: {advice}")
    message = "\n  ".join(part for part in parts if part)
    return Row(value or run.output, Verdict.WRONG, cause, message, culprit=True)
