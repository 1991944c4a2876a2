"""Does what the function runs on know a dtype at all? Measured with a few small whole numbers.

An interpreter or a simulator may compute a dtype wrongly, as Triton's does bfloat16. Small whole numbers are exact in
every dtype, and so are short sums of them. Where both the outputs and the gradients are nonsense even there, and right
in float32, it is not for lack of precision, and precision cannot be judged. Where only one of the two is nonsense, the
dtype is known, and the other one has a fault.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from backproof.proof.replays.accuracy import most
from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import sent_back
from backproof.proof.replays.sides import gradients_of, run_side, upstreams_for
from backproof.proof.replays.subject import BackwardRaisedError
from backproof.proof.report.words import number
from backproof.proof.user.arguments import Values, in_dtype
from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.tensors import is_finite, is_float, short_name, widened

_NUMBERS = 64  # that are not the filling: their sum, and that of their squares, is exact in bfloat16
_NONSENSE = 0.25  # of the largest number: no rounding of small whole numbers comes near it


def computes_otherwise(kernel: Kernel, values: Values, needs: tuple[str, ...], dtype: torch.dtype) -> str:
    """A sentence where the dtype is computed wrongly altogether; empty where it is not, or that cannot be measured."""
    for filling in (0.0, 1.0):
        tame = {name: _tame(value, filling) if is_float(value) else value for name, value in values.items()}
        try:
            errors = {one: _errors(kernel, in_dtype(tame, one), needs) for one in (dtype, torch.float32)}
        except (CannotProveError, BackwardRaisedError, RuntimeError):
            continue
        narrow, single = errors[dtype], errors[torch.float32]
        if narrow is None or single is None:
            continue
        if min(narrow) > _NONSENSE and max(single) < _NONSENSE:
            short = short_name(dtype)
            return (
                f"what function runs on computes {short} wrongly: of small whole numbers its outputs are off by "
                f"{number(narrow[0])} of their size and its gradients by {number(narrow[1])}, and both are right in "
                "float32"
            )
        return ""
    return ""


def _tame(value: Tensor, filling: float) -> Tensor:
    """Whole numbers from -2 to 2 in a few places, and `filling` in all others."""
    numbers = torch.full((value.numel(),), filling, dtype=value.dtype, device=value.device)
    generator = torch.Generator().manual_seed(11)
    places = torch.randperm(value.numel(), generator=generator)[:_NUMBERS].to(value.device)
    numbers[places] = torch.randint(-2, 3, (len(places),), generator=generator).to(value.device, value.dtype)
    return numbers.reshape(value.shape)


def _errors(kernel: Kernel, values: Values, needs: tuple[str, ...]) -> tuple[float, float] | None:
    """The errors of outputs and of gradients against float64, relative to the largest; None where there is none."""
    truth = kernel.truth(values, needs)
    if truth is None:
        return None
    reference = run_side("reference", kernel.reference, values, needs, kernel.seed)
    upstreams = {name: _tame(one, 0.0) for name, one in upstreams_for(reference, kernel.seed).items()}
    exact = gradients_of(truth, {name: widened(one) for name, one in upstreams.items()}, needs)
    if not is_finite(truth.outputs) or not is_finite(exact):
        return None
    side = kernel.called(values, needs)
    return _off(side.outputs, truth.outputs), _off(sent_back(side, upstreams, needs), exact)


def _off(got: Mapping[str, Tensor | None], exact: Mapping[str, Tensor | None]) -> float:
    """The largest error, relative to the largest number of its tensor."""
    found = [0.0]
    for name, right in exact.items():
        one = got.get(name)
        if one is not None and right is not None and is_float(right) and one.shape == right.shape and most(right) > 0:
            found.append(most(widened(one) - right) / most(right))
    return max(found)
