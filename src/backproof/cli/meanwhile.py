"""Imports that are needed at the end of a run, made while the engine works: it leaves Python's lock alone."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from threading import Thread

_LATE = (
    "backproof.proof.network",
    "torch.fx.experimental.symbolic_shapes",  # and SymPy: what backward() imports when it is first given a gradient
    "matplotlib.figure",
    "matplotlib.backends.backend_agg",
)


def import_meanwhile() -> Thread:
    """Begin with them; what fails fails again, and is told, where it is needed."""
    importing = Thread(target=_import, name="imports")
    importing.start()
    return importing


def _import() -> None:
    for name in _LATE:
        with suppress(Exception):
            import_module(name)
