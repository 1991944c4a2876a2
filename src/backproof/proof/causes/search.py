"""All hypotheses, simplest first. The first group in which one explains the gradient decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from backproof.proof.causes import by_constants as constants
from backproof.proof.causes import by_dimensions as dimensions
from backproof.proof.causes import by_functions as factors
from backproof.proof.causes import by_inner_factors as inner
from backproof.proof.causes import by_matrices as matrices
from backproof.proof.causes import by_monomials as monomials
from backproof.proof.causes import by_omission as omission
from backproof.proof.causes import by_operations as operations
from backproof.proof.causes import by_other_tensors as sources
from backproof.proof.causes import by_places as places
from backproof.proof.causes import by_precision as precision
from backproof.proof.causes import by_terms as terms
from backproof.proof.causes.case import Finding
from backproof.proof.causes.fault import Fault

Hypothesis = Callable[[Fault], Iterator[Finding]]


GROUPS: tuple[tuple[Hypothesis, ...], ...] = (
    (terms.nothing,),
    (constants.constant_factor, terms.one_term),
    (terms.several_terms,),
    (sources.another_gradient,),
    (factors.handed_on,),
    (sources.rearranged, omission.some_rows),
    (sources.upstream_ignored,),
    (sources.memory_order, terms.unreached, sources.exchanged_upstreams),
    (sources.misplaced,),
    (sources.shifted,),
    (sources.wrong_upstream,),
    (matrices.other_factor,),
    (monomials.changed_factor,),
    (monomials.exchanged_factor,),
    (precision.rounded,),
    (constants.odd_factor,),
    (terms.incomplete_upstream, dimensions.other_dimensions, dimensions.softmax_over_other_dimension),
    (places.overwritten_share,),
    (factors.other_function,),
    (sources.rearranged_upstream,),
    (places.overwritten,),
    (omission.terms_left_out,),
    (precision.summed,),
    (inner.factor_of_a_term,),
    (monomials.two_strangers,),
)


# the same for lines that do in one step what the forward pass does in several
INSIDE: tuple[tuple[Hypothesis, ...], ...] = (
    (factors.handed_on,),
    (sources.wrong_upstream,),
    (matrices.other_factor,),
    (monomials.changed_factor,),
    (monomials.exchanged_factor,),
    (dimensions.other_dimensions,),
    (factors.other_function,),
    (sources.rearranged_upstream,),
    (omission.terms_left_out,),
)


LAST: tuple[tuple[Hypothesis, ...], ...] = (
    (monomials.plain_product,),
    (monomials.changed_factor_and_constant,),
    (operations.other_derivative,),
)


def find(fault: Fault) -> tuple[Finding, ...]:
    """The findings of the first group that has any; several where they explain the gradient alike."""
    return _first(GROUPS, fault) or _first(INSIDE, fault.inside()) or _first(LAST, fault)


def _first(groups: tuple[tuple[Hypothesis, ...], ...], fault: Fault) -> tuple[Finding, ...]:
    for group in groups:
        found = [finding for hypothesis in group for finding in hypothesis(fault)]
        if found:
            return tuple(found)
    return ()
