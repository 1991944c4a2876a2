"""One wrong gradient and what is known around it: the ground on which hypotheses about its cause are fitted."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from backproof.proof.blame import Blame, Blames, dense
from backproof.proof.diagnose.lines import formula, write
from backproof.proof.kernels import written_terms
from backproof.proof.scale import MULTIPLE
from backproof.proof.trace import OUTPUT, Graph, Node, Place, between, consumed, cuts, dtype_at, run, shape_at, share

_PATHS = 24  # at most this many ways back from gradients that were given are told apart
_DEPTH = 4  # values without a gradient on such a way
_PASSES = 1200  # backward passes that the search for one cause may take
_STAGES = 6  # places without a name between a value and its reader that are tried
_SAMPLE = 96  # elements on which a candidate must fit before it is compared in full


@dataclass(frozen=True)
class Case:
    """The whole check: graph, all named tensors, the user's gradients, autograd's own, and what was found.

    `handed` are the gradients that could be handed on; `handed_dead` those of values the output does not depend on,
    where they fit; `unreachable` names all such values that have a gradient.
    """

    graph: Graph
    values: Mapping[str, Tensor]
    handed: Mapping[str, Tensor]
    handed_dead: Mapping[str, Tensor]
    unreachable: frozenset[str]
    plain: Mapping[str, Tensor | None]
    blames: Blames
    label: Callable[[str], str]

    @property
    def arriving(self) -> Mapping[str, Tensor | None]:
        return self.blames.arriving

    @cached_property
    def changed_after_use(self) -> dict[str, list[str]]:
        """Culprits that were changed in place, and the gradients that had been computed from them before."""
        found: dict[str, list[str]] = {}
        for name, one in self.blames.found.items():
            for reader in self.graph.readers[name] if one.seen == "changed after use" else ():
                blamed = self.blames.found.get(reader)
                if blamed is not None and blamed.culprit and self.handed[reader]._version > 0:
                    found.setdefault(reader, []).append(name)
        return found

    @cached_property
    def inputs_of_dead(self) -> dict[str, tuple[str, ...]]:
        """What the values that the output does not depend on are computed from."""
        dead = [name for name in self.graph.names if not self.graph.reaches_output(name)]
        return {name: self.graph.inputs_of(name) for name in dead}

    def readers_of_dead(self, name: str) -> list[str]:
        return [reader for reader, inputs in self.inputs_of_dead.items() if name in inputs]

    def ancestors(self, name: str) -> set[str]:
        """All named values that `name` is computed from, directly or not."""
        found: set[str] = set()
        stack = [name]
        while stack:
            new = set(self.graph.inputs_of(stack.pop())) - found
            found |= new
            stack += new
        return found

    def upstream(self, reader: str) -> Tensor | None:
        """The gradient of a reader that the line of a value had to work with."""
        if reader in self.handed:
            return self.handed[reader]
        arrived = self.arriving.get(reader)
        return None if arrived is None else dense(arrived)

    def d(self, name: str) -> str:
        """What the gradient of `name` is called."""
        return name if name == OUTPUT else self.label(name)


class Term(NamedTuple):
    """One of the terms that a gradient is the sum of, and the named values it comes back through, nearest last."""

    tensor: Tensor
    path: tuple[str, ...]

    @property
    def reader(self) -> str:
        return self.path[-1]


class Finding(NamedTuple):
    """A cause that explains the gradient to rounding: in one clause, why so, and what to try next."""

    cause: str | None
    headline: str
    why: str
    next: str


class Part(NamedTuple):
    """What the user's gradient leaves for one reader's share when the other shares are right.

    Where the reader sees only a block of the value, as with slices and chunks, `window` is that block, and `got` and
    `expected` are cut down to it; both are zero elsewhere if the gradient is to be explained by this share.
    """

    reader: str
    start: Place  # where `upstream` belongs: the reader, or a place without a name on the way back from it
    d: str  # what `upstream` is called
    line: str  # the forward line from the value to there
    got: Tensor
    expected: Tensor
    upstream: Tensor
    rest: Tensor  # the other shares
    window: tuple[slice, ...]
    alone: bool  # the only share, so that `got` is the user's gradient itself

    def whole(self, candidate: Tensor) -> Tensor:
        """The gradient that `candidate`, in place of the right share, makes."""
        if candidate.shape != self.expected.shape:
            return candidate
        made = self.rest.clone()
        made[self.window] += candidate
        return made

    @property
    def subject(self) -> str:
        return "your gradient" if self.alone else f"what stands for the share through {self.reader}"


class Fault:
    """A wrong gradient; everything derived from it is computed when first asked for, in float64."""

    def __init__(self, case: Case, blamed: Blame) -> None:
        self.case = case
        self.graph = case.graph
        self.name = blamed.name
        self.value = case.graph.values[blamed.name].detach()
        self.given = blamed.got
        self.got = blamed.got.double()
        self.expected = blamed.expected.double()
        self.plain = blamed.plain.double()
        self.yardstick = blamed.yardstick
        self.allowed = blamed.yardstick.allowed.double()
        self.readers = case.graph.readers[blamed.name]
        self.passes = [_PASSES]  # shared with `inside`

    @property
    def d(self) -> str:
        return self.case.d(self.name)

    @cached_property
    def difference(self) -> Tensor:
        return self.got - self.expected

    @cached_property
    def relative(self) -> float:
        """The rounding that is allowed, relative to a number of full size."""
        growth = 1.0 if self.yardstick.eps > 1e-4 else self.yardstick.terms**0.5
        return MULTIPLE * self.yardstick.eps * growth

    @cached_property
    def measure(self) -> Tensor:
        """What each element is measured by when fits are compared: its own terms, and a little of the others'."""
        return self.yardstick.fine.double() + 1e-3 * self.allowed + torch.finfo(torch.float64).tiny

    @cached_property
    def informative(self) -> int:
        """How many elements stand clear of rounding."""
        return int((self.expected.abs() > 4 * self.measure).sum())

    @cached_property
    def _sample(self) -> Tensor:
        """Elements to try a candidate on: half of them where the gradient is most wrong, half spread evenly."""
        size = self.difference.flatten().abs().nan_to_num(0.0)
        half = min(_SAMPLE // 2, size.numel())
        spread = torch.linspace(0, size.numel() - 1, half).round().long().to(size.device)
        return torch.cat([size.topk(half).indices, spread])

    def explains(self, candidate: Tensor) -> bool:
        """Whether `candidate` is the user's gradient up to rounding, and much closer to it than the right one is."""
        if candidate.shape != self.got.shape:
            return False
        candidate = candidate.double()
        if not self._near(*(t.flatten()[self._sample] for t in (candidate, self.got, self.allowed))):
            return False
        if not self._near(candidate, self.got, self.allowed):
            return False
        misfit, fault = ((self.got - candidate) / self.measure).norm(), (self.difference / self.measure).norm()
        return bool(misfit <= max(0.02, 4 * self.yardstick.eps) * fault)

    def _near(self, candidate: Tensor, got: Tensor, allowed: Tensor) -> bool:
        return bool(((got - candidate).abs() <= allowed + self.relative * candidate.abs()).all())

    @cached_property
    def terms(self) -> tuple[Term, ...]:
        """The gradient taken apart: by reader, by way back to the nearest gradients given, by place of use."""
        found = []
        for path, upstream in _paths(self.case, self.name, ()):
            for tensor in _uses(self.graph, path[-1], self.name, upstream):
                found.append(Term(dense(tensor).double(), path))
        return tuple(found)

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
        if upstream is None or (sent := share(self.graph, reader, self.name, upstream)) is None:
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
        for at, arrived in zip(places, run(part.start, upstream, places, hooks), strict=True):
            written = write(self.graph, at)
            if arrived is None or written is None:
                continue
            stage = part._replace(
                start=at, d=f"d({written})", line=f"{written}, within {part.line}", upstream=dense(arrived).double()
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
        """The same for any reader, from its own place or from `start`. None once too many passes were asked for."""
        self.passes[0] -= 1
        if self.passes[0] < 0:
            return None
        at = start or self.graph.places[reader]
        upstream = upstream.to(dtype_at(at)).expand(shape_at(at))
        sent = share(self.graph, reader, self.name, upstream, at)
        return None if sent is None else dense(sent).double()

    @cached_property
    def inputs(self) -> tuple[str, ...]:
        """The named values that the value itself is computed from."""
        return self.graph.inputs_of(self.name)

    @cached_property
    def at_hand(self) -> tuple[str, ...]:
        """The values whose gradients can stand in this line: not its own, nor those that are computed from it."""
        later = {self.name, *self.case.ancestors(self.name)}
        return tuple(name for name in self.graph.names if name not in later and self.graph.twin(name) == name)

    def siblings(self, reader: str) -> tuple[str, ...]:
        """The other named values that `reader` is computed from."""
        return tuple(name for name in self.graph.inputs_of(reader) if name != self.name)

    def local(self, reader: str) -> tuple[str, ...]:
        """The values that the line of a share may well hold: the reader, what it is computed from, the value."""
        return tuple(dict.fromkeys((*self.siblings(reader), reader, self.name)))


def _paths(case: Case, name: str, below: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Tensor]]:
    """Every way from a gradient that was given down to `name`, and what it brings to the last stop before `name`."""
    found: list[tuple[tuple[str, ...], Tensor]] = []
    for reader in case.graph.readers[name]:
        given = case.handed.get(reader)
        if given is None and reader == case.graph.output:
            given = case.graph.upstream
        if given is None and len(below) >= _DEPTH:
            given = case.upstream(reader)
        if given is not None:
            found.append(((reader,), given))
            continue
        for path, upstream in _paths(case, reader, (*below, name)):
            sent = share(case.graph, path[-1], reader, upstream)
            if sent is not None:
                found.append(((*path, reader), sent))
            if len(found) > _PATHS:
                break
    if len(found) > _PATHS:  # too many to tell apart: by reader, then
        found = [((reader,), up) for reader in case.graph.readers[name] if (up := case.upstream(reader)) is not None]
    yield from found


def _uses(graph: Graph, reader: str, value: str, upstream: Tensor) -> list[Tensor]:
    """The share through `reader`, one tensor for each place where the value is used on the way."""
    at = graph.places[value]
    caught: dict[tuple[int, int], tuple[Tensor, ...]] = {}

    def catch(key: int, node: Node, positions: list[int]) -> Callable:
        def hook(leaving: tuple[Tensor | None, ...], arriving: tuple[Tensor | None, ...]) -> None:
            for position in positions:
                gradient = leaving[position]
                if gradient is None:
                    continue
                caught[key, position] = (gradient.detach(),)
                if position == 0 and arriving[0] is not None:
                    caught[key, 0] = written_terms(node, arriving[0].detach()) or caught[key, 0]

        return hook

    handles = []
    try:
        for key, (node, positions) in enumerate(_users(graph, at)):
            handles.append(node.register_hook(catch(key, node, positions)))
        whole = run(graph.places[reader], upstream, [at], cuts(graph, reader, value))[0]
    finally:
        for handle in handles:
            handle.remove()
    if whole is None:
        return []
    used = [term for terms in caught.values() for term in terms]
    alike = all(one.shape == whole.shape for one in used)
    return used if len(used) > 1 and alike else [whole]


def _users(graph: Graph, at: tuple) -> Iterator[tuple]:
    for node in graph.nodes:
        positions = [position for position, place in consumed(node) if place == at]
        if positions:
            yield node, positions
