"""The step by hand, update included, through `torch.compile`: one compiled graph, called once a step."""

from __future__ import annotations

import torch
from torch import Tensor

from backproof.engines import ExampleSource
from backproof.models.mlp import Parameters, Shape
from measuring.engine import Rival
from rivals.loop import TensorLoop, UnavailableError
from rivals.manual_eager import loss_and_gradients


def create(shape: Shape, parameters: Parameters, examples: ExampleSource) -> Rival:
    """The rival, ready to train a copy of `parameters`; raises UnavailableError where nothing can be compiled."""
    require_compiler()

    def one_step(p: Parameters, xs: Tensor, ys: Tensor, ix: Tensor, rate: Tensor) -> Tensor:
        loss, gradients = loss_and_gradients(p, xs[ix], ys[ix], shape.correction)
        for parameter, gradient in zip(p, gradients, strict=True):
            parameter.sub_(rate * gradient)
        return loss

    # The wrapper in C++ costs less a call than the usual one in Python.
    step = torch.compile(one_step, fullgraph=True, dynamic=False, options={"cpp_wrapper": True})

    @torch.no_grad()
    def steps(p: Parameters, xs: Tensor, ys: Tensor, indices: Tensor, rates: list[float]) -> Tensor:
        losses = torch.empty(len(rates))
        for k, (ix, rate) in enumerate(zip(indices, torch.tensor(rates, dtype=p.C.dtype), strict=True)):
            losses[k] = step(p, xs, ys, ix, rate)
        return losses

    return TensorLoop("torch.compile", steps, parameters, examples)


def require_compiler() -> None:
    """Raise UnavailableError unless torch.compile finds a C++ compiler."""
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler:
        raise UnavailableError("torch.compile needs a C++ compiler and finds none; install g++ to time it.") from None
