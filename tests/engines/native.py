"""The native module under test: the installed one, or the one in the folder that BACKPROOF_FUSED names."""

import importlib.util
import os
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

import pytest


@cache
def _load() -> ModuleType:
    folder = os.environ.get("BACKPROOF_FUSED")
    if not folder:
        return importlib.import_module("backproof.engines._fused")
    (path,) = Path(folder).glob("_fused*.so")
    spec = importlib.util.spec_from_file_location("backproof.engines._fused", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def instruction_sets() -> list[str]:
    """Those that this machine can run; none where the engine is not built."""
    try:
        return _load().supported_instruction_sets()
    except ImportError:
        return []


def __getattr__(name: str) -> ModuleType:
    if name != "_fused":
        raise AttributeError(name)
    try:
        return _load()
    except ImportError:
        pytest.skip("the native engine is not built", allow_module_level=True)
