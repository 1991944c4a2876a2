"""Commands for a model that reads whole words: the same commands, with the options of that model alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from backproof.cli.console import working
from backproof.cli.prove import Prove
from backproof.cli.train import EXERCISE, Train
from backproof.models.registry import NAMES
from backproof.training.settings import SettingsError

if TYPE_CHECKING:
    from backproof.proof.report.report import Report

_FLAG = "--model"


def named_model(arguments: Sequence[str]) -> str | None:
    """The model that the arguments name, if it reads whole words; the last one counts, as everywhere.

    Raises SettingsError for a model that there is not.
    """
    names = [value for flag, value in pairwise(arguments) if flag == _FLAG]
    names += [each.removeprefix(f"{_FLAG}=") for each in arguments if each.startswith(f"{_FLAG}=")]
    if not names or names[-1] == EXERCISE:
        return None
    if names[-1] not in NAMES:
        raise SettingsError(f"There is no model {names[-1]!r}; choose one of: {', '.join((EXERCISE, *NAMES))}.")
    return names[-1]


def commands_of(model: str) -> Any:
    """The commands that know this model, with its options in place of those of the exercise's network."""
    from backproof.models.registry import options_of
    from backproof.training.word_settings import Course

    sizes = options_of(model)
    options = ("options", sizes, field(default_factory=sizes))
    course = ("settings", Course, field(default_factory=Course))
    train = make_dataclass("TrainWords", [course, options], bases=(_TrainWords,), frozen=True)
    prove = make_dataclass("ProveWords", [options], bases=(_ProveWords,), frozen=True)
    train.__doc__, prove.__doc__ = _TrainWords.__doc__, _ProveWords.__doc__
    commands: tuple[Any, Any] = (
        Annotated[train, tyro.conf.subcommand("train")], Annotated[prove, tyro.conf.subcommand("prove")],
    )  # fmt: skip
    return commands[0] | commands[1]


@dataclass(frozen=True)
class _TrainWords(Train):
    """Train a model of whole words with gradients derived by hand, and save it in a folder of its own.

    Without options it is trained as makemore trains it. What is best on the validation split is kept.

    Example: backproof train --model gru --data makemore --steps 5000
    """

    settings: Any = None
    options: Any = None

    @property
    def wanted(self) -> Any:
        from backproof.training.word_settings import WordSettings

        return WordSettings(**vars(self.settings), model=self.model, options=self.options)


@dataclass(frozen=True)
class _ProveWords(Prove):
    """Prove every gradient of a model that reads whole words, on one minibatch.

    Exits with 0 when all is proved, with 1 when not, with 2 when it cannot be run.

    Example: backproof prove --model transformer --layers 1 --grain steps
    """

    file: tyro.conf.Suppress[None] = None
    hidden: tyro.conf.Suppress[int] = 0
    correction: tyro.conf.Suppress[Literal[1, 0]] = 1
    batch_size: int = 8
    """Words of the minibatch."""
    seed: int = 3407
    """Seed of the parameters and of the minibatch."""
    options: Any = None

    def _prove_network(self) -> int:
        from torch import Generator

        from backproof import text, word_experiment
        from backproof.models.registry import page
        from backproof.proof.network import prove_page
        from backproof.training.word_settings import WordSettings

        settings = WordSettings(model=self.model, options=self.options, batch_size=self.batch_size, seed=self.seed)
        with working("reading the words"):
            corpus = text.read_corpus(self.data)
        vocabulary, splits = word_experiment.prepare(corpus, settings)
        generator, model = Generator().manual_seed(self.seed), page(self.model)
        parameters = model.initial(self.options, len(vocabulary), generator)
        data = word_experiment.draw_batch(model, self.options, splits.train, self.batch_size, generator)
        reports: dict[str, Report] = {}
        with working(f"proving the {self.model}"):
            for grain in ("steps", "fused"):
                if self.grain in (grain, "both"):
                    reports[grain] = prove_page(model, self.options, parameters, data, grain=grain)
        count = sum(tensor.numel() for tensor in parameters.values())
        return self._show(reports, corpus, f"The {self.model}, {self.batch_size} words, {count:,} parameters.")
