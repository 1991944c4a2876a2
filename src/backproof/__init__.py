"""Backward passes written by hand, proved gradient by gradient, and fast.

    import backproof

    corpus = backproof.read_corpus("embedded")
    result = backproof.train(corpus, backproof.Settings(steps=5000))
    print(result.losses, backproof.sample(result.model, count=5))

Every public name is loaded when it is first used, so that `import backproof` itself is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from backproof.experiment import Losses, Result, evaluate, train
    from backproof.proof.compare import Comparison, compare
    from backproof.proof.network import prove_fused, prove_parameters, prove_steps
    from backproof.runs import Run, load_run, save_run
    from backproof.text import Corpus, fetch_names, read_corpus
    from backproof.training.sampling import sample
    from backproof.training.settings import Settings

_HOMES = {
    "backproof.experiment": ("Losses", "Result", "evaluate", "train"),
    "backproof.proof.compare": ("Comparison", "compare"),
    "backproof.proof.network": ("prove_fused", "prove_parameters", "prove_steps"),
    "backproof.runs": ("Run", "load_run", "save_run"),
    "backproof.text": ("Corpus", "fetch_names", "read_corpus"),
    "backproof.training.sampling": ("sample",),
    "backproof.training.settings": ("Settings",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "Comparison",
    "Corpus",
    "Losses",
    "Result",
    "Run",
    "Settings",
    "compare",
    "evaluate",
    "fetch_names",
    "load_run",
    "prove_fused",
    "prove_parameters",
    "prove_steps",
    "read_corpus",
    "sample",
    "save_run",
    "train",
]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'backproof' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return __all__
