"""A factor left out of one term of a line's derivative, or put into it: `cdf + pdf` where `cdf + x * pdf` belongs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from backproof.proof.causes.by_functions import fitting
from backproof.proof.causes.by_terms import telling
from backproof.proof.causes.case import Finding, Term
from backproof.proof.causes.fault import Fault
from backproof.proof.graph.formula import formula
from backproof.proof.report.cause import Cause

_OF_THE_VALUE: Mapping[str, Callable[[Tensor], Tensor]] = {
    "{}": lambda x: x,
    "sigmoid({})": torch.sigmoid,
    "tanh({})": torch.tanh,
    "exp({})": torch.exp,
}


def factor_of_a_term(fault: Fault) -> Iterator[Finding]:
    """got = expected - term + term · X, or term / X, for one of several terms and an X that the line may hold."""
    terms = telling(fault)
    if len(terms) < 2 or not fault.bears_search:
        return
    for term in terms:
        rest = fault.expected - term.tensor
        stands = fault.got - rest
        for text, x in _factors(fault, term):
            if fault.explains(rest + term.tensor * x):
                yield _finding(
                    fault, term, f"the factor {text} does not belong in", f"take {text} out of", rest + stands / x
                )
                return
            if fault.explains(rest + term.tensor / x):
                yield _finding(
                    fault, term, f"the factor {text} is left out of", f"multiply by {text} in", rest + stands * x
                )
                return


def _factors(fault: Fault, term: Term) -> Iterator[tuple[str, Tensor]]:
    for name in fault.local(term.reader):
        value = fault.graph.values[name].detach()
        if not value.is_floating_point() or value.numel() < 2:
            continue
        for text, function in _OF_THE_VALUE.items():
            x = fitting(function(value.double()), term.tensor.shape)
            if x is not None and value.numel() <= x.numel() and bool((x.isfinite() & (x != 0)).all()):
                yield text.format(name), x


def _finding(fault: Fault, term: Term, headline: str, step: str, mended: Tensor) -> Finding:
    line = formula(fault.graph, term.reader)
    return Finding(
        Cause.WRONG_FACTOR,
        f"{headline} one of its terms",
        f"the derivative of {line} is a sum; all its other terms are right, to rounding.",
        f"{step} that term of the derivative of {line}",
        mended,
    )
