"""The same training step done by different means; `create` is the one way to get an engine."""

from backproof.engines.protocol import Engine, EngineError, ExampleSource, create

__all__ = ["Engine", "EngineError", "ExampleSource", "create"]
