"""The whole way from a corpus to a trained, calibrated, measured and proved model, in one call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass
from math import isfinite
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Generator

from backproof import engines
from backproof.models import mlp
from backproof.shapes import Contexts, Targets
from backproof.text import Corpus, Splits, Vocabulary, split_examples, vocabulary_of
from backproof.training import evaluation, loop, sampling
from backproof.training.loop import Keep, Progress, State
from backproof.training.model import TrainedModel
from backproof.training.room import refuse_what_cannot_fit
from backproof.training.settings import Settings
from backproof.training.status import Status, divergence

if TYPE_CHECKING:
    from backproof.proof.report.rows import Row

_PROVED = 2**20  # numbers of the widest layer on which the gradients are proved: the prover keeps dozens of such
# Parameters, 16 MiB, with which that is repeated in float64 and at other sizes, in a dozen copies more.
_REPLAYED = 2**22


@dataclass(frozen=True)
class Losses:
    """Cross-entropy of the calibrated model on each split, in nats per example."""

    train: float
    validation: float
    test: float


class _HasLosses(Protocol):
    @property
    def step_losses(self) -> NDArray: ...


@dataclass(frozen=True)
class Minibatch:
    """Contexts (n, block_size) and targets (n,), as symbol numbers."""

    contexts: Contexts
    targets: Targets


@dataclass(frozen=True)
class Result:
    """A training run that has ended: what went in, what came out.

    `engine` is the one that did the work. `step_losses` (float32, nats) has one entry for each step taken; `proof`
    compares the seven parameter gradients with automatic differentiation on `last_batch`, which has fewer examples than
    the batches of training where these are large (empty when the run diverged, like `samples`); `seconds` is the
    training loop's time.
    """

    corpus: Corpus
    settings: Settings
    splits: Splits
    model: TrainedModel
    engine: str
    status: Status
    step_losses: NDArray
    seconds: float
    losses: Losses
    last_batch: Minibatch
    proof: tuple[Row, ...]
    samples: tuple[str, ...]

    def __repr__(self) -> str:
        """`Result(finished, 200,000 steps, validation loss 2.107)`."""
        loss = f"validation loss {self.losses.validation:.4g}"
        return f"Result({self.status.value}, {len(self.step_losses):,} steps, {loss})"

    @property
    def divergence(self) -> str:
        """What is no longer finite, where the run diverged; a sentence without its capital and its full stop."""
        return divergence(self.settings, len(self.step_losses)) if self.status is Status.DIVERGED else ""


def train(
    corpus: Corpus,
    settings: Settings | None = None,
    on_progress: Callable[[Progress], object] | None = None,
    *,
    begun: State | None = None,
    keep: Keep | None = None,
    until: int | None = None,
    threads: int | None = None,
) -> Result:
    """Train on `corpus`, calibrate batch normalisation, measure, prove the gradients again, and draw 20 words.

    Ctrl-C, an `on_progress` that returns True, `until` steps and a loss that is no longer finite end the training
    early; `Result.status` says so. A run whose calibrated model has losses that are not finite has diverged as well.
    `keep` is given the run's state now and then; from such a state, `begun`, the run goes on, and ends with the bits of
    one that never stopped. A step takes at most so many `threads`, None: as many as there are cores. Raises CorpusError
    for too few words, EngineError for an engine that is not there and NotEnoughMemoryError for sizes that cannot fit.
    """
    settings = settings or Settings()
    vocabulary, splits = prepare(corpus, settings)
    shape = network_shape(settings, vocabulary)
    refuse_what_cannot_fit(settings, len(vocabulary))
    generator = Generator().manual_seed(settings.seed)
    start = mlp.initial_parameters(shape, generator, settings.affine_seed)
    if begun is not None:
        start = mlp.Parameters(**begun.tensors)
        generator.set_state(begun.random)
    engine = engines.create(settings.engine, shape, start, splits.train, threads)
    outcome = loop.run(engine, len(splits.train), settings, generator, on_progress, begun=begun, keep=keep, until=until)

    parameters = engine.parameters()
    statistics = evaluation.calibrate(parameters, splits.train)
    model = TrainedModel(shape, vocabulary.symbols, parameters, statistics)
    batch = draw_batch(splits, min(settings.batch_size, max(2, _PROVED // parameters.widest)), generator)
    losses = evaluate(model, splits)
    finite = all(map(isfinite, astuple(losses)))
    status = outcome.status if finite or outcome.status is not Status.FINISHED else Status.DIVERGED
    sound = finite and status is not Status.DIVERGED
    proof = _prove(parameters, batch, shape) if sound else ()
    samples = _draw(model) if sound else ()
    return Result(
        corpus, settings, splits, model, engine.name, status, outcome.losses, outcome.seconds,
        losses, batch, proof, samples,
    )  # fmt: skip


def prepare(corpus: Corpus, settings: Settings) -> tuple[Vocabulary, Splits]:
    """The corpus' symbols, and its examples in three splits."""
    vocabulary = vocabulary_of(corpus.words)
    return vocabulary, split_examples(corpus.words, vocabulary, settings.block_size, settings.split_seed)


def network_shape(settings: Settings, vocabulary: Vocabulary) -> mlp.Shape:
    """The network that `settings` ask for, on this vocabulary."""
    return mlp.Shape(len(vocabulary), settings.block_size, settings.embedding, settings.hidden, settings.correction)


def draw_batch(splits: Splits, size: int, generator: Generator) -> Minibatch:
    """A minibatch of training examples, drawn as training draws it."""
    indices = torch.randint(0, len(splits.train), (size,), generator=generator)
    contexts, targets = splits.train.batch(indices.numpy())
    return Minibatch(torch.from_numpy(contexts), torch.from_numpy(targets))


def _prove(parameters: mlp.Parameters, batch: Minibatch, shape: mlp.Shape) -> tuple[Row, ...]:
    from backproof.proof.network import prove_parameters  # here: who samples or evaluates needs no prover

    skip = ("float64", "sizes") if sum(tensor.numel() for tensor in parameters) > _REPLAYED else ()
    return prove_parameters(parameters, batch.contexts, batch.targets, shape.correction, skip=skip).rows


def _draw(model: TrainedModel) -> tuple[str, ...]:
    """20 words, or none of a model whose numbers are too large for it: they are not worth the run."""
    try:
        return tuple(sampling.sample(model))
    except (RuntimeError, sampling.SamplingError):  # PyTorch's word for probabilities that are NaN, and ours
        return ()


def evaluate(model: TrainedModel, splits: Splits) -> Losses:
    """The calibrated model's loss on each split."""
    return Losses(*(evaluation.mean_loss(model.parameters, model.statistics, split) for split in splits))


def log10_losses(result: _HasLosses) -> NDArray:
    """What the published notebooks keep and plot: log10 of every step's loss, float32."""
    with np.errstate(divide="ignore"):
        return np.log10(result.step_losses)
