"""The message of every row that is not simply right."""

from __future__ import annotations

from dataclasses import replace

import torch

from backproof.proof.causes.case import Case, Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.pattern import pattern
from backproof.proof.causes.search import find
from backproof.proof.causes.wording import lines_of, told, worst
from backproof.proof.graph.node import consumed
from backproof.proof.graph.operations import operation
from backproof.proof.judge import unreachable as reach
from backproof.proof.judge.large import explain_large
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Certainty
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.report.words import listed, number
from backproof.proof.verdict.blame import Blame
from backproof.proof.verdict.blocks import LARGE
from backproof.proof.verdict.decide import Known, ruled


def explain(row: Row, blamed: Blame, case: Case) -> Row:
    """The row of a gradient of the right shape and dtype."""
    row = ruled(row, blamed.decision.known)
    d = case.d(row.name)
    if blamed.culprit:
        return _culprit(row, blamed, case)
    if blamed.verdict is Verdict.INHERITED:
        roots = blamed.decision.roots
        said = f"{d}: inherited from {listed([case.d(root) for root in roots])}; this line is right."
        return replace(row, message=said, inherited_from=roots)
    if blamed.verdict is Verdict.NOT_TESTABLE:
        return replace(row, message=_not_testable(d, blamed))
    if blamed.verdict is Verdict.NOT_FINITE:
        return replace(row, message=reach.not_finite_in_autograd(row.name, case), cause=Cause.NOT_FINITE,
                       certainty=Certainty.SEEN)  # fmt: skip
    if blamed.verdict is Verdict.ROUNDING:
        return replace(row, message=_rounding(row, blamed, case))
    return row


def _culprit(row: Row, blamed: Blame, case: Case) -> Row:
    if blamed.verdict is Verdict.WRONG and blamed.numbers.got.numel() > LARGE:
        return explain_large(row, blamed, case)
    fault = Fault(case, blamed)
    if blamed.verdict is Verdict.NOT_FINITE:
        return told(row, fault, _not_finite(fault))
    if row.name in case.changed_after_use and case.whole_pass:
        return told(row, fault, _changed_after_use(fault))
    found = find(fault)
    if row.name in case.changed_after_use and not _denominator_alone(found):
        return told(row, fault, _changed_after_use(fault))
    twin = case.graph.twin(row.name)
    if twin != row.name and found and found[0].cause is Cause.DROPPED_TERM:
        d, total = case.d(row.name), case.d(twin)
        message = (
            f"{d} is not judged: {row.name} and {twin} are one tensor, of which autograd knows the whole gradient only "
            f"({total}); {d} is a part of it."
        )
        return ruled(row, Known.PART_OF_A_TWIN, message=message)
    causes = tuple(dict.fromkeys(finding.cause for finding in found if finding.cause))
    if not found:
        return told(row, fault, None, _look(fault))
    return told(row, fault, _undecided(found, causes) if len(causes) > 1 else found[0])


def _look(fault: Fault) -> str:
    """The next step where the cause is not known: what is wrong, and one element to follow by hand."""
    at = worst(fault.given, fault.expected.to(fault.given.dtype)).worst_index
    element = f", for one element, such as {list(at)}" if at else ""
    if _like_float16(fault):
        return f"{pattern(fault)}, all by no more than float16 rounds; look for what is converted on the way"
    return f"{pattern(fault)}; follow what comes back through {lines_of(fault, fault.readers[:2])}{element}"


def _like_float16(fault: Fault) -> bool:
    """Whether float32 numbers are off as if one factor on the way had been in float16: a hint, and no cause."""
    if fault.given.dtype is not torch.float32:
        return False
    off = fault.difference.abs() / fault.expected.abs().clamp_min(torch.finfo(torch.float32).tiny)
    too_large = fault.difference > 0
    both_ways = bool(too_large.any()) and not bool(too_large.all())
    return both_ways and bool((off <= torch.finfo(torch.float16).eps).all())


def _denominator_alone(found: tuple[Finding, ...]) -> bool:
    """In a notebook a name may as well be assigned anew, by a second formula; one that forgets 1/n explains itself.

    One that is divided once more is what `div_` after the use makes.
    """
    return all(one.cause is Cause.WRONG_DENOMINATOR and abs(one.factor or 0.0) > 1 for one in found) and bool(found)


def _undecided(found: tuple[Finding, ...], causes: tuple[Cause, ...]) -> Finding:
    """Several causes that explain the gradient alike, in one finding that names none of them as the cause."""
    return Finding(
        None,
        "; or ".join(f"{finding.headline} ({finding.cause})" for finding in found),
        "these explain your gradient equally well, so the cause is not certain.",
        found[0].next,
        certainty=Certainty.ONE_OF_SEVERAL,
        candidates=causes,
    )


def _changed_after_use(fault: Fault) -> Finding:
    users = [fault.case.d(name) for name in fault.case.changed_after_use[fault.name]]
    were = f"{listed(users)} {'was' if len(users) == 1 else 'were'}"
    return Finding(
        Cause.CHANGED_IN_PLACE,
        "it was changed in place after it was used",
        f"{were} computed from the right {fault.d}, before the change.",
        f"do not write into {fault.d}: use {fault.d} * x for {fault.d}.mul_(x), and so on",
    )


def _not_finite(fault: Fault) -> Finding:
    bad = ~fault.got.isfinite()
    kind = "NaN" if bool(fault.got.isnan().any()) else "infinity"
    zeros = [
        name
        for name in (fault.name, *fault.readers, *(s for r in fault.readers for s in fault.siblings(r)))
        if (value := fault.graph.values[name].detach()).is_floating_point() and bool((value == 0).any())
    ]
    also = f" {zeros[0]} holds zeros: dividing by them gives infinity, and 0 times infinity NaN." if zeros else ""
    return Finding(
        Cause.NOT_FINITE,
        f"it holds {kind} in {int(bad.sum())} of {bad.numel()} elements, where a number belongs",
        f"all gradients that it is computed from are finite there.{also}",
        "look for a division by zero, log of zero, an overflow, or zero times infinity in "
        + lines_of(fault, fault.readers[:2]),
        certainty=Certainty.SEEN,
    )


def _not_testable(d: str, blamed: Blame) -> str:
    if not bool((blamed.numbers.expected != 0).any()):
        return f"{d} is zero, as it should be here, and a zero proves nothing: a missing term would not show."
    size = number(float(blamed.numbers.expected.abs().max()))
    undoubted = blamed.numbers.yardstick.undoubted
    if undoubted is not None and bool((blamed.numbers.expected.abs() > undoubted).any()):
        return (
            f"{d} is not testable here: it is no larger ({size}) than what rounding on its way does to it. "
            "Check it in float64, or with inputs closer to zero."
        )
    return (
        f"{d} is not testable here: all its terms cancel, and what is left ({size}) is rounding. "
        "prove() tests it with a random upstream gradient."
    )


def _rounding(row: Row, blamed: Blame, case: Case) -> str:
    d, place = case.d(row.name), case.graph.places[row.name]
    if torch.equal(blamed.numbers.got, blamed.numbers.expected):
        return f"{d}: exact, given the rounding of the gradients above."
    for reader in case.graph.readers[row.name]:
        node = case.graph.places[reader][0]
        fused = operation(node).fused
        if fused and any(at == place for _, at in consumed(node)):
            return f"{d} differs by a fused multiply-add: PyTorch rounds {fused} once less than you can."
    return ""
