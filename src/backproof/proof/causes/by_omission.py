"""Rows left out, terms of a sum left out."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from backproof.proof.causes.by_functions import replaces
from backproof.proof.causes.case import Finding, Part
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.wording import lines_of, ranges
from backproof.proof.report.cause import Cause

_SLICES = 160  # slices of an upstream gradient that are sent back one by one, each by a backward pass
_LONGEST_STEP = 33  # every k-th index for a k below, as the last of each tile of 32
_PAIRS = 64  # indices of which any two are tried; of more, there are thousands of pairs
_LOOK = 320  # elements of the gradient that are looked at: two for each slice, so that any set of them can be told
_WHOLE = 0.05  # within this of 0 or 1, the weight of a slice is that; half a slice is another fault
_ROOM = 4  # times the rounding allowed: what is missing is a difference of roundings, as the slices are


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
