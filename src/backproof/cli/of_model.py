"""Commands for a model that reads whole words: the same commands, with the options of that model alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields, make_dataclass
from functools import reduce
from itertools import pairwise
from operator import or_
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from backproof.cli.console import working
from backproof.cli.prove import Prove
from backproof.cli.sweep import SweepCommand
from backproof.cli.train import EXERCISE, Train
from backproof.models.registry import NAMES
from backproof.sweep.plan import Plan, make_plan
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
    several = names[-1].split(",") if arguments[0] == "sweep" else names[-1:]
    for name in several:
        if name not in NAMES:
            raise SettingsError(f"There is no model {name!r}; choose one of: {', '.join((EXERCISE, *NAMES))}.")
    return names[-1]


def commands_of(model: str) -> Any:
    """The commands that know this model, with its options in place of those of the exercise's network.

    Several models, with commas between, are for a sweep, and have the options that all models have.
    """
    from backproof.models.registry import options_of
    from backproof.training.word_settings import Course

    sweep = _command(_SweepWords, "SweepWords", ("grid", _grid(model)))
    if "," in model:
        return _any_of(Annotated[sweep, tyro.conf.subcommand("sweep")], Annotated[Prove, tyro.conf.subcommand("prove")])
    options = ("options", options_of(model))
    return _any_of(
        Annotated[_command(_TrainWords, "TrainWords", ("settings", Course), options), tyro.conf.subcommand("train")],
        Annotated[_command(_ProveWords, "ProveWords", options), tyro.conf.subcommand("prove")],
        Annotated[sweep, tyro.conf.subcommand("sweep")],
    )


def _any_of(*commands: Any) -> Any:
    return reduce(or_, commands)


def _command(base: type, name: str, *groups: tuple[str, type]) -> type:
    fields_of = [(group, kind, field(default_factory=kind)) for group, kind in groups]
    made = make_dataclass(name, fields_of, bases=(base,), frozen=True)
    made.__doc__ = base.__doc__
    return made


def _grid(model: str) -> type:
    """The options of a sweep: those of `train`, each of which may be a list."""
    kinds = _kinds(model)
    course = [(name, _listed(kind), field(default=str(value))) for name, (kind, value) in kinds.items()]
    grid = make_dataclass("Grid", course, frozen=True)
    grid.__doc__ = "The options of `train`. Of those with several values, commas between, every combination is trained."
    return grid


def _listed(kind: type) -> Any:
    name = {int: "INT", float: "FLOAT"}.get(kind, "STR")
    return Annotated[str, tyro.conf.arg(metavar=name if kind is str else f"{name},...", help="As of train.")]


def _kinds(model: str) -> dict[str, tuple[type, Any]]:
    """Every option's kind and default; a choice may be a list of them, the engine is one for all."""
    from backproof.models.registry import options_of
    from backproof.training.word_settings import Course

    classes = [Course] if "," in model else [Course, options_of(model)]
    found = {each.name: each.default for one in classes for each in fields(one)}
    return {
        name: (type(value) if isinstance(value, (int, float)) else str if name == "engine" else list, value)
        for name, value in found.items()
    }


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


@dataclass(frozen=True)
class _SweepWords(SweepCommand):
    """Train many models of whole words at once, and compare their losses: over seeds, sizes, courses, or models.

    Each run is an ordinary run in the sweep's folder, beside sweep.json. A run that fails does not stop the others.
    Ctrl-C saves what is there, and the same command with the same --out finishes what is missing, whatever stopped it.

    Example: backproof sweep --model gru,lstm --runs 3 --lr 0.001,0.002 --steps 3000
    """

    grid: Any = None

    @property
    def plan(self) -> Plan:
        from backproof.models.registry import options_of
        from backproof.training.word_settings import Course, WordSettings

        kinds = {name: kind for name, (kind, _) in _kinds(self.model).items()}
        of_course = {each.name for each in fields(Course)}

        def settings_of(point: dict[str, Any]) -> WordSettings:
            model = point.pop("model")
            sizes = {name: value for name, value in point.items() if name not in of_course}
            course = {name: value for name, value in point.items() if name in of_course}
            return WordSettings(**course, model=model, options=options_of(model)(**sizes))

        given = {"model": self.model, **asdict(self.grid)}
        return make_plan(given, self.runs, {"model": list, **kinds}, settings_of)
