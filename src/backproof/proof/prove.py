"""Proving a forward and a backward function: the first run, and every replay that shows what it hides."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from backproof.proof.replays.pair import Pair
from backproof.proof.replays.pair_calls import Functions
from backproof.proof.replays.runner import prove_subject
from backproof.proof.replays.table import replays_of_pairs
from backproof.proof.report.report import Report
from backproof.proof.user.inputs import refuse_options
from backproof.proof.user.sizes import SIZES


def prove(
    forward: Callable,
    backward: Callable,
    inputs: Any,
    *,
    output: str | None = None,
    constants: Collection[str] = (),
    sizes: Sequence[int] = SIZES,
    skip: Collection[str] = (),
    seed: int = 0,
) -> Report:
    """Proves every gradient of `backward` against automatic differentiation of `forward`, plainly and in replays.

    - `forward(**inputs)` (or `forward(*inputs)` for a tuple) returns its named values as a NamedTuple, a dataclass or
      a mapping; the output is the last of them, or the one called `output`.
    - `backward(values, upstream)` gets such a record, detached, and the gradient of the output, of the output's shape;
      it returns gradients under the names of their values (or `d` and the name). A backward function of one
      argument is taken to start from a scalar loss.
    - `inputs` is a mapping, a tuple, a function without arguments, or a function of a size n. Floating-point inputs
      need a gradient unless they are among `constants`. Values, gradients and inputs may be lists, tuples, mappings or
      dataclasses of tensors, which are called `ws[1]`. A leaf that is none of the inputs, such as a parameter of a
      module that `forward` captures, is named in a note as not compared.
    - `sizes` are tried where `inputs` takes a size; further whole numbers that it has a default for, such as
      `features=10`, are also tried two larger. `skip` names replays to leave out, such as `"float64"`, `"layouts"`
      or `"sizes"`.

    The first run uses a random upstream gradient, or 1 for a scalar. The replays: arguments unchanged, second backward,
    random upstream, shaken gradients (for what is mathematically zero), float64, upstream gradients in other layouts,
    sizes. A replay that `forward` cannot make (float64, or one row) is listed in the report as skipped. Raises
    CannotProveError where the functions cannot be run at all.
    """
    refuse_options(sizes, seed)
    pair = Pair(Functions(forward, backward, inputs, output, frozenset(constants), seed))
    return prove_subject(pair, lambda proof: replays_of_pairs(proof, sizes), skip)
