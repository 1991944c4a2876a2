"""Other dimensions summed than those that a value is broadcast along."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from torch import Tensor

from backproof.proof.causes.by_functions import fitting, replaces
from backproof.proof.causes.case import Finding, Part
from backproof.proof.causes.fault import Fault
from backproof.proof.graph.operations import softmax_dim
from backproof.proof.report.cause import Cause
from backproof.proof.verdict.fit import fitted_factor


def other_dimensions(fault: Fault) -> Iterator[Finding]:
    """Summed over other dimensions than it should be, or where nothing is to be summed."""
    for part in fault.parts:
        for words, candidate, share in other_sums(fault, part):
            spread = fitting(candidate, part.got.shape)
            if spread is not None and (replaces(fault, part, spread) or _one_number(fault, part, spread)):
                yield Finding(
                    Cause.WRONG_DIMENSIONS,
                    f"it is {words}",
                    f"{part.subject} is {words} and brought to shape {list(part.got.shape)}, to rounding.",
                    f"sum over the dimensions that {fault.name}, of shape {list(fault.value.shape)}, is broadcast "
                    f"along in {part.line}",
                    part.whole(share),
                )
                return


def _one_number(fault: Fault, part: Part, spread: Tensor) -> bool:
    """Whether both hold one number all over, which is rounding: a sum over everything that cancels.

    It tells nothing by its size. But who sums along the right dimensions gets other numbers in each.
    """
    got, allowed = part.got, fault.allowed[part.window]
    alike = got.numel() > 1 and bool((got == got.flatten()[0]).all() & (got != 0).all())
    return alike and bool(((spread - got).abs() <= allowed).all() & (spread == spread.flatten()[0]).all())


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
