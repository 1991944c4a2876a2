"""Rows left out, terms of a sum left out, places overwritten, other dimensions summed."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import torch
from torch import Tensor

from backproof.proof.causes.by_functions import fitting, replaces
from backproof.proof.causes.case import Finding, Part
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.wording import lines_of, ranges
from backproof.proof.graph.formula import formula
from backproof.proof.graph.operations import softmax_dim
from backproof.proof.report.cause import Cause
from backproof.proof.verdict.fit import fitted_factor

_SLICES = 160  # slices of an upstream gradient that are sent back one by one, each by a backward pass
_LONGEST_STEP = 33  # every k-th index for a k below, as the last of each tile of 32
_PAIRS = 64  # indices of which any two are tried; of more, there are thousands of pairs
_LOOK = 320  # elements of the gradient that are looked at: two for each slice, so that any set of them can be told
_WHOLE = 0.05  # within this of 0 or 1, the weight of a slice is that; half a slice is another fault
_ROOM = 4  # times the rounding allowed: what is missing is a difference of roundings, as the slices are
_NUMBERS = 2_000_000  # numbers that are kept of the slices' traces: 16 megabytes


def some_rows(fault: Fault) -> Iterator[Finding]:
    """Right but for a few indices of one dimension."""
    wrong = (fault.difference.abs() > fault.allowed) | ~fault.got.isfinite()
    for dim in range(wrong.dim()):
        size = wrong.shape[dim]
        bad = wrong.movedim(dim, 0).reshape(size, -1).any(1)
        count = int(bad.sum())
        if not 0 < count <= size // 2:
            continue
        indices = bad.nonzero().flatten()
        got, expected = fault.got.movedim(dim, 0)[indices], fault.expected.movedim(dim, 0)[indices]
        telling = int((fault.expected.movedim(dim, 0)[~bad].abs() > fault.allowed.movedim(dim, 0)[~bad]).sum())
        empty = not bool((got != 0).any())
        unwritten = bool(((got == 0) | ((got - expected).abs() <= fault.allowed.movedim(dim, 0)[indices])).all())
        if telling < 2 or not (empty or unwritten):
            continue
        tail = ", the last of them" if int(indices[-1]) == size - 1 and count == size - int(indices[0]) else ""
        where = f"{ranges(indices.tolist())} of dimension {dim}"
        yield Finding(
            Cause.ROWS_LEFT_OUT,
            f"it is zero at index {where}",
            f"all else is right, to rounding; {count} of {size} indices are left out{tail}.",
            "compute all of them"
            + ("; a loop over tiles must also take the last, shorter one" if tail else f", as in {lines_of(fault)}"),
        )
        return


def terms_left_out(fault: Fault) -> Iterator[Finding]:
    """A sum that lacks the terms of some indices of the upstream gradient."""
    for part in fault.parts:
        missing = (part.expected - part.got).flatten()
        look = missing.abs().topk(min(_LOOK, len(missing))).indices
        for dim in range(part.upstream.dim()):
            if not 1 < part.upstream.shape[dim] <= _SLICES:
                continue
            sent = _slices(fault, part, dim, look)
            if sent is None:
                continue
            for chosen in _subsets(sent, missing[look], fault.allowed[part.window].flatten()[look]):
                kept = part.upstream.index_fill(dim, chosen, 0.0)
                made = fault.through(part, kept)
                if made is not None and replaces(fault, part, made[part.window]):
                    yield _left_out(fault, part, dim, chosen)
                    return


def _left_out(fault: Fault, part: Part, dim: int, chosen: Tensor) -> Finding:
    d, size = part.d, part.upstream.shape[dim]
    rest = size - len(chosen)
    if rest < len(chosen) and int(chosen[-1]) == len(chosen) - 1:
        return Finding(
            Cause.OVERWRITTEN,
            f"only the last {rest} of {size} indices of dimension {dim} of {d} are in the sum",
            "your gradient equals the sum over these alone, to rounding: each part overwrites the one before.",
            "accumulate: += where = stands",
        )
    tail = int(chosen[-1]) == size - 1 and len(chosen) == size - int(chosen[0])
    if rest == 1 and size > 2:
        kept = next(index for index in range(size) if index not in chosen.tolist())
        return Finding(
            Cause.ROWS_LEFT_OUT,
            f"only index {kept} of dimension {dim} of {d} is in the sum",
            f"your gradient equals what comes back from it alone, to rounding; the other {len(chosen)} are left out.",
            f"sum over dimension {dim} of {d}",
            part.whole(part.expected),
        )
    return Finding(
        Cause.ROWS_LEFT_OUT,
        f"index {ranges(chosen.tolist())} of dimension {dim} of {d} is left out of the sum",
        f"your gradient equals the sum over the other {rest} of {size}, to rounding.",
        "sum over all of them" + ("; a loop over tiles must also take the last, shorter one" if tail else ""),
        part.whole(part.expected),
    )


def _subsets(sent: Tensor, missing: Tensor, allowed: Tensor) -> Iterator[Tensor]:
    """Sets of slices that add up to what is missing: a run at either end, one or two, every k-th, or any."""
    room, size = _ROOM * allowed, len(sent)
    for masks in _masks(size, sent.device):
        near = (masks @ sent - missing).abs() <= room
        for index in near.all(1).nonzero().flatten().tolist():
            yield masks[index].nonzero().flatten()
    if sent.shape[1] >= size and bool(sent.isfinite().all() & missing.isfinite().all()):
        weights = torch.linalg.lstsq(sent.T, missing.unsqueeze(1), driver="gelsd").solution.flatten()
        chosen = weights.round()
        clear = bool(((weights - chosen).abs() < _WHOLE).all()) and bool((chosen.abs() <= 1).all())
        if clear and 0 < int(chosen.sum()) <= size // 2:
            yield chosen.nonzero().flatten()


def _masks(size: int, device: torch.device) -> Iterator[Tensor]:
    places = torch.arange(size, device=device)
    runs = places.unsqueeze(0) < places[1:].unsqueeze(1)
    yield torch.cat([~runs.flip(0), runs]).double()
    yield torch.eye(size, device=device, dtype=torch.float64)
    for step in range(2, min(size, _LONGEST_STEP)):
        yield (places % step == places[:step].unsqueeze(1)).double()
    if 2 < size <= _PAIRS:
        pairs = torch.combinations(places, 2)
        yield torch.zeros(len(pairs), size, device=device, dtype=torch.float64).scatter_(1, pairs, 1.0)


def _slices(fault: Fault, part: Part, dim: int, look: Tensor) -> Tensor | None:
    """What each index of the upstream gradient sends back to the elements to look at."""
    sent = []
    for index in range(part.upstream.shape[dim]):
        only = torch.zeros_like(part.upstream)
        only.select(dim, index).copy_(part.upstream.select(dim, index))
        back = fault.through(part, only)
        if back is None:
            return None
        sent.append(back[part.window].flatten()[look])
    return torch.stack(sent)


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


def other_dimensions(fault: Fault) -> Iterator[Finding]:
    """Summed over other dimensions than it should be, or where nothing is to be summed."""
    for part in fault.parts:
        for words, candidate, share in other_sums(fault, part):
            spread = fitting(candidate, part.got.shape)
            if spread is not None and replaces(fault, part, spread):
                yield Finding(
                    Cause.WRONG_DIMENSIONS,
                    f"it is {words}",
                    f"{part.subject} is {words} and brought to shape {list(part.got.shape)}, to rounding.",
                    f"sum over the dimensions that {fault.name}, of shape {list(fault.value.shape)}, is broadcast "
                    f"along in {part.line}",
                    part.whole(share),
                )
                return


def softmax_over_other_dimension(fault: Fault) -> Iterator[Finding]:
    """p · (g - Σ p g), with the sum over another dimension than the softmax ran over."""
    for part in fault.parts:
        node = fault.graph.places[part.reader][0]
        p = fault.graph.values[part.reader].detach().double()
        dim = softmax_dim(node, p.dim())
        if dim is None or part.start[0] is not node or part.upstream.shape != part.expected.shape:
            continue
        for other in (*range(p.dim()), None):
            weighted = p * part.upstream
            total = weighted.sum() if other is None else weighted.sum(other, keepdim=True)
            if other != dim and replaces(fault, part, p * (part.upstream - total)):
                over = "everything" if other is None else f"dimension {other}"
                yield Finding(
                    Cause.WRONG_DIMENSIONS,
                    f"the inner sum runs over {over}",
                    f"{part.line} runs over dimension {dim}.",
                    f"sum {part.d} * {part.reader} over dimension {dim}, with keepdim=True",
                    part.whole(p * (part.upstream - (p * part.upstream).sum(dim, keepdim=True))),
                )
                return


def other_sums(fault: Fault, part: Part) -> Iterator[tuple[str, Tensor, Tensor]]:
    """The products whose sum is the right share, summed over every choice of dimensions, and summed as they should be.

    In words, in numbers, and the right share.
    """
    for product, share in summands(fault, part):
        yield "not summed", product, share
        for count in range(1, product.dim() + 1):
            for dims in combinations(range(product.dim()), count):
                over = (
                    "all dimensions"
                    if count == product.dim() > 1
                    else f"dimension {dims[0]}"
                    if count == 1
                    else f"dimensions {dims}"
                )
                yield f"summed over {over}", product.sum(dims, keepdim=True), share
                yield f"summed over {over}", product.sum(dims), share


def summands(fault: Fault, part: Part) -> Iterator[tuple[Tensor, Tensor]]:
    """Tensors of the reader's shape whose sum over the right dimensions is the right share, and that sum."""
    for x in (None, *fault.siblings(part.reader), part.reader, fault.name):
        product = part.upstream
        if x is not None:
            value = fault.graph.values[x].detach()
            try:
                product = product * value.double()
            except RuntimeError:
                continue
        made = fitting(product, part.expected.shape)
        if made is None:
            continue
        close = bool(((made - part.expected).abs() <= fault.allowed[part.window]).all())
        c = 1.0 if close else fitted_factor(part.expected, made)
        if c and bool(((c * made - part.expected).abs() <= fault.allowed[part.window]).all()):
            yield c * product, c * made
