"""The whole way from a corpus to a trained, measured and proved model of whole words, in one call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from torch import Generator, Tensor

from backproof.engines.words import create
from backproof.experiment import Losses
from backproof.models.protocol import Model, data_of, masks_of
from backproof.models.registry import page
from backproof.text import Corpus, Vocabulary, vocabulary_of
from backproof.text.examples import split_words
from backproof.text.whole_words import WholeWords, WordSplits, split_whole_words
from backproof.training import evaluation, loop, sampling
from backproof.training.loop import Keep, Progress, State
from backproof.training.status import Status, divergence
from backproof.training.watch import Measured, Watched
from backproof.training.word_model import WordModel
from backproof.training.word_settings import WordSettings

if TYPE_CHECKING:
    from backproof.proof.report.rows import Row

_SAMPLED = 1000  # words, of which it is counted how many are in the lists
_NOT_REPEATED = ("float64", "sizes")  # in which a deep network takes minutes; the page is proved so in its own test
_PROVED = 8  # words on which the gradients are proved: the prover keeps dozens of every value
_PROVED_CELLS = 32  # of each, at most: for a recurrent layer it goes through every one of them again and again


@dataclass(frozen=True)
class Novelty:
    """Of so many sampled words: how many are among the words of training, how many among the test words alone."""

    sampled: int
    in_train: int
    in_test: int


@dataclass(frozen=True)
class WordResult:
    """A training run that has ended: what went in, what came out.

    `model` has the parameters that were best on the validation split, `best` says when; `curve` has all measurements.
    `step_losses` (float32, nats per symbol) has one entry for each step taken; `proof` compares all parameter gradients
    with automatic differentiation (empty when the run diverged, like `samples`); `seconds` is the training loop's time.
    """

    corpus: Corpus
    settings: WordSettings
    splits: WordSplits
    model: WordModel
    engine: str
    status: Status
    step_losses: NDArray
    seconds: float
    losses: Losses
    curve: tuple[Measured, ...]
    best: Measured | None
    proof: tuple[Row, ...]
    samples: tuple[str, ...]
    novelty: Novelty | None

    def __repr__(self) -> str:
        """`WordResult(transformer, finished, 10,000 steps, validation loss 1.971)`."""
        loss = f"validation loss {self.losses.validation:.4g}"
        return f"WordResult({self.model.name}, {self.status.value}, {len(self.step_losses):,} steps, {loss})"

    @property
    def divergence(self) -> str:
        """What is no longer finite, where the run diverged; a sentence without its capital and its full stop."""
        return divergence(self.settings, len(self.step_losses)) if self.status is Status.DIVERGED else ""


def train(
    corpus: Corpus,
    settings: WordSettings,
    on_progress: Callable[[Progress], object] | None = None,
    *,
    on_measured: Callable[[Measured, WordModel], object] = lambda measured, model: None,
    begun: State | None = None,
    keep: Keep | None = None,
    until: int | None = None,
    threads: int | None = None,
) -> WordResult:
    """Train on `corpus`, keep what is best on the validation split, measure it, prove its gradients, draw words.

    Every so many steps `on_measured` is told of the losses. What ends the training early, and how it goes on from
    `begun`, is as in `experiment.train`. Raises CorpusError for too few words and EngineError for an engine that is not
    there or that cannot train this model.
    """
    vocabulary, splits = prepare(corpus, settings)
    model, options, generator = page(settings.model), settings.options, Generator().manual_seed(settings.seed)
    start = model.initial(options, len(vocabulary), generator)
    if begun is not None:
        generator.set_state(begun.random)

    def as_model(parameters: Mapping[str, Tensor]) -> WordModel:
        return WordModel(settings.model, options, vocabulary.symbols, parameters)

    steps = settings.make_steps()
    engine = create(settings.engine, settings.model, options, start, splits.train, steps, settings.seed, threads)
    watched = Watched(
        engine, tuple(start), settings.evaluate_every,
        lambda p: evaluation.mean_word_loss(model, options, p, splits.validation),
        lambda measured, p: on_measured(measured, as_model(p)),
    )  # fmt: skip
    if begun is not None:
        watched.load(begun.tensors)
    words = len(splits.train)
    outcome = loop.run(watched, words, settings, generator, on_progress, begun=begun, keep=keep, until=until)
    watched.measure()

    trained = as_model(watched.best_parameters())
    losses = evaluate(trained, splits)
    sound = isfinite(losses.train + losses.validation + losses.test)
    status = outcome.status if sound or outcome.status is not Status.FINISHED else Status.DIVERGED
    sound = sound and status is not Status.DIVERGED
    drawn = _draw(trained) if sound else []
    return WordResult(
        corpus, settings, splits, trained, engine.name, status, outcome.losses, outcome.seconds, losses,
        watched.curve, watched.best,
        _prove(trained, splits.train, generator) if sound else (),
        tuple(drawn[:20]),
        _novelty(drawn, corpus, settings) if drawn else None,
    )  # fmt: skip


def prepare(corpus: Corpus, settings: WordSettings) -> tuple[Vocabulary, WordSplits]:
    """The corpus' symbols, and its words in three splits."""
    vocabulary = vocabulary_of(corpus.words)
    return vocabulary, split_whole_words(corpus.words, vocabulary, settings.block_size, settings.split_seed)


def evaluate(model: WordModel, splits: WordSplits) -> Losses:
    """The model's loss on each split, in nats per symbol."""
    parts = (evaluation.mean_word_loss(model.page, model.options, model.parameters, split) for split in splits)
    return Losses(*parts)


def draw_batch(model: Model, options: Any, words: WholeWords, size: int, generator: Generator) -> dict[str, Tensor]:
    """A minibatch of words, drawn as training draws it, with what dropout keeps."""
    indices = torch.randint(0, len(words), (size,), generator=generator)
    data = data_of(*map(torch.from_numpy, words.batch(indices.numpy())))
    return data | masks_of(model, options, data["Xb"], generator)


def _prove(model: WordModel, words: WholeWords, generator: Generator) -> tuple[Row, ...]:
    from backproof.proof.network import prove_page  # here: who samples or evaluates needs no prover

    begun = replace(words, block_size=min(words.block_size, _PROVED_CELLS))
    data = draw_batch(model.page, model.options, begun, _PROVED, generator)
    return prove_page(model.page, model.options, model.parameters, data, skip=_NOT_REPEATED).rows


def _draw(model: WordModel) -> list[str]:
    """1,000 words, or none of a model whose numbers are too large for it: they are not worth the run."""
    try:
        return sampling.sample(model, _SAMPLED)
    except (RuntimeError, sampling.SamplingError):  # PyTorch's word for probabilities that are NaN, and ours
        return []


def _novelty(words: list[str], corpus: Corpus, settings: WordSettings) -> Novelty:
    train, _, test = map(set, split_words(corpus.words, settings.split_seed))
    alone = test - train
    return Novelty(len(words), sum(word in train for word in words), sum(word in alone for word in words))
