"""An engine for a model of whole words, by its name: what is asked for is what is given, and only `auto` may choose."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from backproof.engines.choose import NAMES, fused_is_built
from backproof.engines.choose import chosen as chosen_for_windows
from backproof.engines.page import PageEngine, Steps
from backproof.engines.protocol import Engine, EngineError, WordSource
from backproof.models.registry import page


def chosen(name: str, model: str, options: Any, steps: Steps) -> str:
    """The engine that `name` means for such a run; raises EngineError for one that is not there or cannot do it."""
    if name not in NAMES:
        raise EngineError(f"There is no engine {name!r}; choose one of: {', '.join(NAMES)}.")
    lacks = _what_fused_lacks(model, options, steps)
    if name == "fused":
        chosen_for_windows(name)  # where it is not built
        if lacks:
            raise EngineError(f"The engine 'fused' cannot train {lacks}; choose --engine eager or auto.")
        return name
    return "eager" if name == "eager" or lacks or not fused_is_built() else chosen_for_windows(name)


def create(
    name: str,
    model: str,
    options: Any,
    parameters: Mapping[str, Tensor],
    words: WordSource,
    steps: Steps,
    seed: int = 0,
    threads: int | None = None,
) -> Engine:
    """The engine that `name` means, ready to train a copy of `parameters` on `words`. Raises as `chosen` does.

    `seed` is dropout's; it takes at most so many `threads` for a step, None: as many as there are cores.
    """
    if chosen(name, model, options, steps) == "fused":
        from backproof.engines.fused_transformer import FusedTransformer  # here: it needs the native module

        return FusedTransformer(options, parameters, words, steps, seed, threads)
    return PageEngine(page(model), options, parameters, words, steps, seed, threads)


def _what_fused_lacks(model: str, options: Any, steps: Steps) -> str:
    if model != "transformer":
        return f"--model {model}"
    if options.dropout:
        return "with --dropout"
    return "" if steps.optimiser.name == "adamw" else f"with --optimiser {steps.optimiser.name}"
