"""`judge`: from values and gradients to a report. `check` and `prove` both end here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from backproof.proof.blame import Blame, blame, dense
from backproof.proof.diagnose import Case, explain, explain_misfit, explain_unreachable
from backproof.proof.records import Report, Row, Verdict, listed
from backproof.proof.trace import CHANGED, Graph, as_recorded, no_trace, one_thread, plain, trace, without_changed

Label = Callable[[str], str]


class CannotJudgeError(ValueError):
    """There is nothing to compare with, such as an output without a graph; the message says what to do."""


@dataclass(frozen=True)
class _Form:
    """What a gradient looks like before a number of it is read."""

    verdict: Verdict | None
    message: str = ""
    culprit: bool = False
    gradient: Tensor | None = None  # in the value's own shape, dtype and device, where it could be brought there
    cause: str | None = None
    roots: tuple[str, ...] = ()


def judge(
    values: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    output: Tensor,
    upstream: Tensor | None = None,
    *,
    label: Label = lambda name: f"d{name}",
    usual: Mapping[int, int] | None = None,
) -> Report:
    """Compares every gradient with what its line should give; says what is wrong where they differ.

    `values` are all named tensors of the forward pass, `gradients` those to be judged, by the same names;
    None is a gradient that should be there and is not. `upstream` is the gradient of `output`, of its shape;
    it may be left out where `output` is one number. `usual` are sizes that are not what they usually are,
    and what that is. Raises CannotJudgeError where autograd cannot follow `output` back.
    """
    first = {name: values[name] for name in gradients if name in values}
    tensors = {**first, **values}  # of several names for one tensor, the first with a gradient stands for all
    _refuse(output, upstream)
    followed = {name: value for name, value in tensors.items() if isinstance(value, Tensor)}
    with no_trace([*followed.values(), output]), as_recorded(output):
        graph = trace(followed, output, upstream)
        try:
            graph, own = _own(graph)
            graph, own = _best_twins_first(graph, own, gradients, upstream)
            return _report(graph, own, followed, gradients, label, usual or {})
        except RuntimeError as error:
            raise _plainer(error) from error


def _refuse(output: Tensor, upstream: Tensor | None) -> None:
    if not isinstance(output, Tensor):
        raise CannotJudgeError(
            f"the loss must be a tensor, and this is a {type(output).__name__}; pass what the forward pass ended in, "
            "before .item()."
        )
    if output.is_meta:
        raise CannotJudgeError("the loss is on the meta device, which holds no numbers; run on a device that does.")
    if torch.is_inference_mode_enabled():
        raise CannotJudgeError("inference mode keeps no graph; call check outside of torch.inference_mode().")
    if upstream is not None and (not isinstance(upstream, Tensor) or upstream.is_meta):
        raise CannotJudgeError("upstream must be a tensor with numbers: the gradient of the tensor that is checked.")
    if not output.requires_grad:
        raise CannotJudgeError(
            "the loss has no graph: it was computed under torch.no_grad(), or from tensors none of which requires a "
            "gradient. Set requires_grad on the parameters, run the forward pass again, and check that loss."
        )
    if upstream is None and output.numel() != 1:
        raise CannotJudgeError(
            f"the loss has shape {list(output.shape)} and not one element; pass upstream=, the gradient of that "
            "tensor, or check a loss that is one number."
        )
    if upstream is not None and upstream.shape != output.shape:
        raise CannotJudgeError(
            f"upstream has shape {list(upstream.shape)}, and the tensor it is the gradient of {list(output.shape)}."
        )


def _own(graph: Graph) -> tuple[Graph, dict[str, Tensor | None]]:
    """Autograd's own gradients, or as many as it can give where a saved value was changed in place."""
    try:
        return graph, plain(graph)
    except RuntimeError as error:
        if CHANGED not in str(error):
            raise
    graph = without_changed(graph)
    return graph, plain(graph)


def _best_twins_first(
    graph: Graph,
    own: dict[str, Tensor | None],
    gradients: Mapping[str, Tensor | None],
    upstream: Tensor | None,
) -> tuple[Graph, dict[str, Tensor | None]]:
    """Of several names for one tensor, the one with the best gradient hands it on for all of them."""

    def badness(name: str) -> float:
        given, right = gradients.get(name), own[name]
        if given is None or right is None or given.shape != right.shape or given.device != right.device:
            return float("inf")
        return float((dense(given.detach()).double() - dense(right).double()).abs().nan_to_num(float("inf")).sum())

    twins = [name for name in graph.places if graph.twin(name) != name and graph.can_be_asked(name)]
    if not any(badness(name) < badness(graph.twin(name)) for name in twins):
        return graph, own
    order = sorted(graph.places, key=badness)
    graph = trace(
        {name: graph.values[name] for name in order} | dict(graph.values),
        graph.values[graph.output],
        upstream,
    )
    return _own(graph)


def _plainer(error: RuntimeError) -> Exception:
    text = str(error)
    if "backward through the graph a second time" in text or "already been freed" in text:
        return CannotJudgeError(
            "the graph of the loss is gone: backward() frees it. Run the forward pass again before the check, or call "
            "loss.backward(retain_graph=True)."
        )
    if "use_reentrant=True" in text:
        return CannotJudgeError(
            "the graph goes through a checkpoint that only backward() can follow; call checkpoint with "
            "use_reentrant=False."
        )
    return error


def _report(
    graph: Graph,
    own: Mapping[str, Tensor | None],
    values: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    label: Label,
    usual: Mapping[int, int],
) -> Report:
    forms = {name: _form(graph, name, values.get(name), gradient, label) for name, gradient in gradients.items()}
    usable = {name: form.gradient for name, form in forms.items() if form.gradient is not None}
    _excuse_heirs(graph, forms, gradients)
    shapes = (Verdict.SHAPE, Verdict.INHERITED)
    misfits = {name: kind for name, form in forms.items() if (kind := form.verdict) in shapes and kind}
    dead = {
        name: form.gradient
        for name, form in forms.items()
        if form.verdict is Verdict.UNREACHABLE and form.gradient is not None
    }
    usable = {name: gradient for name, gradient in usable.items() if name not in dead}
    blames = blame(graph, usable, own, misfits)
    handed = {name: gradient for name, gradient in usable.items() if graph.twin(name) == name}
    unreachable = frozenset(
        name for name, form in forms.items() if form.verdict is Verdict.UNREACHABLE and not form.message
    )
    case = Case(graph, values, handed, dead, unreachable, own, blames, label, usual)
    order = [name for name in graph.names if name in gradients] + [
        name for name in gradients if name not in graph.places
    ]
    notes = []
    if not any(graph.reaches_output(name) for name in gradients):
        notes.append("the loss depends on none of these values; does it come from another run of the forward pass?")
    with one_thread(graph):
        rows = [_row(name, gradients[name], forms[name], blames.found.get(name), case) for name in order]
    return Report(tuple(rows), tuple(notes))


def _excuse_heirs(graph: Graph, forms: dict[str, _Form], gradients: Mapping[str, Tensor | None]) -> None:
    """A shape that comes from broadcasting with an upstream gradient of the wrong shape is inherited."""
    for name in graph.names:
        given = gradients.get(name)
        if name not in forms or forms[name].verdict is not Verdict.SHAPE or given is None:
            continue
        for reader in graph.readers[name]:
            above = gradients.get(reader)
            if above is None or forms[reader].verdict not in (Verdict.SHAPE, Verdict.INHERITED):
                continue
            if given.shape in _broadcast(graph.values[name].shape, graph.values[reader].shape, above.shape):
                roots = forms[reader].roots or (reader,)
                forms[name] = _Form(Verdict.INHERITED, roots=(*forms[name].roots, *roots))


def _broadcast(value: torch.Size, reader: torch.Size, above: torch.Size) -> Iterator[torch.Size]:
    for shapes in ((value, above), (value, reader, above), (above,)):
        with suppress(RuntimeError):
            yield torch.broadcast_shapes(*shapes)


def _form(graph: Graph, name: str, value: Tensor | None, gradient: Tensor | None, label: Label) -> _Form:
    d = label(name)
    if value is None:
        return _Form(Verdict.MISSING, f"{d} has no value: there is no tensor called {name}.", True, cause="F4")
    if not value.is_floating_point():
        kind = str(value.dtype).removeprefix("torch.")
        if value.is_complex():
            return _Form(
                Verdict.NOT_TESTABLE,
                f"{d} is not judged: {name} is complex ({kind}), and only real values are.",
            )
        return _Form(
            Verdict.DTYPE if gradient is not None else Verdict.NOT_TESTABLE,
            f"{d} is not judged: {name} holds integers ({kind}), and integers have no gradient.",
        )
    if value.layout is not torch.strided:
        return _Form(Verdict.NOT_TESTABLE, f"{d} is not judged: {name} is sparse; check its dense values instead.")
    if gradient is not None and (gradient.is_nested or gradient.is_quantized):
        kind = "nested" if gradient.is_nested else "quantized"
        return _Form(Verdict.DTYPE, f"{d} is not judged: it is {kind}, and {name} an ordinary tensor.", True)
    if not value.requires_grad:
        return _Form(
            Verdict.UNREACHABLE,
            f"{d} is not judged: {name} has no graph, so nothing tells what its gradient should be.\n  next: call "
            f"{name}.requires_grad_() before the forward pass if it is an input; if it is computed, compute it outside "
            "torch.no_grad() and without .detach() or .data",
        )
    if not graph.reaches_output(name):
        return _unreachable(d, name, value, gradient)
    if gradient is None:
        return _Form(Verdict.MISSING, culprit=True, cause="F4")
    if name in graph.blocked:
        return _Form(Verdict.NOT_TESTABLE, _blocked(d, name, graph), cause="F3")
    return _fitted(d, name, value, gradient)


def _blocked(d: str, name: str, graph: Graph) -> str:
    changed = [one for one in graph.names if graph.values[one]._version > 0 and not graph.values[one].is_leaf]
    what = listed(changed) or "a value"
    new = f"{changed[0]} * 2" if changed else "old * 2"
    return (
        f"{d}: not judged, since {what} was changed in place after the forward pass had used it, and autograd cannot "
        f"go back past it.\n  next: write a new tensor, as in new = {new}, and run the forward pass again"
    )


def _unreachable(d: str, name: str, value: Tensor, gradient: Tensor | None) -> _Form:
    if gradient is None or not bool((dense(gradient) != 0).any()):
        given = "there is no gradient to prove" if gradient is None else f"a {d} of zeros is right, and proves nothing"
        return _Form(Verdict.NOT_TESTABLE, f"{d}: the output does not depend on {name}, so {given}.")
    fits = gradient.shape == value.shape and gradient.dtype == value.dtype and gradient.device == value.device
    return _Form(Verdict.UNREACHABLE, gradient=dense(gradient.detach()) if fits else None)


def _fitted(d: str, name: str, value: Tensor, gradient: Tensor) -> _Form:
    """Device, dtype and shape, strictly; brought in line for judging where that changes no number."""
    gradient = dense(gradient.detach())
    if gradient.device != value.device:
        moved = _Form(None) if gradient.is_meta else _fitted(d, name, value, gradient.to(value.device))
        message = (
            f"{d} is on {gradient.device}, and {name} on {value.device}.\n  next: move it with {d}.to({name}.device)"
        )
        return moved if moved.verdict is Verdict.SHAPE else _Form(Verdict.DTYPE, message, True, moved.gradient)
    if gradient.shape != value.shape:
        return _Form(Verdict.SHAPE, culprit=True)
    if gradient.dtype != value.dtype:
        return _Form(Verdict.DTYPE, culprit=True, gradient=gradient.to(value.dtype))
    if gradient.numel() == 0:
        return _Form(Verdict.NOT_TESTABLE, f"{d} is empty, as {name} is: there is no number to compare.")
    return _Form(None, gradient=gradient)


def _row(name: str, given: Tensor | None, form: _Form, blamed: Blame | None, case: Case) -> Row:
    d = case.label(name)
    own = case.plain.get(name)
    compared = _compared(given, None if own is None else dense(own))
    row = Row(name, form.verdict or Verdict.NOT_TESTABLE, form.cause, form.message, *compared, form.culprit, label=d)
    if form.verdict is Verdict.INHERITED:
        roots = listed([case.d(root) for root in form.roots])
        return replace(row, message=f"{d}: its shape is inherited from {roots}.", inherited_from=form.roots)
    if form.verdict is Verdict.UNREACHABLE and not form.message:
        return explain_unreachable(row, given, case)
    if form.culprit and not form.message:
        return explain_misfit(row, given, blamed, case)
    if blamed is None or form.verdict is not None:
        return row
    return explain(row, blamed, case)


def _compared(given: Tensor | None, own: Tensor | None) -> tuple[bool, bool, float | None]:
    """`exact`, `approximate` and `max_difference` against autograd's plain gradient, without broadcasting."""
    if given is None or own is None or given.is_nested or given.is_quantized:
        return False, False, None
    if given.shape != own.shape or given.device != own.device:
        return False, False, None
    given = dense(given.detach())
    exact = given.dtype == own.dtype and torch.equal(given, own)
    if given.is_complex() or own.is_complex():
        return exact, torch.allclose(given.to(own.dtype), own), None
    a, b = given.to(torch.float64), own.to(torch.float64)
    difference = float((a - b).abs().max()) if own.numel() else 0.0
    return exact, torch.allclose(a, b), None if bool(b.isnan().any()) else difference
