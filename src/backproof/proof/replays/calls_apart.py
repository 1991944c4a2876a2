"""Two calls with the same arguments that give different gradients: new random numbers, or sums in another order.

A difference no larger than rounding is what sums in another order make, as atomic additions on a GPU do, and is only
said. A larger one is named, with its size, unless it was allowed.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from backproof.proof.replays.accuracy import most
from backproof.proof.replays.again import shown
from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import KernelTrial
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.sides import Gradients, glance_side
from backproof.proof.replays.subject import Proof
from backproof.proof.report.cause import Cause
from backproof.proof.report.rows import Row, finding
from backproof.proof.report.words import number
from backproof.proof.user.calls import seeded
from backproof.proof.user.tensors import as_real, same_bits, widened
from backproof.proof.verdict.decide import Known, row_of, ruled

CALLS_APART = "two calls"
CALLS = 3  # fresh ones, beside the first run: of two, one in a thousand may be equal by chance
_PART = 0.1  # of an error: what differs by less from call to call does not explain it


def calls_apart(proof: Proof[Kernel, KernelTrial], ledger: Ledger, *, spread: float) -> list[Row]:
    """Forward and backward pass again, from the same random state before the forward pass alone.

    `spread` is how far two calls may differ beyond rounding, relative to the largest element.
    """
    kernel, trial = proof.subject, proof.first_run
    calls, draws = [trial.gradients], False
    for call in range(CALLS):
        side = kernel.called(trial.values, trial.needs)
        with seeded(kernel.seed + 101 + call):
            before = torch.random.get_rng_state()
            calls.append(kernel.back(side, trial))
            draws |= not torch.equal(before, torch.random.get_rng_state())
    for name in trial.gradients:
        seen = [one for gradients in calls if (one := gradients.get(name)) is not None]
        if len(seen) != len(calls) or len({one.shape for one in seen}) > 1:
            continue
        if all(same_bits(one, seen[0]) for one in seen):
            continue
        _say(proof, ledger, name, calls, most(_apart(seen)), draws, spread)
    return []


def _say(
    proof: Proof[Kernel, KernelTrial],
    ledger: Ledger,
    name: str,
    calls: list[Gradients],
    apart: float,
    draws: bool,
    spread: float,
) -> None:
    """What is known of a gradient whose calls are `apart`; the finding overrules what was taken for its cause."""
    trial, row = proof.first_run, ledger.row(name)
    wrong = [one for one in calls if name in glance_side(trial.reference, {name: one[name]}, trial.upstreams).faults]
    own = trial.own.get(name)
    own = torch.zeros_like(trial.values[name]) if own is None else own
    largest = most(own)
    size = f"by up to {number(apart)}, where its largest element is {number(largest)}"
    if not wrong:
        ledger.note(f"{row.gradient} differs between two calls {size}; that is no more than rounding.")
        return
    given = [one for gradients in calls if (one := gradients[name]) is not None]
    error = max(most(_apart([one, own])) for one in given)
    if apart < _PART * error:
        ledger.note(f"{row.gradient} differs between two calls {size}, which does not explain its error.")
        return
    if apart <= spread * largest and error <= 2 * spread * largest:
        said = (
            f"{row.gradient} differs between two calls {size}; the spread that was allowed is {number(spread)} of it."
        )
        ledger.excuse(row_of(name, Known.WITHIN_SPREAD, label=row.label, message=said, max_difference=error))
        return
    claim = f"differs between two calls with the same arguments, {size}"
    if draws and _forward_draws(proof):
        why = "the backward pass draws random numbers of its own, so it is the derivative of another forward pass"
        advice = "save the mask in the forward pass, or the state of the random generator, and restore it in backward"
        found = shown(row, Cause.OTHER_FORWARD_PASS, claim, why, next=advice)
    else:
        why = "the backward pass draws random numbers, and the forward pass none" if draws else ""
        advice = "look for memory that is read before it is written, a race, or atomic additions in low precision"
        advice = "leave the random numbers out" if draws else f"{advice}; spread= allows for the last"
        found = finding(ruled(row, Known.SHOWN_BY_A_REPLAY), None, claim, why, next=advice)
    ledger.put(replace(found, replay=CALLS_APART, candidates=()))


def _forward_draws(proof: Proof[Kernel, KernelTrial]) -> bool:
    """Whether the outputs depend on the random state before the call."""
    trial = proof.first_run
    other = replace(proof.subject, seed=proof.subject.seed + 1).called(trial.values, trial.needs).outputs
    return any(not same_bits(one, trial.function.outputs[name]) for name, one in other.items())


def _apart(seen: list[Tensor]) -> Tensor:
    """How far apart the same element is in several gradients."""
    stack = torch.stack([as_real(widened(one.detach())) for one in seen])
    return stack.amax(0) - stack.amin(0)
