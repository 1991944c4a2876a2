"""One forward pass with its graph, and one call of the backward function on copies of what it may only read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Set
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from backproof.proof.graph.node import dense, leaves_behind
from backproof.proof.replays.subject import FIRST, Conditions, inputs_under
from backproof.proof.report.rows import Row
from backproof.proof.user.calls import CannotProveError, call, seeded, takes_upstream
from backproof.proof.user.held import held_by
from backproof.proof.user.inputs import fields, named_inputs, refuse_unfit, replaced
from backproof.proof.user.modes import Protect
from backproof.proof.user.structure import put_together, taken_apart, tensors_in
from backproof.proof.user.tensors import is_float, leaf
from backproof.proof.user.writes import Kept, damaged, keep

UPSTREAM = "the upstream gradient"


@dataclass(frozen=True)
class Functions:
    """What is to be proved, as the user gave it."""

    forward: Callable
    backward: Callable
    inputs: Any
    output: str | None = None
    constants: frozenset[str] = frozenset()
    seed: int = 0


@dataclass(frozen=True)
class Run:
    """One forward pass: its record, its tensors by name (inputs included), and inputs that it wrote into."""

    record: Any
    values: dict[str, Tensor]
    inputs: frozenset[str]
    output: str
    damage: dict[str, Kept] = field(default_factory=dict)

    @property
    def result(self) -> Tensor:
        return self.values[self.output]


@dataclass(frozen=True)
class Answer:
    """The gradients of one backward call by value name, what it was given, and which of that it wrote into."""

    gradients: dict[str, Tensor | None]
    arguments: dict[str, Tensor]
    damage: dict[str, Kept]


@dataclass(frozen=True)
class PairTrial:
    """One forward pass, one call of the backward function, and what the judge says of it."""

    run: Run
    upstream: Tensor
    answer: Answer
    rows: list[Row] = field(default_factory=list)
    refused: str = ""
    notes: tuple[str, ...] = ()

    @property
    def upstreams(self) -> dict[str, Tensor]:
        return {self.run.output: self.upstream}


def run_forward(functions: Functions, conditions: Conditions = FIRST) -> Run:
    """Runs `forward` on copies of the inputs, as leaves. Raises CannotProveError where it does not run."""
    given = inputs_under(conditions, functions.inputs, functions.seed)
    named = named_inputs(given, functions.forward)
    parts = {name: taken_apart(name, value) for name, value in named.items()}
    flat = {name: value for _, found in parts.values() for name, value in found.items()}
    refuse_unfit(flat)
    for name, value in flat.items():
        if isinstance(value, Tensor) and value.is_complex():
            raise CannotProveError(
                f"The input {name} is complex, and prove follows real inputs only; give its real and its imaginary "
                "part as two inputs."
            )
    if unknown := functions.constants - named.keys() - flat.keys():
        raise CannotProveError(f"constants names {sorted(unknown)[0]!r}, and the inputs are {', '.join(flat)}.")
    within = {one for name in functions.constants & named.keys() for one in parts[name][1]}
    leaves = {
        name: leaf(value, conditions.dtype) if isinstance(value, Tensor) else value for name, value in flat.items()
    }
    kept = keep(leaves)
    arguments = {name: put_together(skeleton, leaves) for name, (skeleton, _) in parts.items()}
    with seeded(functions.seed), torch.enable_grad():
        if isinstance(given, Mapping):
            record = call("forward", functions.forward, (), arguments)
        else:
            record = call("forward", functions.forward, arguments.values())
    tensors = {name: value for name, value in leaves.items() if isinstance(value, Tensor)}
    return _run(functions, record, tensors, kept, within | functions.constants)


def other_leaves(functions: Functions, run: Run) -> list[str]:
    """The leaves that the output depends on and that are none of the values, by the names that `forward` has."""
    values = {id(value) for value in run.values.values()}
    names = {id(spot.tensor): spot.name for spot in held_by(functions.forward)}
    others = [one for one in leaves_behind([run.result]) if id(one) not in values]
    return [names.get(id(one), f"a leaf of shape {list(one.shape)}") for one in others]


def _run(
    functions: Functions, record: Any, leaves: dict[str, Tensor], kept: dict[str, Kept], constants: Set[str]
) -> Run:
    entries = fields(record, "forward")
    values = {name: value for part in entries for name, value in tensors_in(str(part), entries[part]).items()}
    if not values:
        raise CannotProveError("forward returned no tensor under any name; return every value that backward needs.")
    output = functions.output or list(entries)[-1]
    names = {id(value): name for name, value in reversed(values.items())}
    for name, value in leaves.items():
        if id(value) not in names and name not in values:
            values[name], names[id(value)] = value, name
    _check_output(output, values, named=functions.output is not None)
    if functions.output is None and any(values[output] is value for value in leaves.values()):
        raise CannotProveError(
            f"{output!r} is the last of forward's values, and an input; put the output last, or name it with output=."
        )
    inputs = frozenset(names[id(value)] for value in leaves.values() if is_float(value) and id(value) in names)
    return Run(record, values, inputs - constants, output, damaged(kept))


def _check_output(output: str, values: Mapping[str, Tensor], *, named: bool) -> None:
    way_out = "" if named else "; put the output last, or name it with output="
    if output not in values:
        what = "there is no tensor of that name" if named else "it is not a tensor"
        raise CannotProveError(f"{output!r} cannot be the output, since {what} among forward's values{way_out}.")
    if not is_float(values[output]):
        raise CannotProveError(f"{output!r} cannot be the output, since its dtype is {values[output].dtype}{way_out}.")
    if not values[output].requires_grad:
        raise CannotProveError(
            f"The output {output!r} does not depend on any floating-point input, "
            f"so there is no gradient to prove{way_out}."
        )


def run_backward(
    functions: Functions, run: Run, upstream: Tensor, watch: TorchDispatchMode | None = None, *, protect: bool = False
) -> Answer:
    """Calls `backward` on copies of the values, without autograd recording, and notes what it wrote into.

    `upstream` is handed over as it is, so that it keeps its layout: it is the caller's to copy. With `protect`,
    in-place operations on what was handed over write into copies. Raises CannotProveError
    where `backward` raises or returns no named gradients.
    """
    entries = fields(run.record, "forward")
    parts = {name: taken_apart(str(name), value) for name, value in entries.items()}
    flat = {name: value for _, found in parts.values() for name, value in found.items()}
    copies = {name: value.detach().clone() if isinstance(value, Tensor) else value for name, value in flat.items()}
    given = {**{name: value for name, value in copies.items() if isinstance(value, Tensor)}, UPSTREAM: upstream}
    kept = keep(given)
    record = replaced(run.record, {name: put_together(skeleton, copies) for name, (skeleton, _) in parts.items()})
    arguments = (record, upstream)[: 2 if takes_upstream(functions.backward) else 1]
    guard = Protect(given.values()) if protect else nullcontext()
    with seeded(functions.seed + 1), torch.no_grad(), watch or nullcontext(), guard:
        returned = call("backward", functions.backward, arguments)
    return Answer(_gradients(fields(returned, "backward"), run), given, damaged(kept))


def _gradients(returned: dict[str, Any], run: Run) -> dict[str, Tensor | None]:
    """Gradients under the names of their values; an input without one counts as None, an integer needs none."""
    given = {name: one for part, each in returned.items() for name, one in taken_apart(str(part), each)[1].items()}
    same_names = all(name in run.values for name, gradient in given.items() if gradient is not None)
    found: dict[str, Tensor | None] = {}
    for name, gradient in given.items():
        value = name.removeprefix("d") if not same_names and name.removeprefix("d") in run.values else name
        if gradient is None and not is_float(run.values.get(value)):
            continue
        if value not in run.values:
            raise CannotProveError(
                f"backward returned a gradient called {name!r}, but forward has no value of that name; "
                "call every gradient as its value, or as its value with a d before it."
            )
        if gradient is not None and not isinstance(gradient, Tensor):
            raise CannotProveError(
                f"backward returned a {type(gradient).__name__} for {value!r}; a gradient is a tensor, or None."
            )
        if gradient is not None or value != run.output:
            found[value] = None if gradient is None else dense(gradient)
    missing = {name: None for name in run.values if name in run.inputs and name != run.output}
    return missing | found
