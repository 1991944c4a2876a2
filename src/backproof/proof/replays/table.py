"""All replays there are: what each is called, by which group it can be left out, and what it shows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch

from backproof.proof.replays.again import (
    at_size,
    in_float64,
    random_upstream,
    second_backward,
    upstream_layout,
)
from backproof.proof.replays.calls_apart import CALLS_APART, calls_apart
from backproof.proof.replays.damage import UNCHANGED, find_damage
from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import KernelTrial
from backproof.proof.replays.ledger import Ledger
from backproof.proof.replays.low_precision import in_low_precision
from backproof.proof.replays.pair import Pair
from backproof.proof.replays.pair_calls import PairTrial
from backproof.proof.replays.parts import input_layout, one_output, some_inputs, undefined_upstream
from backproof.proof.replays.runner import Replay
from backproof.proof.replays.shaken import shaken
from backproof.proof.replays.state import two_graphs, unchanged, used_twice
from backproof.proof.replays.subject import Proof, SkippedError
from backproof.proof.report.rows import Row
from backproof.proof.user.arguments import CALL
from backproof.proof.user.layouts import layouts_of
from backproof.proof.user.sizes import other_sizes, usual_size
from backproof.proof.user.tensors import is_float, short_name

_WRITES = "nothing that was passed in is written to"
_NEVER_ZERO = "a gradient that is always zero is right for noise, too"


def replays_of_pairs(proof: Proof[Pair, PairTrial], sizes: Sequence[int]) -> list[Replay]:
    """The replays of `prove`, in their order."""
    return [
        Replay(UNCHANGED, "state", _WRITES, _on_pairs(find_damage)),
        *_state(),
        Replay("random upstream", "upstream", "the upstream gradient is used, all of it", random_upstream),
        Replay("shaken gradients", "upstream", _NEVER_ZERO, _on_pairs(shaken)),
        *_float64(),
        *_upstream_layouts(proof),
        *_sizes(proof, sizes),
    ]


def replays_of_kernels(
    proof: Proof[Kernel, KernelTrial], dtypes: Sequence[torch.dtype], sizes: Sequence[int], spread: float = 0.0
) -> list[Replay]:
    """The replays of `prove_function`, in their order."""
    return [
        Replay(UNCHANGED, "state", _WRITES, unchanged),
        Replay(CALLS_APART, "state", "two calls give the same gradients", partial(calls_apart, spread=spread)),
        *_state(),
        Replay("two graphs at once", "state", "a call does not disturb another's backward pass", two_graphs),
        Replay("used twice", "state", "inputs and results may have other readers", used_twice),
        *_outputs(proof),
        Replay("upstream undefined", "outputs", "no upstream gradient at all means zeros", undefined_upstream),
        *_upstream_layouts(proof),
        *_input_layouts(proof),
        *_subsets(proof),
        *_float64(),
        *_low_precision(dtypes),
        *_sizes(proof, sizes),
    ]


def _on_pairs(replay: Callable) -> Callable[[Proof[Pair, PairTrial], Ledger], list[Row]]:
    return lambda proof, ledger: replay(proof.subject.functions, proof.first_run, ledger)


def _state() -> list[Replay]:
    return [Replay("second backward", "state", "a second backward pass gives the same gradients", second_backward)]


def _outputs(proof: Proof[Kernel, KernelTrial]) -> list[Replay]:
    outputs = list(proof.first_run.upstreams)
    meaning = "one output may be used without the others"
    return [
        Replay(f"only {name}", "outputs", meaning, partial(one_output, output=name))
        for name in outputs
        if len(outputs) > 1
    ]


def _upstream_layouts(proof: Proof) -> list[Replay]:
    meaning = "the upstream gradient may lie in memory in any way"
    return [
        Replay(f"upstream {layout.name}", "layouts", meaning, partial(upstream_layout, layout=layout))
        for layout in layouts_of(proof.first_run.upstreams.values())
    ]


def _input_layouts(proof: Proof[Kernel, KernelTrial]) -> list[Replay]:
    meaning = "the inputs may lie in memory in any way"
    return [
        Replay(f"inputs {layout.name}", "layouts", meaning, partial(input_layout, layout=layout))
        for layout in layouts_of(value for value in proof.first_run.values.values() if is_float(value))
    ]


def _subsets(proof: Proof[Kernel, KernelTrial]) -> list[Replay]:
    needs, call = proof.first_run.needs, proof.first_run.values[CALL]
    parts: dict[str, tuple[str, ...]] = {name: (name,) for name in needs if name not in call.parameters}
    if parameters := tuple(name for name in needs if name in call.parameters):
        parts[parameters[0] if len(parameters) == 1 else "the parameters"] = parameters  # frozen all, or none
    verb = {name: "need" if len(part) > 1 else "needs" for name, part in parts.items()}
    subsets = {f"only {name} {verb[name]} a gradient": part for name, part in parts.items() if len(parts) > 1}
    if len(parts) > 2:
        others = {name: tuple(one for one in needs if one not in part) for name, part in parts.items()}
        subsets |= {f"all but {name} need a gradient": rest for name, rest in others.items()}
    meaning = "some inputs may need no gradient"
    return [Replay(name, "inputs", meaning, partial(some_inputs, needs=subset)) for name, subset in subsets.items()]


def _float64() -> list[Replay]:
    return [Replay("float64", "dtypes", "rounding goes away there, and a wrong formula stays wrong", in_float64)]


def _low_precision(dtypes: Sequence[torch.dtype]) -> list[Replay]:
    meaning = "errors are no larger than those of plain operations"
    return [Replay(short_name(dtype), "dtypes", meaning, partial(in_low_precision, dtype=dtype)) for dtype in dtypes]


def _sizes(proof: Proof, sizes: Sequence[int]) -> list[Replay]:
    inputs = proof.subject.inputs
    if usual_size(inputs) is None:
        return [Replay("sizes", "sizes", "inputs of every size", _no_sizes)]
    meaning = "the inputs may have other sizes"
    return [Replay(s.name, "sizes", meaning, partial(at_size, size=s)) for s in other_sizes(inputs, sizes)]


def _no_sizes(proof: Proof, ledger: Ledger) -> list[Row]:
    raise SkippedError("inputs is not a function of a size")
