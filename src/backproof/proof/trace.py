"""The graph that autograd recorded, seen through the user's names, and backward passes through parts of it.

A *value* is a named tensor; a *reader* of a value is a named value computed from it with no named value in
between. Every pass here asks `torch.autograd.grad` for what arrives at chosen places, so no `.grad` is
filled, and every hook is put on a node of the graph, never on a tensor, and taken off again: the user's
tensors are not touched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, get_gradient_edge

OUTPUT = "the output"  # what an output without a name is called
_SMALL = 5_000_000  # elements; below, threads do not pay
CHANGED = "modified by an inplace operation"  # in autograd's words

Node = Any  # torch.autograd.graph.Node, whose stubs lack most of what is used here
Place = tuple[Node, int]  # one output of one node: where the gradient of one tensor arrives
PreHook = Callable[[tuple[Tensor | None, ...]], tuple[Tensor | None, ...] | None]


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

    def twin(self, name: str) -> str:
        """The first name of the tensor that `name` names; mostly `name` itself."""
        return self.owners[self.places[name]]


def trace(values: Mapping[str, Tensor], output: Tensor, upstream: Tensor | None = None) -> Graph:
    """Walks back from `output`. Values that autograd does not follow, such as integers, get no place."""
    places = {
        name: place(value) for name, value in values.items() if value.requires_grad and value.layout is torch.strided
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
    )


def place(value: Tensor) -> Place:
    """Where the gradient of `value`, as it is now, arrives."""
    with torch._C.DisableTorchFunctionSubclass():  # a subclass would put a node of its own before a leaf
        edge = get_gradient_edge(value)
    return edge.node, edge.output_nr


def shape_at(at: Place) -> torch.Size:
    """The shape of the tensor, and of its gradient."""
    return torch.Size(at[0]._input_metadata[at[1]].shape)


def dtype_at(at: Place) -> torch.dtype:
    """The dtype of the tensor, and of its gradient."""
    return at[0]._input_metadata[at[1]].dtype


def consumed(node: Node) -> Iterator[tuple[int, Place]]:
    """The places that a node sends gradients to, with the position of each among its inputs."""
    for position, (child, output) in enumerate(node.next_functions):
        if child is not None:
            yield position, (child, output)


def is_leaf(at: Place) -> bool:
    """Whether nothing is behind: the tensor is a parameter or an input."""
    return not at[0].next_functions


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
    behind = [node for node in graph.nodes if _changed(node)]
    seen = set(behind)
    blocked: set[Place] = set()
    while behind:
        for _, at in consumed(behind.pop()):
            blocked.add(at)
            if at[0] not in seen:
                seen.add(at[0])
                behind.append(at[0])
    return replace(graph, blocked=frozenset(name for name, at in graph.places.items() if at in blocked))


def _changed(node: Node) -> bool:
    for attribute in dir(node):
        if attribute.startswith("_saved_") or attribute == "saved_tensors":
            try:
                getattr(node, attribute)
            except RuntimeError as error:
                if CHANGED in str(error):
                    return True
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


def plain(graph: Graph) -> dict[str, Tensor | None]:
    """Autograd's own gradient of every value; None where the output does not depend on it."""
    return forced(graph, {})


def forced(graph: Graph, handed: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """What arrives at every value when the gradients in `handed` are handed on in place of autograd's."""
    hooks = [
        (graph.places[name][0], replace_with(graph.places[name][1], gradient)) for name, gradient in handed.items()
    ]
    wanted = [name for name in graph.names if graph.can_be_asked(name)]
    arrived = run(graph.places[graph.output], graph.upstream, [graph.places[name] for name in wanted], hooks)
    return dict.fromkeys(graph.names) | dict(zip(wanted, arrived, strict=True))


def share(graph: Graph, reader: str, value: str, upstream: Tensor, start: Place | None = None) -> Tensor | None:
    """The part of `value`'s gradient that comes back through `reader` alone, given the reader's gradient.

    `start` is a place without a name on the way, if the way is to begin there. None where there is no way
    back, or none that autograd still knows, since a saved value was changed in place.
    """
    if reader == value:
        return None
    try:
        return run(start or graph.places[reader], upstream, [graph.places[value]], cuts(graph, reader, value))[0]
    except RuntimeError as error:
        if CHANGED in str(error):
            return None
        raise


def cuts(graph: Graph, reader: str, value: str) -> list[tuple[Node, PreHook]]:
    """Hooks that let nothing pass from `reader` to `value` by way of any other named value."""
    end = graph.places[value]
    inputs = [graph.places[name] for name in graph.inputs_of(reader)]
    return [(at[0], replace_with(at[1], None)) for at in inputs if at != end and not is_leaf(at)]


def between(graph: Graph, reader: str, value: str) -> list[Place]:
    """The places without a name on the ways from `reader` back to `value`, those next to the value first."""
    start, end = graph.places[reader][0], graph.places[value]
    behind: dict[Place, list[Place]] = {}
    stack, seen = [start], {start}
    while stack:
        node = stack.pop()
        own = [at for at in behind if at[0] == node]
        for _, at in consumed(node):
            behind.setdefault(at, []).extend(own)
            if at not in graph.owners and at[0] not in seen:
                seen.add(at[0])
                stack.append(at[0])
    found: dict[Place, None] = {}
    level = [end] if end in behind else []
    while level:
        level = [above for at in level for above in behind[at] if above not in found]
        found |= dict.fromkeys(level)
    return list(found)


def run(
    start: Place,
    upstream: Tensor,
    wanted: Sequence[Place],
    hooks: Iterable[tuple[Node, PreHook]] = (),
    *,
    keep: bool = False,
) -> list[Tensor | None]:
    """One backward pass from `start`: what arrives at each wanted place, before a hook there replaces it.

    `keep` leaves on the result the graph that leads to the forward values, for differentiating once more.
    """
    handles = []
    try:
        for node, hook in hooks:
            handles.append(node.register_prehook(hook))
        arrived = torch.autograd.grad(
            [GradientEdge(*start)],
            [GradientEdge(*at) for at in wanted],
            [upstream],
            retain_graph=True,
            create_graph=keep,
            allow_unused=True,
        )
    finally:
        for handle in handles:
            handle.remove()
    return [gradient if gradient is None or keep else gradient.detach() for gradient in arrived]


def replace_with(output: int, gradient: Tensor | None) -> PreHook:
    """A hook that hands on a copy of `gradient` at one output of its node, whatever arrives there."""

    def hook(arriving: tuple[Tensor | None, ...]) -> tuple[Tensor | None, ...]:
        changed = list(arriving)
        changed[output] = None if gradient is None else gradient.clone()
        return tuple(changed)

    return hook


@contextmanager
def as_recorded(output: Tensor) -> Iterator[None]:
    """Backward passes in the dtypes that the graph was recorded in, also inside torch.autocast."""
    with torch.autocast(output.device.type, enabled=False), torch.autocast("cpu", enabled=False):
        yield


@contextmanager
def one_thread(graph: Graph) -> Iterator[None]:
    """One thread for many small operations: several would wait for each other. Not for comparing bits."""
    threads = torch.get_num_threads()
    if threads == 1 or max(graph.values[name].numel() for name in graph.names) > _SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@contextmanager
def no_trace(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Puts back the `.grad` of tensors that retain it: they would take ours for the real gradient."""
    kept = [(tensor, tensor.grad) for tensor in tensors if tensor.retains_grad]
    try:
        yield
    finally:
        for tensor, gradient in kept:
            tensor.grad = gradient
