"""Everything that is private in PyTorch and needed here: nodes of the graph, what they saved, and what they say."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import get_gradient_edge

CHANGED = "modified by an inplace operation"  # in autograd's words


Node = Any  # torch.autograd.graph.Node, whose stubs lack most of what is used here


Place = tuple[Node, int]  # one output of one node: where the gradient of one tensor arrives


PreHook = Callable[[tuple[Tensor | None, ...]], tuple[Tensor | None, ...] | None]


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


def saved_value_changed(node: Node) -> bool:
    """Whether a tensor that the node saved was changed in place since."""
    for attribute in dir(node):
        if attribute.startswith("_saved_") or attribute == "saved_tensors":
            try:
                getattr(node, attribute)
            except RuntimeError as error:
                if CHANGED in str(error):
                    return True
    return False


def kind(node: Node) -> str:
    """MulBackward0 -> Mul."""
    return node.name().split("Backward")[0].removeprefix("torch::autograd::")


def dim_of(node: Node) -> int:
    """The dimension a softmax runs over; negative ones are stored unsigned."""
    dim = node._saved_dim
    return dim - 2**64 if dim >= 2**63 else dim


def dense(gradient: Tensor) -> Tensor:
    """The same numbers in an ordinary tensor."""
    return gradient.to_dense() if gradient.layout is not torch.strided else gradient
