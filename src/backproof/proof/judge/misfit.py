"""Gradients that are missing, or of another shape or dtype than their value."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.causes.by_dimensions import other_sums
from backproof.proof.causes.case import Case, Part
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.wording import lines_of, worst
from backproof.proof.graph.formula import formula
from backproof.proof.graph.node import dense
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Applicability, Certainty
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.report.words import listed
from backproof.proof.verdict.blame import Blame


def explain_misfit(row: Row, given: Tensor | None, blamed: Blame | None, case: Case) -> Row:
    """The row of a gradient that could not be compared as it is."""
    if row.verdict is Verdict.MISSING or given is None:
        return replace(row, message=_missing(row, case), certainty=Certainty.SEEN, applicability=Applicability.LOOK)
    if row.verdict is Verdict.DTYPE:
        return _dtype(row, given, blamed, case)
    return _shape(row, given, case)


def _missing(row: Row, case: Case) -> str:
    d, readers = case.d(row.name), case.graph.readers[row.name]
    lines = " and ".join(formula(case.graph, reader) for reader in readers)
    return (
        f"{d} is missing: there is no gradient for {row.name}.\n"
        f"  the output depends on {row.name}, through {listed(readers) or 'its own line'}.\n"
        f"  next: compute it from {lines or 'the upstream gradient'}"
    )


def _dtype(row: Row, given: Tensor, blamed: Blame | None, case: Case) -> Row:
    d, value = case.d(row.name), case.graph.values[row.name]
    own, wanted = (str(t.dtype).removeprefix("torch.") for t in (given, value))
    right = blamed is not None and not _far(blamed, given)
    lower = given.is_floating_point() and torch.finfo(given.dtype).eps > torch.finfo(value.dtype).eps
    numbers = "its numbers are right as far as that dtype goes" if right else "its numbers are wrong as well"
    lines = [f"{d} has dtype {own}, and {row.name} has {wanted}.", f"  converted to {wanted}, {numbers}."]
    evidence = None
    if blamed is not None:
        evidence = worst(blamed.numbers.got, blamed.numbers.expected)
        lines += [] if right else [f"  {evidence}"]
    applicability = Applicability.MENDS if right and not lower else Applicability.LOOK  # digits lost are lost
    lines.append(f"  {applicability.word}: compute it in {wanted}")
    cause, certainty = (Cause.LOW_PRECISION, Certainty.FITS) if lower and right else (None, None)
    return replace(row, message="\n".join(lines), evidence=evidence, cause=cause, certainty=certainty,
                   applicability=applicability)  # fmt: skip


def _far(blamed: Blame, given: Tensor) -> bool:
    eps = torch.finfo(given.dtype).eps if given.is_floating_point() else 0.0
    got, expected, yardstick = blamed.numbers.got, blamed.numbers.expected, blamed.numbers.yardstick
    allowed = yardstick.allowed * max(1.0, eps / yardstick.eps)
    return bool(((got - expected).abs() > allowed).any())


def _shape(row: Row, given: Tensor, case: Case) -> Row:
    d, value = case.d(row.name), case.graph.values[row.name]
    expected = case.arriving[row.name]
    assert expected is not None
    expected = dense(expected)
    fault = Fault(case, case.blames.as_if_right(row.name))
    read = _reading(row.name, given.detach().double(), expected, case, fault)
    mends = read.mended is not None and _agree(fault, read.mended)
    applicability = Applicability.MENDS if mends else Applicability.LOOK
    lines = [f"{d} has shape {list(given.shape)}, and {row.name} has {list(value.shape)}: {read.seen}."]
    if _broadcasts(given.shape, value.shape):
        lines.append("  a comparison that broadcasts does not see it.")
    lines.append(f"  {applicability.word}: {read.next}")
    certainty = Certainty.FITS if read.cause else None
    return replace(row, message="\n".join(lines), cause=read.cause, certainty=certainty, applicability=applicability)


def _broadcasts(a: torch.Size, b: torch.Size) -> bool:
    try:
        torch.broadcast_shapes(a, b)
    except RuntimeError:
        return False
    return True


class _Reading(NamedTuple):
    """What may have happened to the shape: cause, what is seen, next step, and the gradient with that step done."""

    cause: Cause | None
    seen: str
    next: str
    mended: Tensor | None = None


def _reading(name: str, got: Tensor, right: Tensor, case: Case, fault: Fault) -> _Reading:
    """The first reading of the shape that makes the numbers right."""
    shape, dims = list(right.shape), Cause.WRONG_DIMENSIONS
    if got.numel() == right.numel() and _agree(fault, reshaped := got.reshape(right.shape)):
        if got.squeeze().shape != right.squeeze().shape:
            return _Reading(dims, "its numbers are right, in another shape", f"reshape it to {shape}", reshaped)
        lost = got.dim() < right.dim()
        seen = f"its numbers are right, a dimension of size 1 is {'lost' if lost else 'too many'}"
        step = f"sum {'with keepdim=True' if lost else 'without keepdim'}, or reshape to {shape}"
        return _Reading(dims, seen, step, reshaped)
    for first, second in combinations(range(got.dim()), 2):
        if _agree(fault, turned := got.transpose(first, second)):
            turn = ".mT" if second == got.dim() - 1 == first + 1 else f".transpose({first}, {second})"
            step = f"transpose it: {case.d(name)}{turn}, or exchange the factors of the product"
            return _Reading(Cause.SWAPPED_OR_TRANSPOSED, "it is transposed", step, turned)
    summed = _summed(got, right.shape)
    if summed is not None and _agree(fault, summed):
        broadcast = [dim for dim, size in enumerate(right.shape) if size == 1]
        alone = len(broadcast) == 1 and got.dim() == right.dim()
        where = f"dimension {broadcast[0]}" if alone else "the broadcast dimensions"
        step = f"sum it to {shape}: {name} is shared along them"
        return _Reading(dims, f"it is not summed over {where}", step, summed)
    if _spreads(got, right) and _agree(fault, spread := got.expand(right.shape)):
        return _Reading(dims, "its numbers are right, not spread over the whole value", f"expand it to {shape}", spread)
    for part in (*fault.parts, *fault.inside().parts):
        if got.shape == part.upstream.shape and torch.equal(got, part.upstream):
            step = f"bring it back to {shape}, as {formula(case.graph, part.reader)} takes it apart"
            return _Reading(dims, f"{case.d(part.reader)} is handed on as it is", step)
        for words, candidate, share in other_sums(fault, part):
            if candidate.shape == got.shape and _same(fault, part, candidate, got):
                step = f"sum over the dimensions that {name} is broadcast along"
                return _Reading(dims, f"it is {words}", step, part.whole(share))
    for other, own in case.autograds.items():
        if other != name and own is not None and own.shape == got.shape and _near(fault, dense(own).double(), got):
            step = f"put it beside {other}, and see whether two are swapped"
            return _Reading(Cause.SWAPPED_OR_TRANSPOSED, f"it is the gradient of {other}", step)
    unknown = "its numbers fit no other shape either, cause unknown"
    step = f"see which dimensions of {shape} {lines_of(fault)} sums, spreads or turns, and undo each"
    return _Reading(None, unknown, step)


def _same(fault: Fault, part: Part, candidate: Tensor, got: Tensor) -> bool:
    room = fault.relative * (candidate.abs() + part.upstream.abs().max()) + float(fault.allowed.max())
    return bool(((candidate - got).abs() <= room).all())


def _near(fault: Fault, candidate: Tensor, got: Tensor) -> bool:
    room = fault.relative * (candidate.abs() + candidate.abs().max())
    return bool(((candidate - got).abs() <= room).all()) and bool((candidate != 0).any())


def _agree(fault: Fault, got: Tensor) -> bool:
    return got.shape == fault.expected.shape and bool(((got - fault.expected).abs() <= fault.allowed).all())


def _summed(got: Tensor, shape: torch.Size) -> Tensor | None:
    if got.dim() < len(shape) or got.numel() <= shape.numel():
        return None
    try:
        return got.sum_to_size(shape)
    except RuntimeError:
        return None


def _spreads(got: Tensor, right: Tensor) -> bool:
    try:
        return torch.broadcast_shapes(got.shape, right.shape) == right.shape
    except RuntimeError:
        return False
