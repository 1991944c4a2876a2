"""The replays that every subject has: a second time, another upstream gradient, float64, layouts, sizes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import torch

from backproof.proof.replays.float64 import forgiven, shrinks
from backproof.proof.replays.ledger import SAME_FACTOR, Ledger, factor_of, whole_factor
from backproof.proof.replays.subject import BackwardRaisedError, Conditions, FunctionRaisedError, Proof, SkippedError
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.rows import Row, Verdict, finding
from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.layouts import Layout
from backproof.proof.user.sizes import Size
from backproof.proof.user.tensors import short_name
from backproof.proof.user.writes import describe_change
from backproof.proof.verdict.decide import Known, row_of, ruled

_STRIDES = "index with the strides, or start from a copy made by .contiguous()"
_WHATEVER_THE_LAYOUT = (
    "return a gradient for every layout; ask ctx.needs_input_grad, since a tensor made in forward has no requires_grad"
)
_THERE_TOO = "make it work there too, or skip this replay"


def shown(
    row: Row,
    cause: Cause,
    claim: str,
    *details: str,
    next: str,
    applicability: Applicability = Applicability.LOOK,
) -> Row:
    """The row of a gradient whose line a replay has shown to be wrong."""
    guilty, certainty = ruled(row, Known.SHOWN_BY_A_REPLAY), Certainty.REPLAYED
    return finding(guilty, cause, claim, *details, next=next, certainty=certainty, applicability=applicability)


def new(rows: list[Row], ledger: Ledger) -> list[Row]:
    """The culprits that no earlier replay has found."""
    return [row for row in rows if row.culprit and row.name not in ledger.known()]


def raised(
    proof: Proof, ledger: Ledger, error: BackwardRaisedError, when: str, cause: Cause | None, advice: str
) -> Row:
    """A finding for the gradient that the line which raised assigns, or for the output where that is not known."""
    name = error.value or proof.output
    parts = (f"{proof.subject.backward_called} raises {when}: {error}.", error.line, f"next: {advice}")
    message = "\n  ".join(part for part in parts if part)
    row = row_of(name, Known.RAISES, cause=cause, message=message, label=ledger.row(name).label)
    return replace(row, certainty=Certainty.REPLAYED if cause else None, applicability=Applicability.LOOK)


def second_backward(proof: Proof, ledger: Ledger) -> list[Row]:
    """Twice in a row: the same gradients, and the first ones still what they were."""
    advice = proof.subject.stateless
    try:
        rows, overwritten = proof.subject.second(proof.first_run, ledger.known())
    except BackwardRaisedError as error:
        return [raised(proof, ledger, error, "when it is called a second time", Cause.CHANGED_IN_PLACE, advice)]
    claim = "changes from call to call: a second backward pass with the same arguments gives other numbers"
    found = [shown(row, Cause.CHANGED_IN_PLACE, claim, next=advice) for row in new(rows, ledger)]
    claim = "is overwritten: the second backward pass changes the tensor that the first one returned"
    for name in overwritten.keys() - ledger.known() - {row.name for row in found}:
        change = describe_change(overwritten[name])
        found.append(shown(ledger.rows[name], Cause.CHANGED_IN_PLACE, claim, change, next="return a new tensor"))
    return found


def random_upstream(proof: Proof, ledger: Ledger) -> list[Row]:
    """Another upstream gradient; for a loss, one that is not 1."""
    _refuse_without_upstream(proof)
    return _tried(proof, ledger, Conditions(draw=1, unit=False), "for another upstream gradient", ledger.unknown())


def in_float64(proof: Proof, ledger: Ledger) -> list[Row]:
    """Rounding or an error? In float64 a wrong formula stays wrong, and a rounding error goes away."""
    narrow = proof.dtype
    if narrow in (torch.float64, torch.complex128):
        return []
    rows = _tried(proof, ledger, Conditions(dtype=torch.float64), "in float64", ledger.unknown())
    found = []
    if not proof.subject.bound_to_dtypes:  # one formula for all dtypes, which therefore is right
        unknown = ledger.unknown()
        imprecise = [row.name for row in rows if row.name in unknown and shrinks(ledger.rows[row.name], row)]
        short = short_name(narrow)
        claim = f"is not precise: its rounding error in {short} is too large, and in float64 it nearly vanishes"
        advice = "the formula is right: sum in a wider dtype, or subtract before squaring"
        found = [shown(ledger.rows[name], Cause.LOW_PRECISION, claim, next=advice) for name in imprecise]
        rows = [row for row in rows if row.name not in imprecise]
    return found + forgiven(rows, ledger, narrow)


def upstream_layout(proof: Proof, ledger: Ledger, *, layout: Layout) -> list[Row]:
    """The same numbers sent back, laid out in another way, must give the same gradients."""
    _refuse_without_upstream(proof)
    made = [layout.of(upstream) for upstream in proof.first_run.upstreams.values()]
    strides = next((one.stride() for one in made if one is not None), None)
    if strides is None:  # no output's shape has such a layout
        return []
    when = f"when the upstream gradient is {layout.name} in memory, with strides {strides}"
    return laid_out(proof, ledger, Conditions(draw=2, unit=False, layout=layout), when)


def laid_out(proof: Proof, ledger: Ledger, conditions: Conditions, when: str) -> list[Row]:
    """New culprits assume contiguous memory where the same numbers, contiguous, are right; a copy then mends it."""
    try:
        rows = list(proof.subject.tried(conditions, ledger.known()).rows)
    except BackwardRaisedError as error:
        if _raises(proof, replace(conditions, contiguous=True)):
            raise SkippedError(f"{proof.subject.backward_called} raised {error}, whatever the layout") from error
        rows = [raised(proof, ledger, error, when, Cause.CONTIGUITY_ASSUMED, _STRIDES)]
    suspects = {row.name for row in new(rows, ledger)}
    if suspects:
        suspects -= _wrong(proof, replace(conditions, contiguous=True), ledger, suspects)
    claim = f"is wrong {when}; it is right for the same numbers in contiguous memory"
    found = []
    for row in rows:
        if row.name in suspects and row.verdict is Verdict.MISSING:
            claim_of_none = f"is None {when}; there is a gradient for the same numbers in contiguous memory"
            row = shown(row, Cause.NO_GRADIENT, claim_of_none, next=_WHATEVER_THE_LAYOUT)
        elif row.name in suspects and row.cause != Cause.CONTIGUITY_ASSUMED:
            mends = Applicability.MENDS  # with a copy it was right just now
            row = shown(row, Cause.CONTIGUITY_ASSUMED, claim, next=_STRIDES, applicability=mends)
        found.append(row)
    return found


def _raises(proof: Proof, conditions: Conditions) -> bool:
    """Whether the backward pass raises under some conditions; not where the forward pass already does."""
    try:
        proof.subject.tried(conditions, ())
    except BackwardRaisedError:
        return True
    except CannotProveError:
        return False
    return False


def _wrong(proof: Proof, conditions: Conditions, ledger: Ledger, suspects: set[str]) -> set[str]:
    """The suspects that are at fault under some conditions; all of them where nothing can be said."""
    try:
        rows = proof.subject.tried(conditions, ledger.known()).rows
    except (CannotProveError, BackwardRaisedError):
        return suspects
    return {row.name for row in rows if row.culprit}


def at_size(proof: Proof, ledger: Ledger, *, size: Size) -> list[Row]:
    """Another size, unless forward or automatic differentiation has no finite answer there either."""
    again = ledger.unknown() | ledger.counted() if size.n > 2 else set()
    try:
        rows = _tried(proof, ledger, Conditions(size=size), f"for {size.name}", again)
    except FunctionRaisedError as error:
        row = row_of(proof.output, Known.RAISES, label=ledger.row(proof.output).label)
        message = f"{error} for {size.name}\n  next: {_THERE_TOO}"
        return [replace(row, message=message, applicability=Applicability.LOOK)]
    if not any(row.culprit for row in rows):
        return rows + _size_in_float64(proof, ledger, size)
    return [_hard_coded(row, size) if row.name not in ledger.known() else row for row in rows]


def _hard_coded(row: Row, size: Size) -> Row:
    """For a line that was right at the usual size: whether it is off by just what the size was changed by."""
    factor = factor_of(row) if row.culprit else None
    for one, other in ((size.now, size.usual), (size.usual, size.now)):
        if factor is not None and one != other and abs(factor - one / other) <= SAME_FACTOR * one / other:
            whole = whole_factor(row) is not None
            off = "is off" if whole else "has a term that is off"
            claim = f"{off} by the factor {one}/{other}, and right where {size.now} is {size.usual}"
            why = f"the line holds {size.usual} as a number"
            advice = f"take the {size.usual} from a tensor's shape"
            mends = Applicability.MENDS if whole else Applicability.LOOK
            return shown(row, Cause.WRONG_DENOMINATOR, f"{claim}: {why}", next=advice, applicability=mends)
    return row


def _size_in_float64(proof: Proof, ledger: Ledger, size: Size) -> list[Row]:
    """A row left out of a sum may hide in the rounding of much larger rows, but not in float64."""
    if proof.dtype in (torch.float64, torch.complex128):
        return []
    try:
        rows = _tried(proof, ledger, Conditions(size=size, dtype=torch.float64), f"for {size.name} in float64")
    except (CannotProveError, SkippedError):  # listed by the replay in float64
        return []
    return [row for row in forgiven(rows, ledger, proof.dtype) if row.culprit]


def _tried(proof: Proof, ledger: Ledger, conditions: Conditions, when: str, again: Collection[str] = ()) -> list[Row]:
    """The rows of one more run, which diagnoses culprits in `again` once more; or the one that says that it raised."""
    try:
        return list(proof.subject.tried(conditions, ledger.known() - set(again)).rows)
    except BackwardRaisedError as error:
        if conditions.dtype is not None and proof.subject.bound_to_dtypes:
            raise SkippedError(f"{proof.subject.backward_called} raised {error}") from error
        return [raised(proof, ledger, error, when, None, _THERE_TOO)]


def _refuse_without_upstream(proof: Proof) -> None:
    if not proof.subject.takes_upstream:
        raise SkippedError(f"{proof.subject.backward_called} takes no upstream gradient")
