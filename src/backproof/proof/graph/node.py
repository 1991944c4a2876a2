"""Everything that is private in PyTorch and needed here: nodes of the graph, what they saved, and what they say."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeGuard

import torch
from torch import Tensor
from torch.autograd.function import BackwardCFunction
from torch.autograd.graph import get_gradient_edge

_CHANGED = "modified by an inplace operation"
_FREED = ("backward through the graph a second time", "already been freed")
_ALLOCATE = re.compile(r"you tried to allocate (\d+) bytes")
_ALLOCATE_ON_A_DEVICE = re.compile(r"out of memory\. Tried to allocate ([\d.]+ [KMGT]iB)")
_REENTRANT = ("use_reentrant=True", "not compatible with .grad()")
_LEAF_WRITTEN = "a leaf Variable that requires grad"

Node = Any  # torch.autograd.graph.Node, whose stubs lack most of what is used here
Place = tuple[Node, int]  # one output of one node: where the gradient of one tensor arrives
Arriving = tuple[Tensor | None, ...]
PreHook = Callable[[Arriving], Arriving | None]
PostHook = Callable[[Arriving, Arriving], Arriving | None]  # what leaves the node, and what arrived


def is_followed(value: Tensor) -> bool:
    """Whether a gradient of the value has a place to arrive at.

    A view that was made under `torch.no_grad()` says that it requires a gradient, and is in no graph.
    """
    if not (value.requires_grad and value.grad_fn is None and value._is_view()):
        return value.requires_grad
    try:
        place(value)
    except AssertionError:  # PyTorch's word for it
        return False
    return True


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


def leaf_at(at: Place) -> Tensor | None:
    """The parameter or input whose gradient ends here; None where something is behind."""
    return getattr(at[0], "variable", None) if is_leaf(at) else None


class NotSavedError(LookupError):
    """A node has no such value, or has it no more: it was freed, or changed in place since."""


def saved(node: Node, name: str) -> Any:
    """What the node kept of its forward pass under PyTorch's own name for it: a tensor, a number, numbers.

    Raises NotSavedError.
    """
    try:
        value = getattr(node, f"_saved_{name}")
    except (AttributeError, RuntimeError) as error:
        raise NotSavedError(f"{node.name()} has no {name}") from error
    return value.detach() if isinstance(value, Tensor) else value


def saved_dims(node: Node, rank: int) -> tuple[int, ...]:
    """The dimensions that the node runs over, which count from the front; none named means all."""
    dims = saved(node, "dim")
    dims = (dims,) if isinstance(dims, int) else dims or range(rank)
    return tuple(signed(dim) % max(1, rank) for dim in dims)


def signed(dim: int) -> int:
    """A dimension as it was given: nodes keep negative ones as unsigned numbers."""
    return dim - 2**64 if dim >= 2**63 else dim


def saved_value_changed(node: Node) -> bool:
    """Whether a tensor that the node saved was changed in place since."""
    for attribute in dir(node):
        if attribute.startswith("_saved_") or attribute == "saved_tensors":
            try:
                getattr(node, attribute)
            except RuntimeError as error:
                if was_changed(error):
                    return True
    return False


def kind(node: Node) -> str:
    """The operation that the node differentiates, by its name in `operations.py`: MulBackward0 -> Mul."""
    return node.name().split("Backward")[0].removeprefix("torch::autograd::")


def is_custom(node: Any) -> TypeGuard[BackwardCFunction]:
    """Whether the node is that of a `torch.autograd.Function`."""
    return isinstance(node, BackwardCFunction)


def arguments_of(node: BackwardCFunction) -> dict[int, Place]:
    """Where a Function's gradients go, by the position of the argument among all of `forward`'s."""
    needed = [position for position, needs in enumerate(node.needs_input_grad) if needs]
    places = [(child, output) for child, output in node.next_functions if child is not None]
    return dict(zip(needed, places, strict=False))


def consulted(node: BackwardCFunction, arriving: Sequence[Tensor | None]) -> frozenset[int]:
    """The arguments of a Function whose `ctx.needs_input_grad` its backward pass asks for; what it raises is raised."""
    asked: set[int] = set()

    class Asked(tuple):
        def __getitem__(self, position: Any) -> Any:
            asked.update(range(len(self))[position] if isinstance(position, slice) else [position % len(self)])
            return super().__getitem__(position)

        def __iter__(self) -> Iterator[bool]:
            asked.update(range(len(self)))
            return super().__iter__()

    class Context:
        needs_input_grad = Asked(node.needs_input_grad)

        def __getattr__(self, name: str) -> Any:
            return getattr(node, name)

    sent = [
        torch.zeros(shape_at((node, i)), dtype=dtype_at((node, i))) if one is None else one
        for i, one in enumerate(arriving)
    ]
    with torch.no_grad():
        node._forward_cls.backward(Context(), *sent)  # pyright: ignore[reportAttributeAccessIssue]
    return frozenset(asked)


def leaves_behind(values: Iterable[Tensor]) -> Iterator[Tensor]:
    """All leaves that a backward pass from these values would reach."""
    for node in nodes_behind(values):
        if isinstance(leaf := getattr(node, "variable", None), Tensor):
            yield leaf


def nodes_behind(values: Iterable[Tensor]) -> Iterator[Node]:
    """All nodes that a backward pass from these values would reach."""
    stack = list({place(value)[0] for value in values if is_followed(value)})
    seen = set(stack)
    while stack:
        node = stack.pop()
        yield node
        new = {child for _, (child, _output) in consumed(node)} - seen
        seen |= new
        stack += new


def version(value: Tensor) -> int:
    """How many in-place operations the tensor has seen."""
    return value._version


def not_allocated(error: RuntimeError | MemoryError) -> str | None:
    """How much memory there was not, in words; None where the error says something else."""
    said = str(error)
    if found := _ALLOCATE.search(said):
        return f"{int(found[1]) / 1e9:.3g} GB"
    if found := _ALLOCATE_ON_A_DEVICE.search(said):
        return found[1]
    return "a tensor" if isinstance(error, MemoryError) else None


def was_changed(error: Exception) -> bool:
    """Whether autograd says that a saved value was changed in place since."""
    return _CHANGED in str(error)


def was_freed(error: Exception) -> bool:
    """Whether autograd says that a backward pass has freed the graph."""
    return any(words in str(error) for words in _FREED)


def only_backward_goes_through(error: Exception) -> bool:
    """Whether autograd says that a checkpoint on the way can only be followed by `backward()`."""
    return any(words in str(error) for words in _REENTRANT)


def leaf_was_written(error: BaseException | None) -> bool:
    """Whether autograd says that an operation in place was asked of a leaf."""
    return isinstance(error, RuntimeError) and _LEAF_WRITTEN in str(error)


def dense(gradient: Tensor) -> Tensor:
    """The same numbers in an ordinary tensor."""
    return gradient.to_dense() if gradient.layout is not torch.strided else gradient
