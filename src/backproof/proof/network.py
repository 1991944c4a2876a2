"""The hand-written passes of the networks, proved on one minibatch: step by step, and fused."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
from torch import Tensor

from backproof.models import chain, mlp
from backproof.models.chain import Data
from backproof.models.protocol import Model, Parameters
from backproof.proof.prove import prove
from backproof.proof.report.report import Report
from backproof.shapes import Contexts, Targets

Values = Mapping[str, Any]
Grain = Literal["steps", "fused"]

FUSED_MULTIPLY_ADD = (
    "hpreact: PyTorch computes 1 - h*h with one rounding where the processor fuses multiply and add; so does the rule "
    "tanh. Written as (1 - h**2) * dh it would differ here by {difference:.2e}: a rounding, not a mistake."
)


def prove_steps(p: mlp.Parameters, x: Contexts, y: Targets, correction: int = 1) -> Report:
    """The 26 gradients of the step-by-step pass, in the published order."""

    def backward(values: Values, dloss: Tensor) -> Values:
        steps = mlp.Steps(*(values[name] for name in mlp.Steps._fields))
        return mlp.backward_steps(steps, values["Xb"], values["Yb"], dloss, correction)._asdict()

    return _proved(mlp.GRADIENT_ORDER, backward, p, x, y, correction)


def prove_fused(
    p: mlp.Parameters, x: Contexts, y: Targets, correction: int = 1, *, skip: Collection[str] = ()
) -> Report:
    """The 12 gradients of the fused pass, the two collapses (logits, hprebn) among them, from the loss back."""

    def backward(values: Values) -> Values:
        parameters = mlp.Parameters(*(values[name] for name in mlp.Parameters._fields))
        saved = mlp.Saved(*(values[name] for name in mlp.Saved._fields))
        return mlp.backward_fused_steps(parameters, saved, values["Xb"], values["Yb"], correction)._asdict()

    order = [name for name in mlp.GRADIENT_ORDER if name in mlp.FusedSteps._fields]
    return _proved(order, backward, p, x, y, correction, skip)


def prove_parameters(
    p: mlp.Parameters, x: Contexts, y: Targets, correction: int = 1, *, skip: Collection[str] = ()
) -> Report:
    """The seven gradients that training uses, from the fused pass; `skip` as in `prove`."""
    report = prove_fused(p, x, y, correction, skip=skip)
    return _in_order(report, p._fields)


def prove_page(
    page: Model, options: Any, p: Parameters, data: Data, *, grain: Grain = "fused", skip: Collection[str] = ()
) -> Report:
    """The gradients of a model of whole words on one batch.

    "steps": of every value in its table of links, step by step, from the loss back; "fused": of its parameters, by the
    pass that training uses.
    """
    links = page.links(options)

    def inputs(n: int = len(data["Xb"])) -> Values:
        rows = torch.arange(n) % len(data["Xb"])
        return {**p, **{name: value[rows] for name, value in data.items()}}

    def forward(**given: Any) -> dict[str, Any]:
        batch = {name: given.pop(name) for name in data}
        return {**batch, **chain.forward_steps(links, given, batch)}

    def backward(values: Values, dloss: Tensor) -> Values:
        batch = {name: values[name] for name in data}
        if grain == "steps":
            return chain.backward_steps(links, values, batch, dloss)
        parameters = {name: values[name] for name in p}
        gradients = page.backward(parameters, page.forward(parameters, batch, options)[1], batch, options)
        return {name: gradient * dloss for name, gradient in gradients.items()}

    report = prove(forward, backward, inputs, skip=skip)
    made = [name for each in links for name in each.makes]
    wanted = [*reversed(made), *p] if grain == "steps" else list(p)
    order = {name: place for place, name in enumerate(wanted)}
    rows = [row for row in report.rows if row.name.partition("[")[0] in order]
    return replace(report, rows=tuple(sorted(rows, key=lambda row: order[row.name.partition("[")[0]])))


def rounding_note(p: mlp.Parameters, x: Contexts, y: Targets, correction: int = 1) -> str:
    """What the textbook's line for tanh would differ by on this processor; empty when it would not differ."""
    leaves = mlp.Parameters(*(tensor.detach().clone().requires_grad_() for tensor in p))
    steps = mlp.forward_steps(leaves, x, y, correction)
    dh, dhpreact = torch.autograd.grad(steps.loss, [steps.h, steps.hpreact])
    difference = ((1.0 - steps.h.detach() ** 2) * dh - dhpreact).abs().max().item()
    return FUSED_MULTIPLY_ADD.format(difference=difference) if difference else ""


def _proved(
    names: Iterable[str],
    backward: Callable[..., Values],
    p: mlp.Parameters,
    x: Contexts,
    y: Targets,
    correction: int,
    skip: Collection[str] = (),
) -> Report:
    def inputs(n: int = len(x)) -> Values:
        rows = torch.arange(n) % len(x)  # other sizes: the minibatch cut off, or repeated
        return p._asdict() | {"Xb": x[rows], "Yb": y[rows]}

    def forward(Xb: Contexts, Yb: Targets, **parameters: Tensor) -> Values:
        steps = mlp.forward_steps(mlp.Parameters(**parameters), Xb, Yb, correction)
        return {"Xb": Xb, "Yb": Yb} | steps._asdict()

    report = prove(forward, backward, inputs, skip=skip)
    return _in_order(report, names)


def _in_order(report: Report, names: Iterable[str]) -> Report:
    rows = {row.name: row for row in report.rows}
    return replace(report, rows=tuple(rows[name] for name in names))
