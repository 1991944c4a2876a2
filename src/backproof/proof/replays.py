"""The replays of a proof, each a function of the plain run and the ledger that takes its findings."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from backproof.proof.calls import CannotProveError, blamed_line, describe, is_finite, takes_upstream
from backproof.proof.damage import UNCHANGED, Proof, before_overwriting, find_damage, value_called
from backproof.proof.glance import PROVED, glance
from backproof.proof.layouts import LAYOUTS
from backproof.proof.ledger import Ledger, finding
from backproof.proof.records import Row, Verdict
from backproof.proof.runs import Run, run_backward, run_forward
from backproof.proof.shaken import shaken
from backproof.proof.sizes import Size, other_sizes
from backproof.proof.upstream import judged, upstream_for
from backproof.proof.writes import damaged, describe_change, keep

Replay = Callable[[Any, Ledger], Iterable[Row]]

_STRUCTURAL = ("F6", "F7", "F9", "F10", "F11")
STRIDES = "index with the strides, or start from upstream.contiguous()"


class SkippedError(Exception):
    """A replay that cannot be made, and why."""


def replay_all(replays: Mapping[str, Replay], proof: Any, ledger: Ledger, skip: Collection[str]) -> None:
    """Makes every replay in its order and takes its rows; those in `skip`, alone or as a group, are left out.

    A string is one name.
    """
    skip = [skip] if isinstance(skip, str) else skip
    groups = {
        "layouts": [name for name in replays if name.partition(" ")[2] in LAYOUTS],
        "sizes": [name for name in replays if name.startswith("size")],
    }
    for name in skip:
        if name not in replays and name not in groups:
            known = ", ".join(dict.fromkeys([*replays, *groups]))
            raise CannotProveError(f"There is no replay {name!r} to skip; there are {known}.")
    left_out = {one for name in skip for one in groups.get(name, [name])}
    for name, replay in replays.items():
        try:
            if name in left_out:
                raise SkippedError("left out as asked")
            ledger.add(replay(proof, ledger), name)
        except SkippedError as reason:
            ledger.skip(name, str(reason))


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


def _no_sizes(proof: Any, ledger: Ledger) -> list[Row]:
    raise SkippedError("inputs is not a function of a size")


NO_SIZES: dict[str, Replay] = {"sizes": _no_sizes}


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
        raise SkippedError(f"forward turns float64 inputs into {_short(run.result.dtype)}")
    upstream = upstream_for(run.result, proof.subject.seed, plain=True)
    rows = _rows(proof, ledger, run, upstream, "in float64", again=ledger.unknown())
    narrow = [row.name for row in rows if row.name in ledger.unknown() and _shrinks(ledger.rows[row.name], row)]
    claim = f"is not precise: its rounding error in {_short(plain)} is too large, and in float64 it nearly vanishes"
    advice = "the formula is right: sum in a wider dtype, or subtract before squaring"
    found = [finding(ledger.rows[name], "F5", claim, next=advice) for name in narrow]
    return found + forgiven([row for row in rows if row.name not in narrow], ledger, plain)


def _shrinks(plain: Row, wide: Row) -> bool:
    """Whether an error of the plain run goes away in float64, as rounding does and a wrong formula does not."""
    if plain.verdict is not Verdict.WRONG or plain.evidence is None:
        return False
    return wide.verdict in PROVED or (wide.evidence is not None and _error(wide) < 1e-4 * _error(plain))


def _error(row: Row) -> float:
    assert row.evidence is not None
    return abs(row.evidence.got - row.evidence.expected)


def forgiven(rows: Iterable[Row], ledger: Ledger, plain: torch.dtype) -> list[Row]:
    """Drops, with a note, what is wrong in float64 by no more than the rounding of the dtype the user works in."""
    kept = []
    for row in rows:
        old = ledger.rows.get(row.name)
        if old is None or old.culprit or not _rounds(row, plain, old.max_difference or 0.0):
            kept.append(row)
        else:
            short = _short(plain)
            ledger.note(f"in float64, {row.gradient} is only as precise as {short}: no fault in {short}.")
    return kept


def _rounds(row: Row, plain: torch.dtype, difference: float) -> bool:
    """Whether a fault is a narrower dtype, or no larger than its rounding: eps of the numbers, or what it showed.

    An error that a structural cause explains to the last digits is none of rounding; a factor that is not quite 1
    is what a constant kept in the narrower dtype looks like.
    """
    if not row.culprit or row.verdict is not Verdict.WRONG or row.evidence is None:
        return row.verdict is Verdict.DTYPE
    if row.cause in _STRUCTURAL:
        return False
    size = float(row.evidence.expected_tensor.abs().max())
    return _error(row) <= 16 * max(torch.finfo(plain).eps * size, difference)


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


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
