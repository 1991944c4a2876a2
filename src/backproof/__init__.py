"""Backward passes written by hand, proved gradient by gradient, and fast.

    import backproof

    print(backproof.check(loss, locals()))  # which d<name> is wrong, and why

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
    from backproof.proof.check import check
    from backproof.proof.compare import compare
    from backproof.proof.file import prove_file
    from backproof.proof.function import prove_function
    from backproof.proof.judge.judge import CannotJudgeError
    from backproof.proof.prove import prove
    from backproof.proof.report.report import GradientError, Report
    from backproof.proof.report.rows import Row, Verdict
    from backproof.proof.user.calls import CannotProveError
    from backproof.runs import Run, load_run, save_run
    from backproof.text import Corpus, fetch_names, read_corpus
    from backproof.training.sampling import sample
    from backproof.training.settings import Settings

_HOMES = {
    "backproof.experiment": ("Losses", "Result", "evaluate", "train"),
    "backproof.proof.user.calls": ("CannotProveError",),
    "backproof.proof.check": ("check",),
    "backproof.proof.compare": ("compare",),
    "backproof.proof.file": ("prove_file",),
    "backproof.proof.function": ("prove_function",),
    "backproof.proof.judge.judge": ("CannotJudgeError",),
    "backproof.proof.prove": ("prove",),
    "backproof.proof.report.report": ("GradientError", "Report"),
    "backproof.proof.report.rows": ("Row", "Verdict"),
    "backproof.runs": ("Run", "load_run", "save_run"),
    "backproof.text": ("Corpus", "fetch_names", "read_corpus"),
    "backproof.training.sampling": ("sample",),
    "backproof.training.settings": ("Settings",),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "CannotJudgeError",
    "CannotProveError",
    "Corpus",
    "GradientError",
    "Losses",
    "Report",
    "Result",
    "Row",
    "Run",
    "Settings",
    "Verdict",
    "check",
    "compare",
    "evaluate",
    "fetch_names",
    "load_run",
    "prove",
    "prove_file",
    "prove_function",
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
