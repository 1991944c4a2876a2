"""`judge`: from values and gradients to a report. `check` and `prove` both end here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from backproof.proof.causes.case import Case
from backproof.proof.graph.graph import Graph, trace, without_changed
from backproof.proof.graph.node import dense, not_allocated, only_backward_goes_through, was_changed, was_freed
from backproof.proof.graph.passes import as_recorded, autograds, no_trace, one_thread
from backproof.proof.judge.forms import Form, Label, excuse_heirs, form_of, same_for_broadcasting
from backproof.proof.judge.messages import explain
from backproof.proof.judge.misfit import explain_misfit
from backproof.proof.judge.second_look import before_the_change, look_again
from backproof.proof.judge.unreachable import explain_unreachable
from backproof.proof.report.certainty import Certainty
from backproof.proof.report.report import Report
from backproof.proof.report.rows import Row
from backproof.proof.report.words import listed
from backproof.proof.verdict.blame import Blame, blame
from backproof.proof.verdict.blocks import blocks
from backproof.proof.verdict.decide import Known, row_of


class CannotJudgeError(ValueError):
    """There is nothing to compare with, such as an output without a graph; the message says what to do."""


class GraphFreedError(CannotJudgeError):
    """The graph is gone, and with it what the gradients would be compared with."""


def judge(
    values: Mapping[str, Tensor],
    gradients: Mapping[str, Tensor | None],
    output: Tensor,
    upstream: Tensor | None = None,
    *,
    label: Label = lambda name: f"d{name}",
    whole_pass: bool = True,
) -> Report:
    """Compares every gradient with what its line should give; says what is wrong where they differ.

    `values` are all named tensors of the forward pass, `gradients` those to be judged, by the same names;
    None is a gradient that should be there and is not. `upstream` is the gradient of `output`, of its shape;
    it may be left out where `output` is one number. Unless all `values` are of one `whole_pass`, those that the
    output does not depend on may be left over from another, and their gradients are no fault. Raises
    CannotJudgeError where autograd cannot follow `output` back.
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
            return _report(graph, own, followed, gradients, label, whole_pass)
        except (RuntimeError, MemoryError) as error:
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
        return graph, autograds(graph)
    except RuntimeError as error:
        if not was_changed(error):
            raise
    graph = without_changed(graph)
    return graph, autograds(graph)


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


def _plainer(error: RuntimeError | MemoryError) -> Exception:
    if was_freed(error):
        return GraphFreedError(
            "the graph of the loss is gone: backward() frees it. Run the forward pass again before the check, or call "
            "loss.backward(retain_graph=True)."
        )
    if (wanted := not_allocated(error)) is not None:
        return CannotJudgeError(
            f"the check needs more memory than there is: {wanted} could not be allocated. Free other tensors, name "
            "fewer values at once with pairs= (those in between need not be judged), or check a smaller batch."
        )
    if only_backward_goes_through(error):
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
    whole_pass: bool,
    *,
    first_look: bool = True,
) -> Report:
    forms = {name: form_of(graph, name, values.get(name), gradient, label) for name, gradient in gradients.items()}
    usable = {name: form.gradient for name, form in forms.items() if form.gradient is not None}
    excuse_heirs(graph, forms, gradients)
    shapes = (Known.OTHER_SHAPE, Known.SHAPE_FROM_ABOVE)
    misfits = {
        name: form.known
        for name, form in forms.items()
        if form.known in shapes and form.known and not _handed_on(form, gradients[name], graph.values.get(name))
    }
    unused = frozenset(name for name, form in forms.items() if form.known is Known.UNUSED)
    dead = {name: gradient for name, gradient in usable.items() if name in unused}
    usable = {name: gradient for name, gradient in usable.items() if name not in dead}
    blames = blame(graph, usable, own, misfits)
    handed = {name: gradient for name, gradient in usable.items() if graph.twin(name) == name}
    case = Case(graph, values, handed, dead, unused, own, blames, label, whole_pass)
    order = [name for name in graph.names if name in gradients] + [
        name for name in gradients if name not in graph.places
    ]
    notes = []
    if not any(graph.reaches_output(name) for name in gradients):
        notes.append("the loss depends on none of these values; does it come from another run of the forward pass?")
    with one_thread(graph):
        rows = [_row(name, gradients[name], forms[name], blames.found.get(name), case) for name in order]
    if first_look and any(row.culprit for row in rows):
        if not whole_pass:
            rows, changed = before_the_change(rows, case)
            notes += changed

        def alone(names: tuple[str, str]) -> Report:
            given = {name: gradients[name] for name in names if name in gradients}
            return _report(graph, own, values, given, label, whole_pass, first_look=False)

        rows = [look_again(row, blames.found.get(row.name), case, alone) for row in rows]
    return Report(tuple(rows), tuple(notes), open=_without_gradient(graph, gradients))


def _handed_on(form: Form, gradient: Tensor | None, value: Tensor | None) -> bool:
    """Whether lines behind a gradient of another shape reckon with it as if it had the right one."""
    if form.gradient is None or gradient is None or value is None:
        return False
    return same_for_broadcasting(gradient.shape, value.shape)


def _without_gradient(graph: Graph, gradients: Mapping[str, Tensor | None]) -> tuple[str, ...]:
    """Named values on the way to the output that nobody has given a gradient for, under any of their names."""
    given = {graph.twin(name) for name in gradients if name in graph.places}
    on_the_way = [name for name in graph.names if graph.reaches_output(name) and graph.twin(name) == name]
    return tuple(name for name in on_the_way if name not in given and name != graph.twin(graph.output))


def _row(name: str, given: Tensor | None, form: Form, blamed: Blame | None, case: Case) -> Row:
    d = case.label(name)
    own = case.autograds.get(name)
    known = form.known or (Known.NOTHING_OF_AUTOGRADS if blamed is None else blamed.decision.known)
    exact, approximate, difference = _compared(given, None if own is None else dense(own))
    row = row_of(
        name,
        known,
        cause=form.cause,
        message=form.message,
        exact=exact,
        approximate=approximate,
        max_difference=difference,
        label=d,
        certainty=Certainty.SEEN if form.cause else None,
        applicability=form.applicability,
    )
    if known is Known.SHAPE_FROM_ABOVE:
        roots = listed([case.d(root) for root in form.roots])
        return replace(row, message=f"{d}: its shape is inherited from {roots}.", inherited_from=form.roots)
    if known is Known.UNUSED:
        return explain_unreachable(row, given, case)
    if form.known is not None:
        return explain_misfit(row, given, blamed, case) if known.at_fault and not form.message else row
    return row if blamed is None else explain(row, blamed, case)


def _compared(given: Tensor | None, own: Tensor | None) -> tuple[bool, bool, float | None]:
    """`exact`, `approximate` and `max_difference` against autograd's own gradient, without broadcasting."""
    if given is None or own is None or given.is_nested or given.is_quantized:
        return False, False, None
    if given.shape != own.shape or given.device != own.device:
        return False, False, None
    given = dense(given.detach())
    exact = given.dtype == own.dtype and torch.equal(given, own)
    if given.is_complex() or own.is_complex():
        return exact, torch.allclose(given.to(own.dtype), own), None
    differences, close, known = [own.new_zeros((), dtype=torch.float64)], True, True
    for a, b in blocks(given, own):
        a, b = a.to(torch.float64), b.to(torch.float64)
        differences += [(a - b).abs().max()] if b.numel() else []
        close, known = close and torch.allclose(a, b), known and not bool(b.isnan().any())
    return exact, close, float(torch.stack(differences).max()) if known else None
