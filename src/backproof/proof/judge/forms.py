"""What a gradient looks like before a number of it is read: shape, dtype, device, and whether it can be compared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from backproof.proof.graph.graph import Graph, replaces_a_used_one
from backproof.proof.graph.node import dense, is_followed, version
from backproof.proof.report.cause import Cause
from backproof.proof.report.certainty import Applicability
from backproof.proof.report.words import listed
from backproof.proof.verdict.decide import Known

Label = Callable[[str], str]


@dataclass(frozen=True)
class Form:
    """What a gradient looks like before a number of it is read."""

    known: Known | None  # None where the numbers can be compared, and decide
    message: str = ""
    gradient: Tensor | None = None  # in the value's own shape, dtype and device, where it could be brought there
    cause: Cause | None = None
    applicability: Applicability | None = None
    roots: tuple[str, ...] = ()


def excuse_heirs(graph: Graph, forms: dict[str, Form], gradients: Mapping[str, Tensor | None]) -> None:
    """A shape that comes from broadcasting with an upstream gradient of the wrong shape is inherited."""
    for name in graph.names:
        given = gradients.get(name)
        if name not in forms or forms[name].known is not Known.OTHER_SHAPE or given is None:
            continue
        for reader in graph.readers[name]:
            above = gradients.get(reader)
            if above is None or forms[reader].known not in (Known.OTHER_SHAPE, Known.SHAPE_FROM_ABOVE):
                continue
            if given.shape in _broadcast(graph.values[name].shape, graph.values[reader].shape, above.shape):
                roots = forms[reader].roots or (reader,)
                forms[name] = Form(Known.SHAPE_FROM_ABOVE, roots=(*forms[name].roots, *roots))


def _broadcast(value: torch.Size, reader: torch.Size, above: torch.Size) -> Iterator[torch.Size]:
    for shapes in ((value, above), (value, reader, above), (above,)):
        with suppress(RuntimeError):
            yield torch.broadcast_shapes(*shapes)


def form_of(graph: Graph, name: str, value: Tensor | None, gradient: Tensor | None, label: Label) -> Form:
    """Kind, layout, graph, device, dtype and shape, in this order; no word where the numbers can be compared."""
    d = label(name)
    if value is None:
        return Form(Known.NO_VALUE, f"{d} has no value: there is no tensor called {name}.", cause=Cause.NO_GRADIENT)
    if not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        if value.is_complex():
            return Form(Known.COMPLEX, f"{d} is not judged: {name} is complex ({kind}), and only real values are.")
        return Form(
            Known.NO_GRADIENT_OF_INTEGERS if gradient is None else Known.INTEGER,
            f"{d} is not judged: {name} holds integers ({kind}), and integers have no gradient.",
        )
    if value.layout is not torch.strided:
        return Form(Known.SPARSE, f"{d} is not judged: {name} is sparse; check its dense values instead.")
    if gradient is not None and (gradient.is_nested or gradient.is_quantized):
        kind = "nested" if gradient.is_nested else "quantized"
        return Form(Known.NOT_ORDINARY, f"{d} is not judged: it is {kind}, and {name} an ordinary tensor.")
    if not is_followed(value):
        return Form(
            Known.NO_GRAPH,
            f"{d} is not judged: {name} has no graph, so nothing tells what its gradient should be.\n  next: call "
            f"{name}.requires_grad_() before the forward pass if it is an input; if it is computed, compute it outside "
            "torch.no_grad() and without .detach() or .data",
            applicability=Applicability.LOOK,
        )
    if not graph.reaches_output(name):
        return _unreachable(d, name, value, gradient)
    if gradient is None:
        return Form(Known.ABSENT, cause=Cause.NO_GRADIENT)
    if name in graph.blocked:
        return Form(
            Known.BLOCKED, _blocked(d, name, graph), None, Cause.CHANGED_IN_PLACE, applicability=Applicability.LOOK
        )
    return _fitted(d, name, value, gradient)


def _blocked(d: str, name: str, graph: Graph) -> str:
    written = [one for one in graph.names if version(graph.values[one]) > 0 and not graph.values[one].is_leaf]
    gone_on = [one for one in written if not graph.reaches_output(one) and replaces_a_used_one(graph, one)]
    changed = gone_on or written  # a name that the graph still reads was changed before it was used
    what = listed(changed) or "a value"
    was = "was" if len(changed) < 2 else "were"
    new = f"{changed[0]} * 2" if changed else "old * 2"
    return (
        f"{d}: not judged, since {what} {was} changed in place after the forward pass had used it, and autograd cannot "
        f"go back past it.\n  next: write a new tensor, as in new = {new}, and run the forward pass again"
    )


def _unreachable(d: str, name: str, value: Tensor, gradient: Tensor | None) -> Form:
    if gradient is None or not bool((dense(gradient) != 0).any()):
        given = "there is no gradient to prove" if gradient is None else f"a {d} of zeros is right, and proves nothing"
        return Form(Known.UNUSED_AND_ZERO, f"{d}: the output does not depend on {name}, so {given}.")
    fits = gradient.shape == value.shape and gradient.dtype == value.dtype and gradient.device == value.device
    return Form(Known.UNUSED, gradient=dense(gradient.detach()) if fits else None)


def same_for_broadcasting(a: torch.Size, b: torch.Size) -> bool:
    """Whether two shapes differ in dimensions of size 1 at the front only, which broadcasting adds by itself."""
    shorter, longer = sorted((a, b), key=len)
    lost = len(longer) - len(shorter)
    return longer[lost:] == shorter and all(size == 1 for size in longer[:lost])


def _with_dimensions_of_one(gradient: Tensor, value: Tensor) -> Tensor | None:
    """The gradient in its value's shape, where only dimensions of size 1 were lost or added: its numbers are clear."""
    if [size for size in gradient.shape if size != 1] != [size for size in value.shape if size != 1]:
        return None
    return gradient.reshape(value.shape).to(value.dtype)


def _fitted(d: str, name: str, value: Tensor, gradient: Tensor) -> Form:
    """Device, dtype and shape, strictly; brought in line for judging where that changes no number."""
    gradient = dense(gradient.detach())
    if gradient.device != value.device:
        moved = Form(None) if gradient.is_meta else _fitted(d, name, value, gradient.to(value.device))
        message = (
            f"{d} is on {gradient.device}, and {name} on {value.device}.\n  next: move it with {d}.to({name}.device)"
        )
        if moved.known is Known.OTHER_SHAPE:
            return moved
        return Form(Known.OTHER_DEVICE, message, moved.gradient, applicability=Applicability.LOOK)
    if gradient.shape != value.shape:
        return Form(Known.OTHER_SHAPE, gradient=_with_dimensions_of_one(gradient, value))
    if gradient.dtype != value.dtype:
        return Form(Known.OTHER_DTYPE, gradient=gradient.to(value.dtype))
    if gradient.numel() == 0:
        return Form(Known.EMPTY, f"{d} is empty, as {name} is: there is no number to compare.")
    return Form(None, gradient=gradient)
