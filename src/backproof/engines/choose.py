"""An engine by its name: what is asked for is what is given, and only `auto` may choose."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from backproof.engines.protocol import EngineError, ExampleSource
from backproof.models.mlp import Parameters, Shape

if TYPE_CHECKING:
    from backproof.engines.eager import EagerEngine
    from backproof.engines.fused import FusedEngine

NAMES = ("auto", "eager", "fused")


def fused_is_built() -> bool:
    """Whether the native engine is part of this installation."""
    return find_spec("backproof.engines._fused") is not None


def chosen(name: str) -> str:
    """The engine that `name` means here: `auto` is fused where it is built, since it won at every size, else eager.

    Raises EngineError for a name that no engine has, for an engine that was not built, and for an instruction set that
    it lacks: none replaces another unasked.
    """
    if name not in NAMES:
        raise EngineError(f"There is no engine {name!r}; choose one of: {', '.join(NAMES)}.")
    if name == "fused" and not fused_is_built():
        raise EngineError(
            "The engine 'fused' was not built with this installation; install again with a C++ compiler and without "
            "BACKPROOF_NATIVE=off, or choose --engine eager."
        )
    if name == "eager" or not fused_is_built():
        return "eager"
    from backproof.engines import _fused

    try:
        _fused.chosen_instruction_set()
    except ValueError as error:  # BACKPROOF_ISA names none that is here
        raise EngineError(f"{error}.") from None
    return "fused"


def create(
    name: str, shape: Shape, parameters: Parameters, examples: ExampleSource, threads: int | None = None
) -> FusedEngine | EagerEngine:
    """The engine that `name` means, ready to train a copy of `parameters` on `examples`. Raises as `chosen` does.

    It takes at most so many `threads` for a step; None: as many as there are cores.
    """
    if chosen(name) == "fused":
        from backproof.engines.fused import FusedEngine  # here: it needs the native module

        return FusedEngine(shape, parameters, examples, threads)
    from backproof.engines.eager import EagerEngine

    return EagerEngine(shape, parameters, examples, threads)
