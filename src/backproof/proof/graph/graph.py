"""The graph that autograd recorded, seen through the user's names.

A *value* is a named tensor; a *reader* of a value is a named value computed from it with no named value in between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from backproof.proof.graph.node import Node, Place, consumed, is_followed, is_leaf, place, saved_value_changed
from backproof.proof.graph.operations import operation

OUTPUT = "the output"  # what an output without a name is called


@dataclass(frozen=True)
class Graph:
    """Who is computed from whom. `names` are in the order in which a backward pass reaches them."""

    values: Mapping[str, Tensor]
    output: str
    upstream: Tensor
    places: Mapping[str, Place]
    nodes: tuple[Node, ...]  # output first, every consumer before what it consumes
    used: frozenset[Place]  # places that something on the way to the output reads
    owners: Mapping[Place, str]  # the first name of a place that has several
    readers: Mapping[str, tuple[str, ...]]
    names: tuple[str, ...]
    together: tuple[Place, ...] = ()  # has to be asked for, whatever else is, or a kernel of PyTorch's crashes
    blocked: frozenset[str] = frozenset()  # behind a node whose saved values were changed in place

    def reaches_output(self, name: str) -> bool:
        return name in self.places and self.places[name] in self.used

    def can_be_asked(self, name: str) -> bool:
        """Whether autograd can say what the gradient of `name` is."""
        return self.reaches_output(name) and name not in self.blocked

    @cached_property
    def inputs(self) -> dict[str, tuple[str, ...]]:
        """The named values that each value on the way to the output is computed from, directly."""
        found: dict[str, list[str]] = {name: [] for name in self.names if self.reaches_output(name)}
        for name, readers in self.readers.items():
            if self.twin(name) == name:
                for reader in readers:
                    found[reader].append(name)
        return {name: tuple(inputs) for name, inputs in found.items()}

    def inputs_of(self, name: str) -> tuple[str, ...]:
        """The same for any value, also one that the output does not depend on."""
        name = self.twin(name)
        return self.inputs[name] if name in self.inputs else _named_inputs(self, name)

    def collapsed(self, name: str) -> list[str]:
        """The values behind several steps of the way back to `name`, nearest first: all its terms come through each.

        A formula for these steps at once has such a value's gradient upstream.
        """
        users = self._users(name)
        order = [other for other in reversed(self.names) if other in users and self.twin(other) == other]
        through = [other for other in order if self._all_go_through(name, other)]
        return [other for other in through if (other,) != self.readers[name]]

    def _users(self, name: str) -> set[str]:
        """All named values that are computed from `name`, directly or not."""
        found: set[str] = set()
        stack = [name]
        while stack:
            new = set(self.readers[stack.pop()]) - found
            found |= new
            stack += new
        return found - {name}

    def _all_go_through(self, name: str, other: str) -> bool:
        """Whether no way from the output back to `name` passes `other` by."""
        seen, stack = {name}, [name]
        while stack:
            one = stack.pop()
            if self.places[one] == self.places[self.output]:
                return False
            for reader in self.readers[one]:
                if reader != other and reader not in seen:
                    seen.add(reader)
                    stack.append(reader)
        return True

    def twin(self, name: str) -> str:
        """The first name of the tensor that `name` names; mostly `name` itself."""
        return self.owners[self.places[name]]


def trace(values: Mapping[str, Tensor], output: Tensor, upstream: Tensor | None = None) -> Graph:
    """Walks back from `output`. Values that autograd does not follow, such as integers, get no place."""
    places = {
        name: place(value) for name, value in values.items() if is_followed(value) and value.layout is torch.strided
    }
    root = place(output)
    output_name = next((name for name, at in places.items() if at == root), OUTPUT)
    places.setdefault(output_name, root)
    owners: dict[Place, str] = {}
    for name, at in places.items():
        owners.setdefault(at, name)
    nodes, used = _walk(root)
    readers = _readers(nodes, owners, places, root)
    position = {node: index for index, node in enumerate(nodes)}
    last = len(nodes)
    names = sorted(places, key=lambda name: position.get(places[name][0], last))
    start = torch.ones_like(output) if upstream is None else upstream
    return Graph(
        values={**values, output_name: output},
        output=output_name,
        upstream=start.detach(),
        places=places,
        nodes=nodes,
        used=used,
        owners=owners,
        readers=readers,
        names=tuple(names),
        together=tuple(
            at for node in nodes if operation(node).with_first for position, at in consumed(node) if not position
        ),
    )


def _walk(root: Place) -> tuple[tuple[Node, ...], frozenset[Place]]:
    """All nodes behind `root`, consumers first, without recursion: a long loop makes a deep graph."""
    waiting: dict[Node, int] = {root[0]: 0}
    stack, used = [root[0]], {root}
    while stack:
        for _, at in consumed(stack.pop()):
            used.add(at)
            if at[0] not in waiting:
                waiting[at[0]] = 0
                stack.append(at[0])
            waiting[at[0]] += 1
    order, ready = [], [root[0]]
    while ready:
        node = ready.pop()
        order.append(node)
        for _, (child, _output) in consumed(node):
            waiting[child] -= 1
            if waiting[child] == 0:
                ready.append(child)
    return tuple(order), frozenset(used)


def _readers(
    nodes: Sequence[Node], owners: Mapping[Place, str], places: Mapping[str, Place], root: Place
) -> dict[str, tuple[str, ...]]:
    above: dict[Place, dict[str, None]] = {}  # a dictionary is a set that keeps its order
    outputs: dict[Node, list[Place]] = {}
    for node in nodes:
        mine: dict[str, None] = {}
        for at in outputs.get(node, [root]):
            mine |= {owners[at]: None} if at in owners else above.get(at, {})
        for _, at in consumed(node):
            if at not in above:
                outputs.setdefault(at[0], []).append(at)
            above.setdefault(at, {}).update(mine)
    return {name: tuple(above.get(at, ())) for name, at in places.items()}


def without_changed(graph: Graph) -> Graph:
    """The graph with the values marked that lie behind a node whose saved values were changed since."""
    behind = [node for node in graph.nodes if saved_value_changed(node)]
    seen = set(behind)
    blocked: set[Place] = set()
    while behind:
        for _, at in consumed(behind.pop()):
            blocked.add(at)
            if at[0] not in seen:
                seen.add(at[0])
                behind.append(at[0])
    return replace(graph, blocked=frozenset(name for name, at in graph.places.items() if at in blocked))


def replaces_a_used_one(graph: Graph, name: str) -> bool:
    """Whether a value that the output does not depend on is made from a nameless one that it does depend on.

    So it is where a value was changed in place after use: the name has gone on to the new tensor.
    """
    seen, stack = set(), [graph.places[name][0]]
    while stack:
        for _, at in consumed(stack.pop()):
            if at in graph.used and at not in graph.owners and not is_leaf(at):
                return True
            if at not in graph.used and at not in graph.owners and at[0] not in seen:
                seen.add(at[0])
                stack.append(at[0])
    return False


def _named_inputs(graph: Graph, name: str) -> tuple[str, ...]:
    found: dict[str, None] = {}
    seen, stack = set(), [graph.places[name][0]]
    while stack:
        for _, at in consumed(stack.pop()):
            if at in graph.owners:
                found[graph.owners[at]] = None
            elif at[0] not in seen:
                seen.add(at[0])
                stack.append(at[0])
    return tuple(found)
