"""Four judges of one backward pass: the notebooks' `cmp`, `gradcheck`, `assert_close`, and Backproof.

Each is asked as its users would ask it, and answers with the values it names as at fault and, if it says
so, the cause.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backproof.proof.check import check
from backproof.proof.prove import prove
from backproof.proof.report.report import Report

# gradcheck perturbs every number twice: its users take small tensors, and inputs away from kinks
SMALL: dict[str, dict[str, int]] = {"ninja": {"hidden": 5}, "ninja_biased": {"hidden": 5}, "swiglu": {"n": 2}}


class Opinion(NamedTuple):
    """What a judge says of one backward pass."""

    fault: bool  # something is wrong
    named: frozenset[str] = frozenset()  # the values whose gradients it puts the blame on
    causes: Mapping[str, str | None] = {}  # what it says is wrong with them, as a code of docs/faults.md
    words: str = ""


class Run(NamedTuple):
    """One run of a network and of its hand-written backward pass, in a notebook."""

    values: dict[str, Tensor]
    gradients: dict[str, Tensor | None]
    output: Tensor
    upstream: Tensor | None  # None where the output is the loss

    def namespace(self) -> dict[str, Any]:
        return {**self.values, **{f"d{name}": gradient for name, gradient in self.gradients.items()}}


def run(module: ModuleType, dtype: torch.dtype = torch.float32, **size: int) -> Run:
    leaves = {name: leaf(value, dtype) for name, value in module.inputs(**size).items()}
    steps = module.forward(**leaves)
    output = steps[-1]
    upstream = None
    if output.dim():
        upstream = torch.randn(output.shape, generator=torch.Generator().manual_seed(11), dtype=dtype)
    handed = torch.ones_like(output) if upstream is None else upstream.clone()
    gradients = module.backward(type(steps)(*(value.detach().clone() for value in steps)), handed)
    return Run(steps._asdict(), gradients, output, upstream)


def leaf(value: Tensor, dtype: torch.dtype) -> Tensor:
    return value.to(dtype).requires_grad_() if value.is_floating_point() else value


def theirs(run: Run) -> dict[str, Tensor]:
    """Automatic differentiation's gradients of the same values."""
    names = list(run.gradients)
    grads = torch.autograd.grad(run.output, [run.values[k] for k in names], run.upstream, retain_graph=True)
    return dict(zip(names, grads, strict=True))


def by_cmp(module: ModuleType, dtype: torch.dtype = torch.float32) -> Opinion:
    """The lectures' line for line comparison; it broadcasts, and a crash ends it."""
    ours = run(module, dtype)
    wrong: set[str] = set()
    for name, gradient in theirs(ours).items():
        own: Any = ours.gradients[name]
        try:
            torch.all(own == gradient).item()
            if not torch.allclose(own, gradient):
                wrong.add(name)
        except (RuntimeError, TypeError, AttributeError) as error:
            return Opinion(True, frozenset({*wrong, name}), words=str(error))
    return Opinion(bool(wrong), frozenset(wrong))


def by_assert_close(module: ModuleType, dtype: torch.dtype = torch.float32) -> Opinion:
    """A test that asserts every gradient with the default tolerances, and collects what fails."""
    ours = run(module, dtype)
    causes: dict[str, str | None] = {}
    for name, gradient in theirs(ours).items():
        own: Any = ours.gradients[name]
        try:
            torch.testing.assert_close(own, gradient)
        except (AssertionError, TypeError) as error:
            # what it says of a shape, or of None, is as good as a cause
            shape = "'shape' do not match" in str(error)
            causes[name] = "F9" if shape else "F4" if own is None else None
    return Opinion(bool(causes), frozenset(causes), causes)


def by_gradcheck(module: ModuleType, network: str) -> Opinion:
    """The pair wrapped as an autograd.Function, in float64, with gradcheck's slow and thorough mode."""
    inputs = module.inputs(**{"n": 5, **SMALL.get(network, {})})
    names = list(inputs)

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *tensors: Tensor) -> Tensor:
            ctx.steps = module.forward(**dict(zip(names, tensors, strict=True)))
            return ctx.steps[-1]

        @staticmethod
        def backward(ctx: Any, *upstream: Tensor) -> Any:
            gradients = module.backward(ctx.steps, *upstream)
            return tuple(gradients.get(name) for name in names)

    noise = torch.Generator().manual_seed(12)
    nudged = [
        (v.double() + 0.01 * torch.randn(v.shape, generator=noise, dtype=torch.float64)).requires_grad_()
        if v.is_floating_point()
        else v
        for v in inputs.values()
    ]
    try:
        torch.autograd.gradcheck(Wrapped.apply, nudged)
    except Exception as error:
        found = re.search(r"with respect to input (\d+)", str(error))
        named = frozenset({names[int(found[1])]}) if found else frozenset[str]()
        return Opinion(True, named, words=str(error))
    return Opinion(False)


def by_backproof(module: ModuleType, needs_reruns: bool, dtype: torch.dtype = torch.float32) -> Opinion:
    """`check` on one run's numbers, or `prove`, which runs the pair again."""
    if needs_reruns:
        return opinion(prove(module.forward, module.backward, module.inputs))
    return opinion(checked(run(module, dtype)))


def checked(ours: Run) -> Report:
    return check(ours.output, ours.namespace(), upstream=ours.upstream)


def opinion(report: Report) -> Opinion:
    causes = {row.name: row.cause for row in report.culprits}
    return Opinion(not report.ok, frozenset(causes), causes, str(report))


JUDGES: dict[str, Callable[..., Opinion]] = {
    "cmp": lambda module, mutant: by_cmp(module, mutant.dtype),
    "gradcheck": lambda module, mutant: by_gradcheck(module, mutant.network),
    "assert_close": lambda module, mutant: by_assert_close(module, mutant.dtype),
    "Backproof": lambda module, mutant: by_backproof(module, mutant.needs_reruns, mutant.dtype),
}
