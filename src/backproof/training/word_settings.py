"""Everything that decides a run of a model that reads whole words; the defaults are those of Karpathy's makemore."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any, Literal, get_args

from torch import Tensor

from backproof.engines.page import Steps
from backproof.models.registry import NAMES, options_of
from backproof.optimisers.adamw import AdamW
from backproof.optimisers.clipping import SMALLEST
from backproof.optimisers.momentum import Momentum
from backproof.optimisers.options import settle
from backproof.optimisers.protocol import Optimiser
from backproof.optimisers.schedules import Constant, Cosine, Drop, Schedule
from backproof.optimisers.sgd import SGD
from backproof.training.settings import SettingsError

Optimisers = Literal["adamw", "momentum", "sgd"]
Schedules = Literal["constant", "drop", "cosine"]


@dataclass(frozen=True)
class Course:
    """How a model of whole words is trained, whichever it is."""

    steps: int = 10_000
    """Steps of the optimiser."""
    batch_size: int = 32
    """Words a step."""
    optimiser: Optimisers = "adamw"
    """adamw, momentum, or sgd."""
    lr: float = 5e-4
    """Learning rate, at its highest."""
    schedule: Schedules = "constant"
    """How it goes on: constant; drop, to --lr-after at --lr-drop-at; cosine, up over --warmup steps and then down."""
    lr_drop_at: float = 0.67
    """drop: when, as a part of all steps."""
    lr_after: float = 5e-5
    """drop: learning rate after it."""
    warmup: int = 0
    """cosine: steps until the learning rate is at its highest."""
    lr_final: float = 0.1
    """cosine: learning rate of the last step, as a part of the highest."""
    weight_decay: float = 0.01
    """How strongly weights are drawn towards 0."""
    decays: Literal["all", "matrices"] = "all"
    """What decays: all parameters, or the matrices alone."""
    beta1: float = 0.9
    """adamw: what the mean of the gradients keeps from step to step; momentum: what the velocity keeps."""
    beta2: float = 0.99
    """adamw: what the mean of their squares keeps from step to step."""
    clip: float = 0.0
    """Norm above which the gradients are made shorter; 0: they never are."""
    evaluate_every: int = 500
    """Steps after which the validation split is measured again; the best parameters are kept."""
    seed: int = 3407
    """Seed of the initial parameters, of the minibatches and of dropout."""
    split_seed: int = 42
    """Seed of the split into training, validation and test words."""
    engine: str = "auto"
    """What does the work: fused (native), eager (PyTorch), or auto."""

    def __post_init__(self) -> None:
        for name, kinds in (("optimiser", Optimisers), ("schedule", Schedules)):
            if (value := getattr(self, name)) not in get_args(kinds):
                raise SettingsError(f"--{name} is {value!r}; it has to be one of {', '.join(get_args(kinds))}.")
        for name, least, most in (
            ("steps", 1, 10**9), ("batch_size", 1, 2**20), ("evaluate_every", 1, 10**9),
            ("seed", 0, 2**63 - 1), ("split_seed", 0, 2**63 - 1),
        ):  # fmt: skip
            settle(self, name, least, most, whole=True)
        for name in ("lr", "lr_after", "weight_decay"):  # all of them, also those that nobody will ask for:
            settle(self, name)  # a run.json holds no NaN
        for name in ("lr_drop_at", "lr_final"):
            settle(self, name, most=1)
        for name in ("beta1", "beta2"):
            settle(self, name, below=1)
        settle(self, "warmup", most=10**9, whole=True)
        settle(self, "clip")
        if self.clip:
            settle(self, "clip", least=SMALLEST)
        if not isinstance(self.engine, str):
            raise SettingsError(f"--engine is {self.engine!r}; it has to be the name of an engine.")
        self.make_optimiser()  # what it refuses is refused now
        self.make_schedule()

    @property
    def drop_step(self) -> int:
        """The first step after which the learning rate has dropped; without a drop, the number of steps."""
        return round(self.steps * self.lr_drop_at) if self.schedule == "drop" else self.steps

    def make_steps(self) -> Steps:
        """How a step uses the gradients."""
        return Steps(self.make_optimiser(), self.clip or inf)

    def make_optimiser(self) -> Optimiser:
        decay = {"weight_decay": self.weight_decay, "decays": self.decays}
        if self.optimiser == "adamw":
            return AdamW(**decay, beta1=self.beta1, beta2=self.beta2)
        return Momentum(**decay, momentum=self.beta1) if self.optimiser == "momentum" else SGD(**decay)

    def make_schedule(self) -> Schedule:
        if self.schedule == "drop":
            return Drop(lr=self.lr, at=self.lr_drop_at, after=self.lr_after)
        if self.schedule == "cosine":
            return Cosine(lr=self.lr, warmup=self.warmup, final=self.lr_final)
        return Constant(lr=self.lr)

    def rates(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Learning rates of the steps from `start` up to `stop`, or of all: float64."""
        return self.make_schedule().rates(start, self.steps if stop is None else stop, self.steps)


@dataclass(frozen=True)
class WordSettings(Course):
    """The configuration of a run: the course, the model, and its sizes, which are the page's `Options`."""

    model: str = "transformer"
    options: Any = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.model not in NAMES:
            raise SettingsError(f"--model is {self.model!r}; it has to be one of {', '.join(NAMES)}.")
        if self.options is None:
            object.__setattr__(self, "options", options_of(self.model)())

    @property
    def block_size(self) -> int:
        """The longest context."""
        return self.options.block_size
