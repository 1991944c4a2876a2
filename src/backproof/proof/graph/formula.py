"""Forward lines, written back from the graph as far as it tells."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph
from backproof.proof.graph.node import Node, Place

_INFIX = {"Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mm": "@", "Bmm": "@"}


_DEPTH = 3


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
    kind = node.name().split("Backward")[0]
    if depth >= _DEPTH or not node.next_functions:
        return "..."
    parts = [_argument(graph, node, position, depth) for position in range(len(node.next_functions))]
    parts = [part or "..." for part in parts]
    if all(part == "..." for part in parts):
        return None
    if kind in _INFIX and len(parts) == 2:
        text = f"{parts[0]} {_INFIX[kind]} {parts[1]}"
        return text if top else f"({text})"
    if kind == "Addmm" and len(parts) == 3:
        return f"{parts[1]} @ {parts[2]} + {parts[0]}"
    if kind == "Pow" and isinstance(node._saved_exponent, int | float):
        return f"{parts[0]}**{node._saved_exponent:g}"
    if kind == "Neg":
        return f"-{parts[0]}"
    if kind == "T":
        return f"{parts[0]}.T"
    if len(parts) == 1 and parts[0].startswith("("):
        return f"{kind.lower()}{parts[0]}"
    return f"{kind.lower()}({', '.join(part for part in parts if part != '...')})"


def _argument(graph: Graph, node: Node, position: int, depth: int) -> str | None:
    child, output = node.next_functions[position]
    if child is not None and ((child, output) in graph.owners or child.next_functions):
        return _written(graph, (child, output), depth + 1)
    for attribute in _SAVED.get(position, ()):  # an input without a graph, as data are: known if it was saved
        saved = getattr(node, attribute, None) if _has(node, attribute) else None
        if isinstance(saved, Tensor):
            if saved.numel() == 1 and saved.dim() == 0:
                return f"{saved.item():.4g}"
            return next((name for name, value in graph.values.items() if _same(value, saved)), None)
    return None


_SAVED = {0: ("_saved_self",), 1: ("_saved_other", "_saved_mat2"), 2: ("_saved_mat2",)}


def _has(node: Node, attribute: str) -> bool:
    try:
        return hasattr(node, attribute)
    except RuntimeError:  # changed in place, or freed
        return False


def _same(value: Tensor, saved: Tensor) -> bool:
    return (
        value.shape == saved.shape
        and value.layout is saved.layout is torch.strided
        and value.data_ptr() == saved.data_ptr()
        and value.stride() == saved.stride()
    )
