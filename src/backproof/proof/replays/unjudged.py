"""What the first run of a kernel leaves open, by name: nothing that was not compared is passed over in silence."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from backproof.proof.graph.node import dense, leaves_behind
from backproof.proof.replays.kernel_calls import KernelTrial, sent_back
from backproof.proof.replays.sides import Gradients, Side, cut_off, judged_side
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.report.words import listed
from backproof.proof.user.arguments import CALL, Call
from backproof.proof.verdict.decide import Known, row_of


def with_leftovers(trial: KernelTrial, again: Callable[[], tuple[Side, Side]], inputs: Iterable[str]) -> KernelTrial:
    """The first run with a row for every leaf that is none of the inputs, and its notes.

    A tensor that both sides depend on is compared like an input; `again` calls both sides once more. `inputs` names
    those whose gradients may be asked for.
    """
    rows = [_with_way_out(row, trial, list(inputs)) for row in trial.rows]
    mine, theirs = _leaves(trial.function), _leaves(trial.reference)
    if mine or theirs:
        function, reference = again()
        mine, theirs = _lasting(mine, function), _lasting(theirs, reference)
        shared = {name: leaf for name, leaf in mine.items() if _holds(theirs, leaf)}
        rows += _compared(trial, function, reference, shared) if shared else []
        for here, there, side in ((mine, theirs, "function"), (theirs, mine, "reference")):
            rows += [_not_compared(name, side) for name, leaf in here.items() if not _holds(there, leaf)]
    return replace(trial, rows=rows, notes=(*trial.notes, *_notes(trial)))


def _holds(leaves: dict[str, Tensor], leaf: Tensor) -> bool:
    return any(leaf is other for other in leaves.values())


def _leaves(side: Side) -> dict[str, Tensor]:
    """The leaves behind the outputs that are none of the inputs, by the name that their holder has for them."""
    inputs = {id(value) for value in side.leaves.values()}
    names = {id(leaf): name for name, leaf in side.own.items()}
    found: dict[str, Tensor] = {}
    for leaf in leaves_behind(side.outputs.values()):
        if id(leaf) not in inputs:
            name = names.get(id(leaf)) or f"a leaf of shape {list(leaf.shape)}"
            while name in found or name in side.leaves:
                name += "'"
            found[name] = leaf
    return found


def _lasting(leaves: dict[str, Tensor], later: Side) -> dict[str, Tensor]:
    """Those that another call depends on too, and were not made by the call itself."""
    there = _leaves(later)
    return {name: there[name] if name in later.own else leaf for name, leaf in leaves.items()
            if name in later.own or _holds(there, leaf)}  # fmt: skip


def _compared(trial: KernelTrial, function: Side, reference: Side, shared: dict[str, Tensor]) -> list[Row]:
    function, reference = (replace(side, leaves={**side.leaves, **shared}) for side in (function, reference))
    gradients: Gradients = sent_back(function, trial.upstreams, tuple(shared))
    return judged_side(reference, gradients, trial.upstreams)


def _not_compared(name: str, side: str) -> Row:
    d = f"d{name}" if name.isidentifier() or "." in name else f"the gradient of {name}"
    message = (
        f"{d} is not compared: only {side} depends on it.\n"
        "  next: let function and reference hold one tensor, or two of one name"
    )
    return row_of(name, Known.NOT_COMPARED, message=message, label=d)


def _with_way_out(row: Row, trial: KernelTrial, inputs: list[str]) -> Row:
    """A missing gradient may be meant, and one where the derivative is zero: `grad_inputs` and `meant` say so."""
    own = trial.own.get(row.name)
    if row.culprit and row.verdict is Verdict.WRONG and own is not None and not bool((own != 0).any()):
        meant = (
            f"or, if that is meant, as in a straight-through estimator, say so: meant={{{row.name!r}: lambda g: ...}}"
        )
        return replace(row, message=f"{row.message}\n  {meant}")
    if row.verdict is not Verdict.MISSING or row.name not in inputs:
        return row
    others = [name for name in trial.needs if name != row.name and trial.gradients.get(name) is not None]
    if not others:
        return row
    quoted = ", ".join(repr(name) for name in others)
    way_out = (
        f"or, if {row.name} is not to be differentiated (a target, a mask, a filter), "
        f"name the inputs that are: grad_inputs=[{quoted}]"
    )
    return replace(row, message=f"{row.message}\n  {way_out}")


def _notes(trial: KernelTrial) -> Iterator[str]:
    function, reference = trial.function, trial.reference
    whole = trial.values.get(CALL)
    for name in whole.differing if isinstance(whole, Call) else ():
        yield f"{name} had other numbers in function than in reference; both were run with function's."
    if function.on_copies:
        yield "function writes into its arguments, so it was given copies of the inputs, as in a network."
    if cut := cut_off(function, reference):
        yield (
            f"{listed(cut)} of function has no graph, as ctx.mark_non_differentiable makes it: nothing is sent back "
            "through it, and what the reference would send back there is not compared."
        )
    if further := [name for name in function.outputs if name not in reference.outputs]:
        yield f"{listed(further)} of function is not compared: reference returns no such output."


def notes_on(gradients: Gradients, returned: Gradients, values: Mapping[str, Any]) -> Iterator[str]:
    """What the engine made of gradients before they arrived, and what is unusual of those that did."""
    for name, gradient in returned.items():
        if gradient is not None:
            yield (
                f"d{name} is returned with shape {list(gradient.shape)}, and the engine sums it to "
                f"{list(values[name].shape)}, as it does for an input that is broadcast."
            )
    for name, gradient in gradients.items():
        if gradient is not None and gradient is not dense(gradient):
            yield (
                f"d{name} is sparse, and {name} is dense. Its numbers were compared; gradcheck calls that an incorrect "
                "layout, and not every optimiser takes it."
            )
