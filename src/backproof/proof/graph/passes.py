"""Backward passes through parts of the graph.

Every pass asks `torch.autograd.grad` for what arrives at chosen places, so no `.grad` is filled, and every hook is
put on a node of the graph, never on a tensor, and taken off again: the user's tensors are not touched.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from types import MappingProxyType

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, Place, PostHook, PreHook, consumed, is_leaf, was_changed

After = Iterable[tuple[Node, PostHook]]

_SMALL = 5_000_000  # elements; below, threads do not pay: for speed alone


def autograds(graph: Graph) -> dict[str, Tensor | None]:
    """Autograd's own gradient of every value; None where the output does not depend on it."""
    return forced(graph, {})


def forced(graph: Graph, handed: Mapping[str, Tensor]) -> dict[str, Tensor | None]:
    """What arrives at every value when the gradients in `handed` are handed on in place of autograd's."""
    hooks = [
        (graph.places[name][0], replace_with(graph.places[name][1], gradient)) for name, gradient in handed.items()
    ]
    wanted = [name for name in graph.names if graph.can_be_asked(name)]
    start = graph.places[graph.output]
    arrived = run(graph, start, graph.upstream, [graph.places[name] for name in wanted], hooks)
    return dict.fromkeys(graph.names) | dict(zip(wanted, arrived, strict=True))


def share(graph: Graph, reader: str, value: str, upstream: Tensor, start: Place | None = None) -> Tensor | None:
    """The part of `value`'s gradient that comes back through `reader` alone, given the reader's gradient.

    `start` is a place without a name on the way, if the way is to begin there. None where there is no way
    back, or none that autograd still knows, since a saved value was changed in place.
    """
    if reader == value:
        return None
    try:
        start = start or graph.places[reader]
        (sent,) = run(graph, start, upstream, [graph.places[value]], cuts(graph, reader, value))
        return sent
    except RuntimeError as error:
        if was_changed(error):
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
    outputs: dict[Node, list[Place]] = {}
    stack, seen = [start], {start}
    while stack:
        node = stack.pop()
        own = list(outputs.get(node, ()))
        for _, at in consumed(node):
            if at not in behind:
                outputs.setdefault(at[0], []).append(at)
            behind.setdefault(at, []).extend(own)
            if at not in graph.owners and at[0] not in seen:
                seen.add(at[0])
                stack.append(at[0])
    found: dict[Place, None] = {}
    level = [end] if end in behind else []
    while level:
        level = list(dict.fromkeys(above for at in level for above in behind[at] if above not in found))
        found |= dict.fromkeys(level)
    return list(found)


def run(
    graph: Graph,
    start: Place,
    upstream: Tensor,
    wanted: Sequence[Place],
    hooks: Iterable[tuple[Node, PreHook]] = (),
    *,
    after: After = (),
    also: Mapping[Place, Tensor] = MappingProxyType({}),
    keep: bool = False,
) -> list[Tensor | None]:
    """One backward pass from `start`, and `also` from other places: what arrives at each wanted one, before its hook.

    `hooks` see what arrives at a node; those in `after` see what leaves it as well, and may replace that. `keep` leaves
    on the result the graph that leads to the forward values, for differentiating once more.
    """
    handles = []
    try:
        for node, hook in hooks:
            handles.append(node.register_prehook(hook))
        for node, hook in after:
            handles.append(node.register_hook(hook))
        arrived = torch.autograd.grad(
            [GradientEdge(*at) for at in (start, *also)],
            [GradientEdge(*at) for at in (*wanted, *graph.together)],
            [upstream, *also.values()],
            retain_graph=True,
            create_graph=keep,
            allow_unused=True,
        )
    finally:
        for handle in handles:
            handle.remove()
    return [gradient if gradient is None or keep else gradient.detach() for gradient in arrived[: len(wanted)]]


def by_node(graph: Graph, gradients: Mapping[str, Tensor]) -> dict[Node, dict[int, Tensor]]:
    """The gradients of named values by the node at which each arrives, and which of its outputs that is."""
    found: dict[Node, dict[int, Tensor]] = {}
    for name, gradient in gradients.items():
        node, output = graph.places[name]
        found.setdefault(node, {})[output] = gradient
    return found


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
    with ExitStack() as stack:
        for device in {output.device.type, "cpu"}:
            stack.enter_context(torch.autocast(device, enabled=False))
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
