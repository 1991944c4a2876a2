"""Proving a torch.autograd.Function, or any callable with a backward pass of its own, beside a plain reference."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import torch

from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.runner import prove_subject
from backproof.proof.replays.sides import apply_of
from backproof.proof.replays.table import replays_of_kernels
from backproof.proof.report.report import Report
from backproof.proof.user.inputs import refuse_options
from backproof.proof.user.sizes import SIZES

LOW_PRECISION = (torch.bfloat16, torch.float16)


def prove_function(
    function: Any,
    reference: Callable,
    inputs: Any,
    *,
    grad_inputs: Collection[str] | None = None,
    dtypes: Sequence[torch.dtype] = LOW_PRECISION,
    sizes: Sequence[int] = SIZES,
    skip: Collection[str] = (),
    seed: int = 0,
    spread: float = 0.0,
    meant: Mapping[str, Callable] | None = None,
) -> Report:
    """Proves `function` beside `reference`: its values, and the gradient of every input, as a network would use it.

    - `function` is a torch.autograd.Function (its `apply` is called) or any callable with a backward pass; `reference`
      computes the same with plain differentiable operations. Both get the same arguments and return a tensor or
      several; what only the function returns is named in a note.
    - `inputs` is a tuple in the order of the arguments (or a mapping by their names) of tensors and other arguments, a
      function without arguments, or a function of a size n. All floating-point inputs need a gradient, or only
      `grad_inputs`: name there those that do where the others are targets, masks or filters.
    - Inputs are also the tensors within lists, tuples, mappings and dataclasses (`ab[1]`, `d['k']`), and what both
      sides hold: parameters of a module that is called, captured, or among the arguments (`linear.weight`), and
      captured leaves. Those of the two sides are paired where they are one tensor, have one name, or have the same
      numbers. Both run on copies; the module stays as it is. A leaf of only one graph is named as not compared.
    - `dtypes` are low-precision dtypes to try: there an error against float64 may be at most twice the plain
      reference's in the same dtype, plus a unit of rounding.
    - `sizes` are tried where `inputs` takes a size, and its further whole numbers two larger, as in `prove`; `skip`
      names replays to leave out.
    - `spread` is how far the gradients of two calls may differ beyond rounding, relative to their largest element, as
      kernels need that add with atomics in low precision. A difference within rounding is always allowed.
    - `meant` says by input what its gradient is meant to be where that is not the derivative: a function of the
      upstream gradients, one for each floating-point output, and then of any inputs by their names. A straight-through
      estimator is `meant={"x": lambda g: g}`, a gradient reversal `{"x": lambda g: -0.5 * g}`, clipping
      `{"x": lambda g: g.clamp(-1, 1)}`, a surrogate for a step `{"x": lambda g, x: g / (1 + x.abs()) ** 2}`. The
      same can be said by a reference that detaches: `lambda x: x + (x.round() - x).detach()`.

    The replays: the same call again, backward a second time over a retained graph, two graphs at once, the input and
    the result used twice, one output at a time, no upstream gradient, each input alone, upstream gradients and inputs
    in other layouts (every swap of two dimensions, channels_last), float64 or complex128, `dtypes`, sizes. What the
    function or the reference refuses is listed as skipped, also a second backward pass. At kinks and ties, other
    subgradients than the reference's are right, too, and the report says where.

    Notes, and no faults, are: a gradient that the engine sums over broadcast dimensions, a sparse one, an output marked
    as not differentiable, an input marked as written into, and None for an input that the function shows never to
    differentiate, by asking `ctx.needs_input_grad` of others only (or to which the caller gave no `requires_grad`, but
    to others). Raises CannotProveError where they cannot run.
    """
    refuse_options(sizes, seed, dtypes)
    kernel = Kernel(apply_of(function), reference, inputs, grad_inputs, seed, dict(meant or {}))
    return prove_subject(kernel, lambda proof: replays_of_kernels(proof, dtypes, sizes, spread), skip)
