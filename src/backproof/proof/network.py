"""The hand-written passes of the network, held against automatic differentiation on one minibatch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from backproof.models import mlp
from backproof.proof.compare import Comparison, all_agree, compare, settle
from backproof.rules import batchnorm, cross_entropy
from backproof.shapes import Contexts, Targets

FUSED_MULTIPLY_ADD = (
    "hpreact: PyTorch computes 1 - h*h with one rounding where the processor fuses multiply and add; so does the rule "
    "tanh. Written as (1 - h**2) * dh it would differ here by {difference:.2e}: a rounding, not a mistake."
)


def prove_steps(p: mlp.Parameters, x: Contexts, y: Targets, correction: int = 1) -> list[Comparison]:
    """The 26 gradients of the step-by-step pass, in the published order."""
    return _settled(_step_rows, p, x, y, correction)


def prove_fused(p: mlp.Parameters, x: Contexts, y: Targets, correction: int = 1) -> list[Comparison]:
    """The two collapses (logits, hprebn), each given autograd's upstream gradient, then the parameters' gradients."""
    return _settled(_fused_rows, p, x, y, correction)


def prove_parameters(p: mlp.Parameters, x: Contexts, y: Targets, correction: int = 1) -> list[Comparison]:
    """The seven gradients that training uses, from the fused pass."""
    return prove_fused(p, x, y, correction)[2:]


def rounding_note(p: mlp.Parameters, x: Contexts, y: Targets, correction: int = 1) -> str:
    """What the textbook's line for tanh would differ by on this processor; empty when it would not differ."""
    values, gradients = _differentiated(p, x, y, correction)
    textbook = (1.0 - values.h**2) * gradients.h
    difference = (textbook - gradients.hpreact).abs().max().item()
    return FUSED_MULTIPLY_ADD.format(difference=difference) if difference else ""


def _settled(
    rows_of: Callable[..., list[Comparison]], p: mlp.Parameters, x: Contexts, y: Targets, correction: int
) -> list[Comparison]:
    """Rows in the parameters' own precision; what disagrees there is tried again in float64: rounding or mistake?"""
    rows = rows_of(p, x, y, correction)
    if all_agree(rows):
        return rows
    in_float64 = rows_of(mlp.Parameters(*(tensor.double() for tensor in p)), x, y, correction)
    return [settle(row, twin) for row, twin in zip(rows, in_float64, strict=True)]


def _step_rows(p: mlp.Parameters, x: Contexts, y: Targets, correction: int) -> list[Comparison]:
    values, gradients = _differentiated(p, x, y, correction)
    by_hand = mlp.backward_steps(values, x, y, torch.ones_like(values.loss), correction)
    return [compare(name, getattr(by_hand, name), getattr(gradients, name)) for name in mlp.GRADIENT_ORDER]


def _fused_rows(p: mlp.Parameters, x: Contexts, y: Targets, correction: int) -> list[Comparison]:
    values, gradients = _differentiated(p, x, y, correction)
    dlogits = cross_entropy.backward(values.logits.log_softmax(1), y)
    dhprebn, _, _ = batchnorm.backward(values.bnraw, values.bnvar_inv, values.bngain, gradients.hpreact, correction)
    _, saved = mlp.forward(p, x, y, correction)
    by_hand = {"logits": dlogits, "hprebn": dhprebn} | mlp.backward(p, saved, x, y, correction)._asdict()
    return [compare(name, gradient, getattr(gradients, name)) for name, gradient in by_hand.items()]


def _differentiated(p: mlp.Parameters, x: Contexts, y: Targets, correction: int) -> tuple[mlp.Steps, mlp.Steps]:
    """Values of the forward pass, and their gradients by automatic differentiation, both free of any graph."""
    leaves = mlp.Parameters(*(tensor.detach().clone().requires_grad_() for tensor in p))
    steps = mlp.forward_steps(leaves, x, y, correction)
    gradients = torch.autograd.grad(steps.loss, list(steps))
    return mlp.Steps(*(value.detach() for value in steps)), mlp.Steps(*gradients)
