"""The same training step done by different means; `create` is the one way to get an engine."""

from backproof.engines.choose import chosen, create, fused_is_built
from backproof.engines.protocol import Engine, EngineError, ExampleSource

__all__ = ["Engine", "EngineError", "ExampleSource", "chosen", "create", "fused_is_built"]
