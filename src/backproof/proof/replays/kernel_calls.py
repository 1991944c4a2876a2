"""One trial of a kernel beside its reference: what is sent back through it, and the rows that this gives."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from backproof.proof.graph.node import arguments_of, consulted, is_custom, nodes_behind, place
from backproof.proof.replays.accuracy import as_precise
from backproof.proof.replays.kinks import Bench, excused, kink_of
from backproof.proof.replays.sides import (
    Gradients,
    Side,
    glance_side,
    gradients_of,
    judged_side,
    raw_gradients,
    run_side,
    upstreams_for,
)
from backproof.proof.replays.subject import BackwardRaisedError
from backproof.proof.report.rows import Row, Verdict
from backproof.proof.report.words import listed
from backproof.proof.user.arguments import CALL, Values
from backproof.proof.user.calls import blamed_line, describe
from backproof.proof.user.layouts import copied
from backproof.proof.user.tensors import is_float, same_bits


@dataclass(frozen=True)
class KernelTrial:
    """Both sides on the same values, what was sent back through them, and what the judge says of what arrived."""

    values: Values
    needs: tuple[str, ...]
    function: Side
    reference: Side
    upstreams: dict[str, Tensor]
    gradients: Gradients
    rows: list[Row] = field(default_factory=list)
    refused: str = ""
    notes: tuple[str, ...] = ()
    own: Gradients = field(default_factory=dict)  # what the reference brings to the inputs


def sent_back(
    side: Side,
    upstreams: Mapping[str, Tensor],
    needs: Collection[str],
    *,
    retain: bool = False,
    sparse: bool = False,
) -> Gradients:
    """What `gradients_of` brings through the function's side. Raises BackwardRaisedError for whatever it raises."""
    try:
        return gradients_of(side, upstreams, needs, retain=retain, sparse=sparse)
    except Exception as error:
        reason, (_, line) = describe(error), blamed_line(error)
        said = f"The backward pass of function raised {reason}{f' at {line}' if line else ''}"
        raise BackwardRaisedError(reason, sentence=said, line=line) from error


def misshapen(spare: Side, upstreams: Mapping[str, Tensor], needs: Collection[str]) -> tuple[Gradients, Gradients]:
    """What a Function returns of itself, and those of it that have another shape than their inputs."""
    try:
        raw = raw_gradients(spare, {name: copied(value) for name, value in upstreams.items()}) or {}
    except Exception:  # whoever sends the same gradients back meets it again, and reports it
        raw = {}
    return raw, {
        name: gradient
        for name, gradient in raw.items()
        if name in needs and isinstance(gradient, Tensor) and gradient.shape != spare.leaves[name].shape
    }


def judged_trial(
    reference: Side,
    gradients: Gradients,
    upstreams: dict[str, Tensor],
    own: Gradients,
    exact: Gradients | None,
    known: Collection[str] | None,
) -> list[Row]:
    """Full rows in the first run (`known` is None); in a replay, only what it shows beyond the known culprits."""
    seen = glance_side(reference, gradients, upstreams)
    precise = as_precise(seen.faults, gradients, own, exact)
    fine = {row.name for row in precise}
    if known is not None and seen.faults - fine <= set(known):
        return seen.rows() + precise
    doubtful = {name: gradient for name, gradient in gradients.items() if name not in fine}
    return precise + (judged_side(reference, doubtful, upstreams) if doubtful else [])


def without_kinks(rows: list[Row], trial: KernelTrial, bench: Bench, *, first: bool) -> list[Row]:
    """The rows without culprits that differ from the reference at kinks and ties only; they get a word instead."""
    found = []
    for row in rows:
        got, right = trial.gradients.get(row.name), trial.own.get(row.name)
        if row.name in trial.values[CALL].meant:  # it has no kinks: it is what it is meant to be
            pass
        elif row.culprit and row.verdict is Verdict.WRONG and got is not None and right is not None:
            eps = torch.finfo(trial.values[row.name].dtype).eps
            row = excused(row, kink_of(row.name, got, right, trial.values, bench, eps), first=first)
        found.append(row)
    return found


def meant_to_get_none(values: Values, function: Callable, reference: Callable, seed: int) -> dict[str, str]:
    """The arguments that the function gives None for and is not meant to differentiate, with a note on each.

    Either the caller says so, by `requires_grad` on other arguments, or the function by `ctx.needs_input_grad`. What
    the caller gave with `requires_grad`, and what modules hold, needs its gradient. Raises CannotProveError and
    BackwardRaisedError.
    """
    floats = [name for name, value in values.items() if is_float(value)]
    marked = [name for name in floats if values[name].requires_grad]
    if len(marked) == len(floats):
        return {}
    side = run_side("function", function, values, floats, seed)
    upstreams = upstreams_for(side, seed)
    found = sent_back(side, upstreams, floats, retain=True)
    none = [name for name in floats if found[name] is None and name not in marked]
    if none:
        plain = run_side("reference", reference, values, floats, seed)
        own = gradients_of(plain, upstreams_for(plain, seed), none)
        none = [name for name in none if needed(own[name])]
    if not none:
        return {}
    if arguments := [name for name in marked if name not in values[CALL].parameters]:
        others = listed(arguments)
        return {
            name: f"d{name} is None. {name} was given without requires_grad and {others} with it, so none is asked for."
            for name in none
        }
    return {
        name: (
            f"d{name} is None. The function asks ctx.needs_input_grad of other inputs only, so {name} is taken for one "
            f"that is not differentiated; if it is, name it in grad_inputs."
        )
        for name in sorted(never_differentiated(side, none, upstreams))
    }


def never_differentiated(side: Side, names: Collection[str], upstreams: Mapping[str, Tensor]) -> frozenset[str]:
    """Those of the inputs that the Functions which read them show never to differentiate.

    A Function shows so by asking `ctx.needs_input_grad` of other inputs, and never of these.
    """
    places = {place(side.leaves[name]): name for name in names}
    nodes = [node for node in nodes_behind(side.outputs.values()) if is_custom(node)]
    readers = {node: [at for at in arguments_of(node).values() if at in places] for node in nodes}
    arrived: dict[Any, tuple[Tensor | None, ...]] = {}
    handles = [
        node.register_prehook(lambda arriving, node=node: arrived.__setitem__(node, arriving))
        for node, read in readers.items()
        if read
    ]
    try:
        sent_back(side, upstreams, names, retain=True)
        shown: dict[str, bool] = {}
        for node, arriving in arrived.items():
            with side.stage():
                asked = consulted(node, arriving)
            for position, at in arguments_of(node).items():
                if at in places:
                    name = places[at]
                    shown[name] = shown.get(name, True) and bool(asked) and position not in asked
    finally:
        for handle in handles:
            handle.remove()
    return frozenset(name for name, is_so in shown.items() if is_so)


def needed(gradient: Tensor | None) -> bool:
    """None may stand for a gradient of zeros."""
    return gradient is not None and bool((gradient != 0).any())


def equal(a: Tensor | None, b: Tensor | None) -> bool:
    """The same to the last bit, or both none."""
    return a is b if a is None or b is None else same_bits(a, b)
