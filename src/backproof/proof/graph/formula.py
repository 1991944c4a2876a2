"""Forward lines, written back from the graph as far as it tells."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, NotSavedError, Place, kind, saved, shape_at
from backproof.proof.graph.operations import Operation, exponent, operation

_DEPTH = 3
_SAME_NUMBERS = frozenset(["ViewAsReal", "ViewAsComplex"])  # complex numbers as pairs, which the prover makes itself


def formula(graph: Graph, name: str) -> str:
    """The line that computed `name`: `bndiff2 = bndiff**2`."""
    written = _written(graph, graph.places[name], 0, top=True) if name in graph.places else None
    return name if written in (None, "...") else f"{name} = {written}"


def write(graph: Graph, at: Place) -> str:
    """The expression that computed a place without a name."""
    return _written(graph, at, 0, top=True) or "..."


def _written(graph: Graph, at: Place, depth: int, *, top: bool = False) -> str | None:
    if not top and at in graph.owners:
        return graph.owners[at]
    node = at[0]
    known = operation(node)
    if depth >= _DEPTH or not node.next_functions:
        return "..."
    if known.takes_part and _takes_all(at):
        return _argument(graph, node, known, 0, depth - 1)
    if kind(node) in _SAME_NUMBERS:
        child, output = node.next_functions[0]
        owned = (child, output) in graph.owners
        return None if child is None else _written(graph, (child, output), depth, top=top and not owned)
    parts = [_argument(graph, node, known, position, depth) or "..." for position in range(len(node.next_functions))]
    if all(part == "..." for part in parts):
        return None
    text = _filled(known.text, parts, exponent(node))
    if text:
        return f"({text})" if " " in known.text and not top else text
    called = kind(node).lower()
    if len(parts) == 1 and parts[0].startswith("("):
        return f"{called}{parts[0]}"
    return f"{called}({', '.join(part for part in parts if part != '...')})"


def _takes_all(at: Place) -> bool:
    """As x[:, 1:] takes all rows: in older versions of PyTorch a step of its own."""
    ((child, output),) = at[0].next_functions
    return child is not None and shape_at((child, output)) == shape_at(at)


def _filled(text: str, parts: list[str], power: float | None) -> str:
    """The text with the arguments put in; "" where it has places for others than there are."""
    if not text or text.count("{") != len(parts) + ("{exponent" in text) or ("{exponent" in text and power is None):
        return ""
    return text.format(*parts, exponent=power)


def _argument(graph: Graph, node: Node, known: Operation, position: int, depth: int) -> str | None:
    child, output = node.next_functions[position]
    if child is not None and ((child, output) in graph.owners or child.next_functions):
        return _written(graph, (child, output), depth + 1)
    if position not in known.arguments:
        return None
    try:  # an input without a graph, as data are: known if it was saved
        value = saved(node, known.arguments[position])
    except NotSavedError:
        return None
    if not isinstance(value, Tensor):
        return None
    if value.numel() == 1 and value.dim() == 0:
        return f"{value.item():.4g}"
    return next((name for name, one in graph.values.items() if _same(one, value)), None)


def _same(value: Tensor, kept: Tensor) -> bool:
    return (
        value.shape == kept.shape
        and value.layout is kept.layout is torch.strided
        and value.data_ptr() == kept.data_ptr()
        and value.stride() == kept.stride()
    )
