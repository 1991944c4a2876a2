"""Places overwritten where several terms belong together."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from backproof.proof.causes.case import Finding, Part
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.wording import ranges
from backproof.proof.graph.formula import formula
from backproof.proof.report.cause import Cause

_SLICES = 160  # slices of an upstream gradient that are sent back one by one, each by a backward pass
_NUMBERS = 2_000_000  # numbers that are kept of the slices' traces: 16 megabytes


def overwritten_share(fault: Fault) -> Iterator[Finding]:
    """A term that is written to some places only stands there alone, where it should be added to the others."""
    terms = (*fault.shares, *fault.terms)
    for term in terms:
        others = [other.tensor for other in terms if other is not term] if len(terms) > 2 else []
        for written in _blocks(term.tensor):
            for under in (fault.expected - term.tensor, *others):  # all else, or what had been added up by then
                meets = written & (under.abs() > fault.allowed)
                if bool(written.all()) or not bool(meets.any()):
                    continue
                if fault.explains(torch.where(written, fault.expected - under, fault.expected)):
                    yield Finding(
                        Cause.OVERWRITTEN,
                        f"what comes back through {formula(fault.graph, term.reader)} overwrites what is there, in "
                        f"{int(meets.sum())} of {meets.numel()} elements",
                        "the terms that stood there before are lost; all else is right, to rounding.",
                        "accumulate: += where = stands, scatter_add_ or index_add_ for scatter_ or index_copy_",
                        torch.where(written, fault.got + under, fault.got),
                    )
                    return


def _blocks(term: Tensor) -> Iterator[Tensor]:
    """Where a term may have been written: where it is not zero, or the block of rows, columns, ... around that."""
    nonzero = term != 0
    yield nonzero
    block = torch.ones_like(nonzero)
    for dim in range(term.dim()):
        hit = nonzero.movedim(dim, 0).reshape(term.shape[dim], -1).any(1)
        block &= hit.reshape([-1 if d == dim else 1 for d in range(term.dim())])
    if not torch.equal(block, nonzero):
        yield block


def overwritten(fault: Fault) -> Iterator[Finding]:
    """Where several terms meet in one place, only the last, or the first, is kept."""
    for part in fault.parts:
        meeting = fault.through(part, torch.ones_like(part.upstream))
        if meeting is None or not bool((meeting == meeting.round()).all()) or not bool((meeting.abs() > 1).any()):
            continue  # places are only written to, not weighted, and some more than once
        summed = _is_sum(fault, part)
        for touches, terms in _writers(fault, part):
            order = torch.arange(1, len(terms) + 1, device=terms.device, dtype=torch.float64)
            order = order.reshape(-1, *[1] * (terms.dim() - 1))
            if int((touches.sum(0) > 1).sum()) == 0 or torch.equal(touches, touches.any(0).expand_as(touches)):
                continue  # nothing meets, or all of it everywhere: a sum, of which `terms_left_out` says what is there
            for words, chosen in (
                ("last", (touches * order).argmax(0)),
                ("first", (touches * (len(terms) + 1 - order)).argmax(0)),
            ):
                if summed and words == "first":
                    continue  # no line writes there in turns: one index is taken, where a sum belongs
                left = (terms.gather(0, chosen.unsqueeze(0))[0] * touches.any(0)).reshape(fault.got.shape)
                if fault.explains(part.rest + left) or fault.explains(torch.where(touches.any(0), left, part.rest)):
                    several = touches.sum(0).flatten(1).amax(1) if touches.dim() > 2 else touches.sum(0)
                    places = (several > 1).nonzero()[:, 0].unique().tolist()
                    yield Finding(
                        Cause.OVERWRITTEN,
                        f"where several terms belong together, each overwrites the one before; the {words} one is left",
                        f"{part.subject} holds one term at index {ranges(places)} of dimension 0, where "
                        f"{part.line} uses {fault.name} more than once.",
                        "accumulate: index_add_, or index_put_ with accumulate=True; x[i] += y keeps one of several",
                        part.rest + terms.sum(0).reshape(fault.got.shape),
                    )
                    return


def _is_sum(fault: Fault, part: Part) -> bool:
    """Whether the share is the reader's gradient summed over some dimensions, as broadcasting makes it."""
    upstream, size = part.upstream, part.expected.numel()
    for count in range(1, upstream.dim() + 1):
        for dims in combinations(range(upstream.dim()), count):
            total = upstream.sum(dims)
            if total.numel() == size:
                difference = (total.reshape(part.expected.shape) - part.expected).abs()
                if bool((difference <= fault.allowed[part.window]).all()):
                    return True
    return False


def _writers(fault: Fault, part: Part) -> Iterator[tuple[Tensor, Tensor]]:
    """For each way to cut the upstream gradient into single writes: who touches what, and with what."""
    shape = part.upstream.shape
    leading = [shape[:count].numel() for count in range(1, len(shape) + 1)]
    for count, size in enumerate(leading, start=1):
        if 1 < size <= _SLICES and size * part.expected.numel() <= _NUMBERS:
            yield from _written(fault, part, part.upstream.reshape(size, *shape[count:]), 0)
    for dim in range(1, len(shape)):
        if 1 < shape[dim] <= _SLICES and shape[dim] * part.expected.numel() <= _NUMBERS:
            yield from _written(fault, part, part.upstream, dim)


def _written(fault: Fault, part: Part, view: Tensor, dim: int) -> Iterator[tuple[Tensor, Tensor]]:
    touches, terms = [], []
    for index in range(view.shape[dim]):
        where, what = torch.zeros_like(view), torch.zeros_like(view)
        where.select(dim, index).fill_(1)
        what.select(dim, index).copy_(view.select(dim, index))
        shape = part.upstream.shape
        touched = fault.through(part, where.reshape(shape))
        sent = fault.through(part, what.reshape(shape))
        if touched is None or sent is None:
            return
        touches.append(touched != 0)
        terms.append(sent)
    yield torch.stack(touches), torch.stack(terms)
