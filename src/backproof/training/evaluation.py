"""What a model has learnt: batch normalisation is calibrated, then losses are measured example by example."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backproof.engines import ExampleSource
from backproof.engines.eager import threads_for
from backproof.engines.page import work_a_word
from backproof.engines.protocol import WordSource
from backproof.models import mlp
from backproof.models.mlp import Parameters, Statistics
from backproof.models.protocol import Model
from backproof.rules import cross_entropy, masked_cross_entropy
from backproof.shapes import Contexts, Targets

_EXAMPLES_AT_ONCE = 8192  # bounds the memory, whatever the size of the split
_WORDS_AT_ONCE = 256  # what a layer makes of them stays in the cache of a core
_NUMBERS_AT_ONCE = 2**24  # and whatever the number of symbols or hidden units: 64 MiB a tensor


def calibrate(p: Parameters, examples: ExampleSource) -> Statistics:
    """Mean and unbiased variance of hprebn over all `examples`, accumulated in float64."""
    n = len(examples)
    total = torch.zeros_like(p.bngain, dtype=torch.float64)
    for x, _ in _batches(examples, p):
        total += mlp.hidden_preactivations(p, x).sum(0, dtype=torch.float64)
    mean = total / n
    squares = torch.zeros_like(mean)
    for x, _ in _batches(examples, p):
        squares += ((mlp.hidden_preactivations(p, x) - mean) ** 2).sum(0)
    return Statistics(mean.to(p.bngain.dtype), (squares / max(n - 1, 1)).to(p.bngain.dtype))


def mean_loss(p: Parameters, statistics: Statistics, examples: ExampleSource) -> float:
    """Cross-entropy in nats per example over all `examples`."""
    total = 0.0
    for x, y in _batches(examples, p):
        loss, _ = cross_entropy.forward(mlp.predict(p, statistics, x), y)
        total += loss.double().item() * len(y)
    return total / len(examples)


def mean_word_loss(page: Model, options: Any, p: Mapping[str, Tensor], words: WordSource) -> float:
    """Cross-entropy in nats per symbol over all `words`, their ends included."""
    widest = options.block_size * max(max(tensor.shape) for tensor in p.values())
    count = max(1, min(_WORDS_AT_ONCE, _NUMBERS_AT_ONCE // widest))
    total = cells = 0.0
    with torch.inference_mode(), threads_for(work_a_word(p, options), None):
        for start in range(0, len(words), count):
            x, y = map(torch.from_numpy, words.batch(np.arange(start, min(start + count, len(words)))))
            loss, _ = masked_cross_entropy.forward(page.predict(p, x, options), y)
            live = int((y >= 0).sum())
            total += loss.double().item() * live
            cells += live
    return total / cells


def _batches(examples: ExampleSource, p: Parameters) -> Iterator[tuple[Contexts, Targets]]:
    count = max(1, min(_EXAMPLES_AT_ONCE, _NUMBERS_AT_ONCE // p.widest))
    for start in range(0, len(examples), count):
        contexts, targets = examples.batch(np.arange(start, min(start + count, len(examples))))
        yield torch.from_numpy(contexts), torch.from_numpy(targets)
