"""What a kernel and its reference return: tensors by name, and which of one side is which of the other's."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from torch import Tensor

from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.structure import parts_of, tensors_in


def outputs_of(role: str, returned: Any) -> dict[str, Tensor]:
    """The tensors of what was returned by name: `output`, a NamedTuple's or mapping's names, or `output[0]`, ….

    Those of a structure within are called `output[1][0]`.
    """
    if isinstance(returned, Tensor):
        return {"output": returned}
    parts = parts_of("output", returned)
    if parts is None:
        raise CannotProveError(f"{role} must return a tensor or several; it returned a {type(returned).__name__}.")
    if isinstance(returned, Mapping):
        parts = {str(name): part for name, part in returned.items()}
    elif not isinstance(returned, list):
        parts = {name.removeprefix("output."): part for name, part in parts.items()}
    found = {called: one for name, part in parts.items() for called, one in tensors_in(name, part).items()}
    if not found:
        raise CannotProveError(f"{role} must return a tensor or several; there is none in what it returned.")
    return found


def as_named(outputs: dict[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """The outputs of the function under the names that the reference's have, as far as it is clear which is which.

    Fused losses return `(loss, None, None)` beside a reference that returns the loss, and kernels often return more
    than the reference: what else they keep for themselves. Then the first output is the one.
    """
    if all(name in outputs for name in names):
        return outputs
    if len(outputs) == len(names):
        renamed = dict(zip(outputs, names, strict=True))
    elif len(names) == 1 and "output[0]" in outputs:
        renamed = {"output[0]": next(iter(names))}
    else:
        return outputs
    return {renamed.get(name, name): value for name, value in outputs.items()}
