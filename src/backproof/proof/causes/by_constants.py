"""Constant factors, and what a factor of that size usually means."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import torch

from backproof.proof.causes.by_precision import rounded_to
from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault
from backproof.proof.graph.formula import formula
from backproof.proof.graph.node import Node
from backproof.proof.graph.operations import exponent, factors, labels_that_count, operation
from backproof.proof.graph.passes import between
from backproof.proof.report.cause import Cause
from backproof.proof.verdict.fit import fitted_factor

_ROUGH = 1e-2  # how exactly a factor must be met at the least: 99/100 and 100/99 are counts that people confuse


class Meaning(NamedTuple):
    """A factor by which a gradient is off, in words, and `times`: what doing `next` multiplies it by."""

    cause: Cause
    factor: str
    likely: str
    next: str
    times: float | None
    odd: bool = False  # a number without a meaning


def constant_factor(fault: Fault) -> Iterator[Finding]:
    """got = c · expected, for a c that means something."""
    return _constant(fault, odd=False)


def odd_factor(fault: Fault) -> Iterator[Finding]:
    """got = c · expected, for any other c."""
    return _constant(fault, odd=True)


def _constant(fault: Fault, *, odd: bool) -> Iterator[Finding]:
    c = fitted_factor(fault.got, fault.expected)
    if c is None or not c or not fault.explains(c * fault.expected):
        return
    means = meaning(fault, c)
    if means is not None and means.odd == odd:
        why = f"your gradient is {means.factor} times the right one, to rounding{means.likely}."
        mended = None if means.times is None else means.times * fault.got
        yield Finding(means.cause, headline(means, "it"), why, means.next, mended, factor=c)


def headline(means: Meaning, what: str) -> str:
    """The finding in one clause."""
    if means.cause is Cause.WRONG_SIGN:
        return f"{what} has the wrong sign"
    return f"{what} is off by the constant factor {means.factor}"


def meaning(fault: Fault, c: float, *, ratios: bool = True) -> Meaning | None:
    """What the factor c may be; None where one number is too little to tell a factor from anything else.

    `ratios` also tries the quotient of two sizes, as when a sum is divided by the wrong one.
    """
    tolerance = _tolerance(fault)

    def near(x: float) -> bool:
        return abs(c - x) <= tolerance * max(abs(c), abs(x))

    if near(-1):
        return Meaning(Cause.WRONG_SIGN, "-1", "", "flip the sign", -1.0)
    if near(2):
        return Meaning(Cause.CONSTANT_FACTOR, "2", "", "take the factor 2 out", 0.5)
    if near(0.5):
        return Meaning(Cause.CONSTANT_FACTOR, "1/2", "", "put the factor 2 back in, as for x**2", 2.0)
    constants = _plain_factors(fault, denominators=False)
    if found := _out_of_the_line((*_exponents(fault), *constants), near):
        return found
    for size, where in sizes(fault).items():
        n = float(size)
        if size < 3:
            continue
        for value, text, likely, step in (
            (n, f"{size}", "1/n is missing", f"divide by {size} once"),
            (
                1 / n,
                f"1/{size}",
                "1/n is there once too often, or a mean stands for a sum",
                f"multiply by {size}",
            ),
            (
                (n - 1) / n,
                f"{size - 1}/{size}",
                "n stands where n - 1 belongs",
                f"divide by {size - 1}, not {size}",
            ),
            (
                n / (n - 1),
                f"{size}/{size - 1}",
                "n - 1 stands where n belongs",
                f"divide by {size}, not {size - 1}",
            ),
            (n - 1, f"{size - 1}", "1/(n - 1) is missing", f"divide by {size - 1} once"),
            (1 / (n - 1), f"1/{size - 1}", "1/(n - 1) is there once too often", f"multiply by {size - 1}"),
        ):
            for sign, prefix in ((1, ""), (-1, "-")):
                if near(sign * value):
                    extra = ", and the sign is wrong" if sign < 0 else ""
                    step += ", and flip the sign" if sign < 0 else ""
                    likely = f"; n = {size} is {where}: {likely}{extra}"
                    return Meaning(Cause.WRONG_DENOMINATOR, prefix + text, likely, step, sign / value)
    for value, text, where, step in _quotients(fault):
        if near(value):
            likely = f"; {where}: the sum is divided by the wrong count"
            return Meaning(Cause.WRONG_DENOMINATOR, text, likely, step, 1 / value)
    if found := _out_of_the_line(_plain_factors(fault, denominators=True), near):
        return found
    for first, one in sizes(fault).items():
        for second, other in sizes(fault).items():
            apart = first != second and min(first, second) > 1
            if ratios and apart and fault.informative > 3 and near(first / second):
                likely = f"; {first} is {one} and {second} is {other}: the sum is divided by the wrong one"
                step = f"divide by {first}, not {second}"
                return Meaning(Cause.WRONG_DENOMINATOR, f"{first}/{second}", likely, step, second / first)
    for size, where in sizes(fault).items():
        for value, text in ((size**0.5, f"√{size}"), (size**-0.5, f"1/√{size}")):
            if size > 1 and near(value):
                likely = f"; {size} is {where}"
                step = f"multiply by {'1/' if value > 1 else ''}√{size}"
                return Meaning(Cause.CONSTANT_FACTOR, text, likely, step, 1 / value)
    if fault.informative < 4 or rounded_to(fault) is not None:
        return None  # one number rounded to a lower dtype is off by an odd factor, too
    step = f"look for a factor {1 / c:.6g} that is missing, or {c:.6g} that is too much"
    return Meaning(Cause.CONSTANT_FACTOR, f"{c:.6g}", "", step, None, odd=True)


def _tolerance(fault: Fault) -> float:
    """How exactly a factor is known: many elements know it better than one."""
    clear = fault.expected.abs() > 4 * fault.allowed
    each = (fault.allowed / fault.expected.abs())[clear]
    best = float(each.min()) if len(each) else 1.0
    return min(_ROUGH, max(4 * fault.yardstick.eps, best))


def sizes(fault: Fault) -> dict[int, str]:
    """The sizes that a sum or a mean near this value may run over, and where each is found."""
    found: dict[int, str] = {}
    for name in (
        fault.name,
        *fault.readers,
        *fault.inputs,
        *(s for r in fault.readers for s in fault.siblings(r)),
    ):
        value = fault.graph.values[name]
        for dim, size in enumerate(value.shape):
            found.setdefault(size, f"dimension {dim} of {name}")
    for name in (fault.name, *fault.readers):
        shape = fault.graph.values[name].shape
        for first in range(len(shape)):
            for second in range(first + 1, len(shape)):
                found.setdefault(shape[first] * shape[second], f"dimensions {first} and {second} of {name} together")
        found.setdefault(shape.numel(), f"the number of elements of {name}")
    return found


def _out_of_the_line(numbers: Iterable[tuple[float, str]], near: Callable[[float], bool]) -> Meaning | None:
    """A number of the forward line that the gradient has once too often, or not at all."""
    for value, where in numbers:
        shown = f"{value:.4g}"
        if near(1 / value):
            return Meaning(Cause.CONSTANT_FACTOR, f"1/{shown}", f"; {where}", f"put the factor {shown} back in", value)
        if near(value):
            return Meaning(Cause.CONSTANT_FACTOR, shown, f"; {where}", f"take the factor {shown} out once", 1 / value)
    return None


def _exponents(fault: Fault) -> Iterator[tuple[float, str]]:
    for node, line in _line_nodes(fault):
        power = exponent(node)
        if power is not None and power not in (0, 1, 2):
            yield power, f"{power:g} is the exponent in {line}"


def _plain_factors(fault: Fault, *, denominators: bool) -> Iterator[tuple[float, str]]:
    """The numbers that the lines multiply and divide by; those that may be the denominator of a mean only if asked."""
    for node, line in _line_nodes(fault):
        for factor in factors(node):
            if factor in (0, 1, -1):
                continue
            if denominators or not _whole(factor if operation(node).divides else 1 / factor):
                yield factor, f"{factor:.4g} is a factor in {line}"


def _whole(divisor: float) -> bool:
    """Whether a number that the line divides by may be a count."""
    return abs(divisor - round(divisor)) < 1e-6 * abs(divisor)  # 1/n may have been kept in float32


def _line_nodes(fault: Fault) -> Iterator[tuple[Node, str]]:
    """The nodes that make up the lines which read the value."""
    for reader in fault.readers:
        places = (fault.graph.places[reader], *between(fault.graph, reader, fault.name))
        for node in dict.fromkeys(at[0] for at in places):
            yield node, formula(fault.graph, reader)


def _quotients(fault: Fault) -> Iterator[tuple[float, str, str, str]]:
    """Counts of the labels that are not ignored against the count of all; what to do then."""
    for count, every, where in _label_counts(fault):
        if 0 < count < every:
            that_count = "the number of those that count"
            yield count / every, f"{count}/{every}", where, f"divide by {that_count}"
            yield every / count, f"{every}/{count}", where, f"divide by the number of all, not by {that_count}"
            yield float(count), f"{count}", where, f"divide by {that_count}"
            yield 1 / count, f"1/{count}", where, f"multiply by {that_count}"


def _label_counts(fault: Fault) -> Iterator[tuple[int, int, str]]:
    """Labels that count, labels in all, and where: in whole numbers by name, or in a loss that ignores some."""
    for name, value in fault.case.values.items():
        if value.dtype in (torch.int64, torch.int32, torch.int16) and value.numel() > 1:
            count, every = int((value >= 0).sum()), value.numel()
            yield count, every, f"{count} of the {every} elements of {name} are not negative"
    for node, line in _line_nodes(fault):
        if (counts := labels_that_count(node)) is not None:
            yield *counts, f"{counts[0]} of the {counts[1]} labels in {line} are not ignored"
