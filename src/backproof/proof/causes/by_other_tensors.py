"""The right operation on the wrong tensor: another gradient, another upstream one, a transposed one."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, permutations

import torch
from torch import Tensor

from backproof.proof.causes.by_functions import replaces
from backproof.proof.causes.case import Finding, Part
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.wording import lines_of
from backproof.proof.report.cause import Cause
from backproof.proof.report.words import listed

_MOST = 60  # other tensors that are tried in one place; each costs a backward pass
_MISPLACED = 6  # different numbers that stand clear of rounding: fewer may be alike by chance
_CLEAR = 8  # times the rounding allowed
_SAME_NUMBER = 64  # roundings of the number itself, whatever else is summed: half as many digits are another number
_LARGE = 100_000  # elements above which blocks are not tried in every order: each of the 30 is a copy


def another_gradient(fault: Fault) -> Iterator[Finding]:
    """got is the gradient of another value of the same shape."""
    near = {name for reader in fault.readers for name in fault.siblings(reader)}
    for name, gradient in _others(fault):
        if fault.explains(gradient):
            d, related = fault.case.d(name), name in near
            other = fault.case.handed.get(name)
            swapped = other is not None and fault.is_right(other)
            step = f"exchange {fault.d} and {d}" if swapped else f"see whether {fault.d} and {d} are swapped"
            yield Finding(
                Cause.SWAPPED_OR_TRANSPOSED if related else Cause.WRONG_TENSOR,
                f"it is the gradient of {name}, not of {fault.name}",
                f"your {fault.d} equals {d} to rounding"
                + (
                    f"; both are read by {' and '.join(r for r in fault.readers if name in fault.siblings(r))}."
                    if related
                    else "."
                ),
                f"{step}; {fault.d} comes from {lines_of(fault)}",
                other if swapped else None,
            )
            return


def _others(fault: Fault) -> Iterator[tuple[str, Tensor]]:
    at_hand = set(fault.at_hand)
    for name in fault.graph.names:
        if name == fault.name or name in fault.readers:
            continue
        own = fault.case.handed.get(name) if name in at_hand else None
        for gradient in (own, fault.case.autograds.get(name)):
            if gradient is not None and gradient.shape == fault.got.shape and not gradient.is_sparse:
                yield name, gradient


def rearranged(fault: Fault) -> Iterator[Finding]:
    """got is the right gradient with two dimensions exchanged, or turned round."""
    for words, candidate in _rearrangements(fault.expected):
        if fault.explains(candidate):
            yield Finding(
                Cause.SWAPPED_OR_TRANSPOSED,
                f"it is {words}",
                f"your gradient equals the right one, {words}, to rounding.",
                f"check the order of dimensions in the line made from {lines_of(fault)}",
            )
            return


def shifted(fault: Fault) -> Iterator[Finding]:
    """got is the right gradient, moved by one index along a dimension; what came in at the end is anything."""
    for dim in range(fault.got.dim()):
        count = fault.got.shape[dim] - 1
        for start in (0, 1) if count > 1 else ():
            got, right, allowed = (
                t.narrow(dim, at, count)
                for t, at in ((fault.got, 1 - start), (fault.expected, start), (fault.allowed, start))
            )
            told_apart = right[right.abs() > _CLEAR * allowed].unique()
            if len(told_apart) >= _MISPLACED and bool(((got - right).abs() <= allowed).all()):
                end = count if start else 0
                yield Finding(
                    Cause.SWAPPED_OR_TRANSPOSED,
                    f"it is the right gradient, moved by one index along dimension {dim}",
                    f"all of it equals the right one at the index {'after' if start else 'before'}, to rounding, but "
                    f"index {end}, to which nothing belongs.",
                    f"move it by one, and see where the line takes its indices from, in {lines_of(fault)}",
                )
                return


def misplaced(fault: Fault) -> Iterator[Finding]:
    """got holds the numbers of the right gradient, at other places."""
    here, there = fault.got.flatten(), fault.expected.flatten()
    told_apart = there[there.abs() > _CLEAR * fault.allowed.flatten()].unique()
    mine, right = here.sort().values, there.sort().values
    room = _SAME_NUMBER * torch.finfo(fault.given.dtype).eps * right.abs()
    if len(told_apart) >= _MISPLACED and bool(((mine - right).abs() <= room).all()):
        yield Finding(
            Cause.SWAPPED_OR_TRANSPOSED,
            "it holds the right numbers at the wrong places",
            "sorted, your gradient equals the right one, to rounding.",
            f"check which index each number belongs to in {lines_of(fault)}",
        )


def rearranged_upstream(fault: Fault) -> Iterator[Finding]:
    """The right derivative of an upstream gradient that is transposed or turned round."""
    for part in fault.parts:
        for words, upstream in _rearrangements(part.upstream):
            sent = fault.through(part, upstream)
            if sent is not None and replaces(fault, part, sent[part.window]):
                yield Finding(
                    Cause.SWAPPED_OR_TRANSPOSED,
                    f"{part.d} is read {words}",
                    f"your gradient is what flows back when {part.d} is {words}, to rounding.",
                    f"check the order of dimensions against {part.line}",
                )
                return


def _rearrangements(right: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Of the same shape: transposed, flipped, or with its numbers read in another order of dimensions."""
    shape = right.shape
    for a, b in combinations(range(right.dim()), 2):
        if shape[a] == shape[b] > 1:
            yield (
                ("transposed" if right.dim() == 2 else f"with dimensions {a} and {b} exchanged"),
                right.transpose(a, b),
            )
        elif shape[a] > 1 and shape[b] > 1:
            swapped = list(shape)
            swapped[a], swapped[b] = swapped[b], swapped[a]
            words = f"with its numbers in the order of dimensions {b} and {a}"
            yield words, right.reshape(swapped).transpose(a, b)
            yield words, right.transpose(a, b).reshape(shape)
    for dim in range(right.dim()):
        for count in (2, 3, 4) if right.numel() <= _LARGE else ():
            if shape[dim] % count == 0 and shape[dim] > count:
                blocks = right.chunk(count, dim)
                for order in list(permutations(range(count)))[1:]:
                    words = (
                        f"with its {count} blocks along dimension {dim} in the order {listed([str(i) for i in order])}"
                    )
                    yield words, torch.cat([blocks[i] for i in order], dim)
        if shape[dim] > 1:
            yield f"turned round along dimension {dim}", right.flip(dim)


def wrong_upstream(fault: Fault) -> Iterator[Finding]:
    """The right derivative of another value's gradient, or of a forward value where a gradient belongs."""
    for part in fault.parts:
        for name, label, other in _of_shape(fault, part):
            sent = fault.through(part, other)
            if sent is None or not replaces(fault, part, sent[part.window]):
                continue
            blamed = fault.case.blames.found.get(name)
            if label != name and blamed is not None and blamed.culprit and fault.name in _read_with(fault, name):
                continue  # made from a wrong gradient beside it, it is as wrong, and needs no cause of its own
            why = (
                f"{fault.name} is read by {part.reader}; your gradient is what {part.line} gives for "
                f"{label}, to rounding."
            )
            if name == part.reader and label != name:
                head = f"{label} is handed on without the rest of the derivative of {part.reader}"
                yield Finding(Cause.WRONG_FACTOR, head, why, f"work out {part.d} first, from {label}")
                return
            value = f"the value {name} stands where the gradient {part.d} belongs"
            head = value if label == name else f"{label} stands where {part.d} belongs"
            yield Finding(Cause.WRONG_TENSOR, head, why, f"replace {label} by {part.d}", part.whole(part.expected))
            return


def _read_with(fault: Fault, name: str) -> set[str]:
    """The values that some reader of this one reads as well."""
    return {other for reader in fault.graph.readers.get(name, ()) for other in fault.graph.inputs_of(reader)}


def _of_shape(fault: Fault, part: Part) -> Iterator[tuple[str, str, Tensor]]:
    """Gradients, then values, that could be taken for the upstream gradient: name, label, numbers."""
    found, shape = 0, part.upstream.shape
    direct = part.start == fault.graph.places[part.reader]
    for name in fault.at_hand:
        if name == part.reader and direct:
            continue
        for gradient in (fault.case.handed.get(name), fault.case.autograds.get(name)):
            if gradient is not None and gradient.shape == shape and not gradient.is_sparse:
                found += 1
                yield name, fault.case.d(name), gradient
    for name in fault.graph.names:
        value = fault.graph.values[name].detach()
        if value.shape == shape and value.dtype == fault.given.dtype:
            found += 1
            yield name, name, value
        if found > _MOST:
            return


def upstream_ignored(fault: Fault) -> Iterator[Finding]:
    """The derivative of ones, or of one number, where the upstream gradient has many."""
    for part in fault.parts:
        up = part.upstream
        if (up.numel() < 2 and float(up) == 1) or (up.numel() > 1 and bool((up == up.flatten()[0]).all())):
            continue
        sent = fault.through(part, torch.ones_like(up))
        if sent is None:
            continue
        d, line = part.d, part.line
        step = f"use {d} element by element in {line}"
        if replaces(fault, part, sent[part.window]):
            why = f"your gradient is what flows back when {d} is 1 everywhere; that is right for a plain sum only."
            yield Finding(Cause.UPSTREAM_IGNORED, f"the upstream gradient {d} is ignored", why, step)
            return
        for words, number in (
            ("its first element", up.flatten()[0]),
            ("its mean", up.mean()),
            ("its sum", up.sum()),
        ):
            if replaces(fault, part, float(number) * sent[part.window]):
                why = f"your gradient is what flows back when {d} is {words} everywhere."
                yield Finding(Cause.UPSTREAM_IGNORED, f"the upstream gradient {d} is treated as one number", why, step)
                return
        for dim in range(up.dim() if up.dim() > 1 else 0):
            sent = fault.through(part, up.narrow(dim, 0, 1).expand_as(up))
            if up.shape[dim] > 1 and sent is not None and replaces(fault, part, sent[part.window]):
                why = (
                    f"your gradient is what flows back when {d} is the same at every index of dimension {dim} as at 0."
                )
                yield Finding(
                    Cause.UPSTREAM_IGNORED,
                    f"only index 0 of dimension {dim} of the upstream gradient {d} is used",
                    why,
                    step,
                )
                return


def memory_order(fault: Fault) -> Iterator[Finding]:
    """The derivative of the upstream gradient's memory, read as if it lay row by row."""
    for part in fault.parts:
        given = fault.case.upstream(part.reader) if part.start == fault.graph.places[part.reader] else None
        if given is None or given.is_contiguous() or given.numel() < 2:
            continue
        strides = torch.empty(given.shape, device="meta").stride()
        room = given.untyped_storage().nbytes() // given.element_size() - given.storage_offset()
        if room < given.numel():
            continue
        sent = fault.through(part, given.as_strided(given.shape, strides))
        if sent is not None and replaces(fault, part, sent[part.window]):
            d = part.d
            yield Finding(
                Cause.CONTIGUITY_ASSUMED,
                f"{d} is read as if it were contiguous",
                f"{d} has strides {list(given.stride())}; your gradient is what flows back when its memory "
                "is read row by row.",
                f"call .contiguous() on {d}, or use its strides",
                part.whole(part.expected),
            )
            return


def exchanged_upstreams(fault: Fault) -> Iterator[Finding]:
    """Two readers, each given the other's upstream gradient."""
    for one, other in permutations(fault.parts, 2):
        if one.upstream.shape != other.upstream.shape or one.reader > other.reader:
            continue
        first, second = fault.through(one, other.upstream), fault.through(other, one.upstream)
        if first is None or second is None:
            continue
        if fault.explains(one.rest + other.rest - fault.expected + first + second):
            ds = f"{one.d} and {other.d}"
            yield Finding(
                Cause.SWAPPED_OR_TRANSPOSED,
                f"{ds} are swapped",
                f"your gradient is what flows back through {one.reader} and {other.reader} when each gets "
                "the other's gradient.",
                f"exchange {ds} in this line",
                fault.expected,
            )
            return
