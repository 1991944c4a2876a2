"""One wrong gradient among right ones, as the searches for a cause see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor

from backproof.proof.causes.case import Case
from backproof.proof.causes.fault import Fault
from backproof.proof.graph.graph import trace
from backproof.proof.graph.node import dense
from backproof.proof.graph.passes import autograds
from backproof.proof.verdict.blame import Blame, blame
from backproof.proof.verdict.decide import Decision, Known
from backproof.proof.verdict.yardstick import Yardstick


def make_fault(
    values: Mapping[str, Tensor],
    name: str,
    got: Tensor,
    *,
    upstream: Tensor | None = None,
    given: Mapping[str, Tensor] | None = None,
    without: tuple[str, ...] = (),
    allowed: float | None = None,
    eps: float | None = None,
) -> Fault:
    """The fault of `name`, whose gradient is `got`; the output is the value called loss.

    The other values have autograd's own gradients, save for those `given` otherwise and those `without` any.
    `allowed` and `eps` stand in for what the yardstick says.
    """
    graph = trace(values, values["loss"], upstream)
    own = autograds(graph)
    right = {n: dense(one) for n, one in own.items() if one is not None and n not in without}
    gradients = {**right, **(given or {}), name: got}
    blames = blame(graph, gradients, own, {})
    case = Case(graph, values, gradients, {}, frozenset(), own, blames, lambda n: f"d{n}")
    numbers = blames.found[name].numbers
    if allowed is not None or eps is not None:
        wide = numbers.yardstick.allowed if allowed is None else torch.full_like(numbers.yardstick.allowed, allowed)
        fine = numbers.yardstick.fine if allowed is None else wide / 2
        numbers = numbers._replace(yardstick=Yardstick(wide, fine, 1.0, eps or numbers.yardstick.eps))
    return Fault(case, Blame(name, Decision(Known.DIFFERS), numbers))


@pytest.fixture
def fault_of() -> Callable[..., Fault]:
    return make_fault
