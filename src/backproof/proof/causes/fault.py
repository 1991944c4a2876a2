"""One wrong gradient and what is known around it: the ground on which hypotheses are fitted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from functools import cached_property

import torch
from torch import Tensor

from backproof.proof.causes.case import Case, Finding, Part, Term
from backproof.proof.causes.sample import evenly
from backproof.proof.causes.terms_of import taken_apart
from backproof.proof.graph.formula import formula, write
from backproof.proof.graph.node import Place, dense, dtype_at, shape_at, was_changed
from backproof.proof.graph.passes import After, between, cuts, replace_with, run, share
from backproof.proof.verdict.blame import Blame
from backproof.proof.verdict.yardstick import allowance

__all__ = ["Case", "Fault", "Finding", "Part", "Term"]


_PASSES = 1200  # backward passes that the search for one cause may take: seconds, in a large network
_VISITS = 600_000  # operations that they may go through: a pass back through a long recurrence takes a second itself
_STAGES = 6  # places without a name between a value and its reader that are tried, those next to the value first
_SAMPLE = 96  # elements on which a candidate must fit before it is compared in full, for speed alone
_ENOUGH = 6  # elements, for formulas far from the right one: fewer fit some pair of powers
_PRECISE = 5e-3  # float16's relative rounding is below, bfloat16's above
_OTHERS = 1e-3  # how much of what is allowed for the other elements' terms counts in an element's unit
_CLOSE = 0.02  # of the fault: what a cause leaves unexplained is much less than what it explains


class Fault:
    """A wrong gradient; everything derived from it is computed when first asked for, in float64."""

    def __init__(self, case: Case, blamed: Blame) -> None:
        self.case = case
        self.graph = case.graph
        self.name = blamed.name
        self.value = case.graph.values[blamed.name].detach()
        self.given, self.yardstick = blamed.numbers.got, blamed.numbers.yardstick
        self.got, self.expected = self.given.double(), blamed.numbers.expected.double()
        self.allowed = self.yardstick.allowed.double()
        self.readers = case.graph.readers[blamed.name]
        self.passes = iter(range(min(_PASSES, _VISITS // len(self.graph.nodes))))  # shared with `inside`

    @property
    def d(self) -> str:
        return self.case.d(self.name)

    @cached_property
    def difference(self) -> Tensor:
        return self.got - self.expected

    @cached_property
    def relative(self) -> float:
        """The rounding that is allowed, relative to a number of full size."""
        return allowance(self.yardstick.eps, self.yardstick.terms)

    @property
    def size(self) -> Tensor:
        """How large the terms of each element are, by what rounding is allowed them."""
        return self.allowed / self.relative

    @property
    def precise(self) -> bool:
        """Whether the numbers are good enough to search many formulas and not end in a coincidence."""
        return self.relative < _PRECISE

    @cached_property
    def measure(self) -> Tensor:
        """The unit in which fits are compared: an element's own terms, and a little of the others'."""
        return self.yardstick.fine.double() + _OTHERS * self.allowed + torch.finfo(torch.float64).tiny

    @cached_property
    def informative(self) -> int:
        """How many elements stand clear of rounding."""
        return int((self.expected.abs() > 4 * self.measure).sum())

    @property
    def bears_search(self) -> bool:
        """Whether the numbers are good and many enough to search formulas far from the right one."""
        return self.precise and self.informative >= _ENOUGH

    @cached_property
    def _sample(self) -> Tensor:
        """Elements to try a candidate on: half where the gradient is most wrong, half spread evenly."""
        size = self.difference.flatten().abs().nan_to_num(0.0)
        half = min(_SAMPLE // 2, size.numel())
        return torch.cat([size.topk(half).indices, evenly(size.numel(), half, size.device)])

    def explains(self, candidate: Tensor) -> bool:
        """Whether `candidate` is the user's gradient to rounding, and far closer to it than the right one."""
        if candidate.shape != self.got.shape:
            return False
        candidate = candidate.double()
        if not self._near(*(t.flatten()[self._sample] for t in (candidate, self.got, self.allowed))):
            return False
        if not self._near(candidate, self.got, self.allowed):
            return False
        misfit = ((self.got - candidate) / self.measure).norm()
        return bool(misfit <= self._close_fit)

    def is_right(self, candidate: Tensor) -> bool:
        """Whether `candidate` is the right gradient to rounding, and far closer to it than the user's."""
        if candidate.shape != self.expected.shape:
            return False
        candidate = candidate.double()
        if not self._near(self.expected, candidate, self.allowed):
            return False
        left, fault = (float(((t - self.expected) / self.measure).norm()) for t in (candidate, self.got))
        return left <= self._fraction * fault

    @cached_property
    def _close_fit(self) -> float:
        """How far a fit may be off: little against the fault, and against the gradient itself."""
        fault, size = (float((t / self.measure).norm()) for t in (self.difference, self.got))
        return self._fraction * min(fault, size or fault)

    @property
    def _fraction(self) -> float:
        """The part of a fault that a fit may leave unexplained."""
        return max(_CLOSE, 4 * self.yardstick.eps)

    def _near(self, candidate: Tensor, got: Tensor, allowed: Tensor) -> bool:
        return bool(((got - candidate).abs() <= allowed + self.relative * candidate.abs()).all())

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The terms that the right gradient is the sum of."""
        return tuple(taken_apart(self.case, self.name))

    @cached_property
    def shares(self) -> tuple[Term, ...]:
        """The terms of each reader added up, where it has several."""
        whole: dict[str, list[Term]] = {}
        for term in self.terms:
            whole.setdefault(term.reader, []).append(term)
        return tuple(
            Term(sum((t.tensor for t in terms[1:]), terms[0].tensor), (reader,))
            for reader, terms in whole.items()
            if len(terms) > 1
        )

    @cached_property
    def parts(self) -> tuple[Part, ...]:
        """One for each reader: the share it should send, and what the user's gradient holds in its place."""
        return tuple(part for reader in self.readers if (part := self._part(reader)) is not None)

    def _part(self, reader: str) -> Part | None:
        upstream = self.case.upstream(reader)
        if upstream is None or upstream.is_complex():  # the searches know real numbers only
            return None
        if (sent := share(self.graph, reader, self.name, upstream)) is None:
            return None
        sent, rest = dense(sent).double(), self.expected - dense(sent).double()
        every = (slice(None),) * self.got.dim()
        whole = Part(
            reader=reader,
            start=self.graph.places[reader],
            d=self.case.d(reader),
            line=formula(self.graph, reader),
            got=self.got - rest,
            expected=sent,
            upstream=upstream.double(),
            rest=rest,
            window=every,
            alone=len(self.readers) == 1,
        )
        window = self._window(whole)
        return whole._replace(window=window, got=whole.got[window], expected=sent[window])

    def _window(self, part: Part) -> tuple[slice, ...]:
        """The block of the value that a reader sees, if it is a smaller one and of the reader's shape."""
        shape, got = part.upstream.shape, self.got
        if len(shape) != got.dim() or shape == got.shape or shape.numel() >= got.numel():
            return part.window
        seen = self.through(part, torch.ones_like(part.upstream))
        if seen is None:
            return part.window
        window = []
        for dim in range(seen.dim()):
            hit = (seen != 0).movedim(dim, 0).reshape(seen.shape[dim], -1).any(1).nonzero().flatten()
            window.append(slice(int(hit[0]), int(hit[-1]) + 1) if len(hit) else slice(None))
        return tuple(window) if seen[tuple(window)].shape == shape else part.window

    def inside(self) -> Fault:
        """The same fault, with the places without a name between value and readers in the readers' stead."""
        twin = copy(self)
        twin.parts = tuple(stage for part in self.parts for stage in self._stages(part))
        return twin

    def _stages(self, part: Part) -> Iterator[Part]:
        places = between(self.graph, part.reader, self.name)[:_STAGES]
        if not places:
            return
        upstream = part.upstream.to(dtype_at(part.start))
        hooks = cuts(self.graph, part.reader, self.name)
        for at, arrived in zip(places, run(self.graph, part.start, upstream, places, hooks), strict=True):
            written = write(self.graph, at)
            if arrived is None or arrived.is_complex() or written is None:
                continue
            stage = part._replace(
                start=at,
                d=f"d({written})",
                line=f"{written}, within {part.line}",
                upstream=dense(arrived).double(),
            )
            sent = self.through(stage, stage.upstream)
            if sent is not None and bool(
                ((sent[part.window] - part.expected).abs() <= self.allowed[part.window]).all()
            ):
                yield stage

    def through(self, part: Part, upstream: Tensor) -> Tensor | None:
        """What would come back through a reader had its gradient been `upstream`."""
        return self.back(part.reader, upstream, part.start)

    def back(self, reader: str, upstream: Tensor, start: Place | None = None) -> Tensor | None:
        """The same for any reader, or from `start` on the way. None once too many passes were asked for."""
        if next(self.passes, None) is None:
            return None
        at = start or self.graph.places[reader]
        upstream = upstream.to(dtype_at(at)).expand(shape_at(at))
        sent = share(self.graph, reader, self.name, upstream, at)
        return None if sent is None else dense(sent).double()

    def again(self, given: Mapping[Place, Tensor], after: After) -> Tensor | None:
        """What would come back from gradients at some places were operations on the way done as the hooks do them."""
        if next(self.passes, None) is None:
            return None
        given = {at: gradient.to(dtype_at(at)).expand(shape_at(at)) for at, gradient in given.items()}
        hooks = [(at[0], replace_with(at[1], gradient)) for at, gradient in given.items()]
        (start, upstream), *others = given.items()
        try:
            end = [self.graph.places[self.name]]
            (sent,) = run(self.graph, start, upstream, end, hooks, after=after, also=dict(others))
        except RuntimeError as error:
            if was_changed(error):
                return None
            raise
        return None if sent is None else dense(sent).double()

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The named values that the value itself is computed from."""
        return self.graph.inputs_of(self.name)

    @cached_property
    def at_hand(self) -> tuple[str, ...]:
        """The values whose gradients this line can use: not its own, nor those computed from it."""
        later = {self.name, *self.case.ancestors(self.name)}
        names = [name for name in self.graph.names if not self.graph.values[name].is_complex()]
        return tuple(name for name in names if name not in later and self.graph.twin(name) == name)

    def siblings(self, reader: str) -> tuple[str, ...]:
        """The other named values that `reader` is computed from."""
        return tuple(name for name in self.graph.inputs_of(reader) if name != self.name)

    def local(self, reader: str) -> tuple[str, ...]:
        """The values that the line may well hold: what the reader is computed from, the reader, the value."""
        return tuple(dict.fromkeys((*self.siblings(reader), reader, self.name)))
