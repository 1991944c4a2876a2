"""Shares of the form c · U · X^p · Y^q, summed to shape: a factor left out, put in, exchanged, or to another
power.

U is the reader's gradient. The right share is written in this form first, from the values near the line; then
the user's. What differs between the two is the finding.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from backproof.proof.causes.by_constants import meaning
from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.causes.monomial_fit import Bench, Column, Monomial, benches, power_of
from backproof.proof.report.cause import Cause

_POWERS = (1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -3.0, 1.5, -1.5)
_ELSEWHERE = ", as in the derivative of a different forward pass"
_FAR = 60  # values and gradients of other lines that are tried; among many one fits by chance
_MEANT = 1e-2  # within this of a whole number or a quarter, a constant is tried as that; and of the right one, as right
_SAID = 1e-3  # a constant that is off by less is not worth a word


def changed_factor(fault: Fault) -> Iterator[Finding]:
    """A factor left out, put in, or to another power, among the values near the line."""
    return _changed(fault, constant=False)


def changed_factor_and_constant(fault: Fault) -> Iterator[Finding]:
    """The same, and a constant factor is wrong as well."""
    return _changed(fault, constant=True)


def _changed(fault: Fault, *, constant: bool) -> Iterator[Finding]:
    for bench in benches(fault):
        part = bench.part
        local = _columns(bench, fault.local(part.reader), _POWERS)
        right = _right(bench, local)
        if right is None:  # the right share has no such form, but may be off by a factor
            finding = None if constant else _relative(bench, local)
        else:
            found = _first(bench, part.upstream, _tries(fault, right, local), None if constant else right.c)
            finding = None if found is None else _compared(bench, right, found)
        if finding is not None:
            yield finding
            return


def _tries(fault: Fault, right: Monomial, local: list[Column]) -> list[tuple[Column, ...]]:
    """Formulas to try, the nearest to the right one first. Few or rough numbers fit some pair of powers."""
    without = [right.columns[:i] + right.columns[i + 1 :] for i in range(len(right.columns))]
    tries = list(without)
    if fault.precise:
        powers = [[one for one in local if one.name == column.name] for column in right.columns]
        tries += [(*rest, one) for rest, others in zip(without, powers, strict=True) for one in others]
    if fault.bears_search:
        tries += [(one,) for one in local]
        tries += [(a, b) for i, a in enumerate(local) for b in local[i + 1 :] if a.name != b.name]
    tries += [(*right.columns, one) for one in local if one.power == 1]
    return tries


def exchanged_factor(fault: Fault) -> Iterator[Finding]:
    """Another value, or a gradient, where one of the factors of the right formula belongs."""
    for bench in benches(fault):
        part = bench.part
        right = _right(bench, _columns(bench, fault.local(part.reader), _POWERS))
        if right is None:
            continue
        for name, gradient, tensor in others(fault):
            for index, old in enumerate(right.columns):
                column = bench.column(name, tensor, old.power)
                as_it_is = bench.column(name, tensor, 1.0) if old.power != 1 else None
                for new in (column, as_it_is):
                    if new is None:
                        continue
                    columns = (*right.columns[:index], new, *right.columns[index + 1 :])
                    if _verified(bench, part.upstream, right.c, columns):
                        yield _exchanged(bench, old, new, gradient, right)
                        return


def plain_product(fault: Fault) -> Iterator[Finding]:
    """U · X for a value X near the line, where the right share is no such product."""
    for bench in benches(fault):
        part = bench.part
        if _right(bench, _columns(bench, fault.local(part.reader), _POWERS)) is not None:
            continue
        for column in _columns(bench, fault.local(part.reader), (1.0,)):
            for c in (1.0, -1.0):
                if _verified(bench, part.upstream, c, (column,)):
                    made = f"{'-' if c < 0 else ''}{part.d} * {column.name}"
                    yield Finding(
                        Cause.OTHER_FORWARD_PASS,
                        "it is the derivative of a different forward pass",
                        f"{part.subject} equals {made}, to rounding, and that is not the derivative of {part.line}.",
                        f"derive {part.line} again",
                    )
                    return


def two_strangers(fault: Fault) -> Iterator[Finding]:
    """The product of two tensors, one at least a gradient, that do not belong there."""
    for bench in benches(fault) if fault.precise else ():
        right = _right(bench, _columns(bench, fault.local(bench.part.reader), _POWERS))
        if right is None:
            continue
        pool = [(name, gradient, tensor) for name, gradient, tensor in others(fault)]
        for name, gradient, tensor in pool:
            first = bench.column(name, tensor, 1.0)
            if not gradient or first is None:
                continue
            tries = [(c,) for n, _, t in pool if (c := bench.column(n, t, 1.0)) is not None]
            for c, columns in bench.fits(bench.part.got, first.whole, tries):
                other = columns[0].name
                if abs(c - right.c) <= _MEANT * abs(right.c) and _verified(bench, first.whole, right.c, columns):
                    yield Finding(
                        Cause.WRONG_TENSOR,
                        f"{name} and {other} stand where {right} belongs",
                        f"{bench.part.subject} equals {name} * {other}, to rounding.",
                        f"use {bench.with_shape(right)}: the derivative of {bench.part.line}",
                        bench.gradient(right.shown, right.columns),
                    )
                    return


def others(fault: Fault) -> list[tuple[str, bool, Tensor]]:
    """Other tensors that may stand here by mistake, near ones first: name, whether a gradient, numbers."""
    near = [fault.name, *fault.readers, *(s for r in fault.readers for s in fault.siblings(r)), *fault.inputs]
    names = [name for name in dict.fromkeys((*near, *fault.graph.names)) if name in fault.graph.values]
    found = []
    for name in names[:_FAR]:
        value = fault.graph.values[name].detach()
        if value.is_floating_point() and value.numel() > 1:
            found.append((name, False, value))
    for name in [name for name in names if name in set(fault.at_hand)][:_FAR]:
        gradient = fault.case.upstream(name)
        if gradient is not None and gradient.numel() > 1:
            found.append((fault.case.d(name), True, gradient))
    return found


def _columns(bench: Bench, names: tuple[str, ...], powers: tuple[float, ...]) -> list[Column]:
    found = []
    for name in names:
        value = bench.fault.graph.values[name].detach()
        if value.is_floating_point():
            found += [c for power in powers if (c := bench.column(name, value, power)) is not None]
    return found


def _right(bench: Bench, local: list[Column]) -> Monomial | None:
    """The right share as a formula of the values near the line."""
    tries: list[tuple[Column, ...]] = [(), *((one,) for one in local)]
    tries += [(a, b) for i, a in enumerate(local) for b in local[i + 1 :] if a.name != b.name]
    part = bench.part
    for c, columns in bench.fits(part.expected, part.upstream, tries):
        for number in (_plain(c), c):
            made = number * bench.made(part.upstream, columns)
            if bool(((made - part.expected).abs() <= bench.fault.allowed[part.window]).all()):
                return Monomial(number, bench.part.d, columns)
    return None


def _first(bench: Bench, first: Tensor, tries: list[tuple[Column, ...]], only: float | None) -> Monomial | None:
    for c, columns in bench.fits(bench.part.got, first, tries):
        if only is not None and abs(c - only) > _MEANT * abs(only):
            continue
        for number in (_plain(c), c) if only is None else (only,):
            if _verified(bench, first, number, columns):
                return Monomial(number, bench.part.d, columns)
    return None


def _verified(bench: Bench, first: Tensor, c: float, columns: tuple[Column, ...]) -> bool:
    if next(bench.fits(bench.part.got, first, [columns]), None) is None:
        return False
    return bench.fault.explains(bench.part.whole(c * bench.made(first, columns)))


def _plain(c: float) -> float:
    """Whole numbers and quarters are taken to be meant as such, if they then fit."""
    near = round(c * 4) / 4
    return near if near and abs(c - near) <= _MEANT * abs(near) else c


def _compared(bench: Bench, right: Monomial, found: Monomial) -> Finding | None:
    fault, line = bench.fault, bench.part.line
    why = f"{bench.part.subject} equals {found}, to rounding; the right one is {right}."
    old, new = right.powers, found.powers
    lost = [name for name in old if name not in new]
    extra = [name for name in new if name not in old]
    factor = meaning(fault, found.c / right.c) if abs(found.c / right.c - 1) > _SAID else None
    also = f", and a factor {factor.factor} is too much" if factor else ""
    if lost and not extra:
        text = " and ".join(power_of(name, old[name]) for name in lost)
        columns = (*found.columns, *(column for column in right.columns if column.name in lost))
        step, mended = f"multiply by {text}{bench.place}", bench.gradient(found.c, columns)
        return Finding(Cause.WRONG_FACTOR, f"the factor {text} is left out{also}", why, step, mended)
    if extra and not lost and all(new[name] == power for name, power in old.items()):
        text = " and ".join(power_of(name, new[name]) for name in extra)
        if set(extra) <= {fault.name, bench.part.reader}:  # of the value itself: its power is wrong
            head = f"{_all(new)} stands where {_all(old)} belongs"
            return Finding(Cause.OTHER_FORWARD_PASS, f"{head}{_ELSEWHERE}{also}", why, f"derive {line} again")
        step = f"take {text} out{bench.place}"
        mended = bench.gradient(found.c, tuple(column for column in found.columns if column.name not in extra))
        return Finding(Cause.WRONG_FACTOR, f"the factor {text} does not belong there{also}", why, step, mended)
    if old == new:  # nothing but the constant differs
        return None
    if not lost and not extra:
        changed = next(name for name in old if old[name] != new[name])
        head = f"{power_of(changed, new[changed])} stands where {power_of(changed, old[changed])} belongs"
    else:
        head = f"{_all(new)} stands where {_all(old)} belongs"
    return Finding(Cause.OTHER_FORWARD_PASS, f"{head}{_ELSEWHERE}{also}", why, f"derive {line} again")


def _relative(bench: Bench, local: list[Column]) -> Finding | None:
    """got = expected · X^p, where the right share itself is no such product, as behind a softmax."""
    part, fault = bench.part, bench.fault
    if bench.lost or part.expected.shape != bench.full:
        return None
    tries: list[tuple[Column, ...]] = [(one,) for one in local if one.power > 0]
    for c, (column,) in bench.fits(part.got, part.expected, tries):
        if fault.explains(part.whole(_plain(c) * part.expected * column.whole)):
            text = power_of(column.name, column.power)
            why = f"{part.subject} equals the right one times {text}, to rounding."
            mended = part.whole(torch.where(column.whole == 0, part.expected, part.got / column.whole))
            step = f"take {text} out{part.place}"
            return Finding(Cause.WRONG_FACTOR, f"the factor {text} does not belong there", why, step, mended)
    for c, (column,) in bench.fits(part.expected, part.got, tries):
        made = part.expected / (_plain(c) * column.whole)  # where X is 0, the right share is 0 too, and says nothing
        if fault.explains(part.whole(torch.where(column.whole == 0, part.got, made))):
            text = power_of(column.name, column.power)
            why = f"{part.subject} times {text} equals the right one, to rounding."
            step, mended = f"multiply by {text}{part.place}", part.whole(part.got * column.whole)
            return Finding(Cause.WRONG_FACTOR, f"the factor {text} is left out", why, step, mended)
    return None


def _exchanged(bench: Bench, old: Column, new: Column, gradient: bool, right: Monomial) -> Finding:
    was, now = power_of(old.name, old.power), power_of(new.name, new.power)
    kind = (
        f"the gradient {now} stands where the value {was} belongs" if gradient else f"{now} stands where {was} belongs"
    )
    return Finding(
        Cause.WRONG_TENSOR if gradient else Cause.OTHER_FORWARD_PASS,
        kind if gradient else f"{kind}{_ELSEWHERE}",
        f"{bench.part.subject} equals {right.first} * {now}"
        + ("" if len(right.columns) == 1 else ", with the other factors right")
        + ", to rounding.",
        f"use {bench.with_shape(right)}{bench.part.place}",
        bench.gradient(right.shown, right.columns),
    )


def _all(powers: dict[str, float]) -> str:
    return " * ".join(power_of(name, power) for name, power in powers.items()) or "1"
