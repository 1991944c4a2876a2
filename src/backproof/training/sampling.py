"""New words: one symbol after the other, drawn with the probabilities that the model gives it."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from backproof.models import mlp
from backproof.training.model import TrainedModel

SAMPLING_SEED = 2147483647 + 10  # of the published notebooks
MOST = 10**6  # words, which are all made before the first is shown; it takes minutes
LONGEST = 200  # a model that was hardly trained may never come to an end


class SamplingError(ValueError):
    """A request that cannot be sampled; the message says what to change."""


def sample(
    model: TrainedModel,
    count: int = 20,
    seed: int = SAMPLING_SEED,
    start: str = "",
    temperature: float = 1.0,
) -> list[str]:
    """`count` words that begin with `start`, cut off at 200 symbols.

    `temperature` divides the logits: below 1 the likely symbols get likelier, above 1 the unlikely ones.
    Raises SamplingError for symbols that the model does not know and for numbers out of range.
    """
    if not 0 <= count <= MOST:
        raise SamplingError(f"--count is {count}; it has to be from 0 to {MOST}.")
    if not 0 < temperature < float("inf"):
        raise SamplingError(f"--temperature is {temperature}; it has to be greater than 0 (1 changes nothing).")
    if not 0 <= seed < 2**63:
        raise SamplingError(f"--seed is {seed}; it has to be from 0 to 2**63 - 1.")
    numbers = {symbol: number for number, symbol in enumerate(model.symbols)}
    prefix = [numbers.get(symbol, 0) for symbol in start]
    if 0 in prefix:
        raise SamplingError(
            f"--start holds {start[prefix.index(0)]!r}, which no word of the training text holds; "
            f"use only the symbols {_shown(model.symbols[1:])}."
        )
    generator = Generator().manual_seed(seed)
    with torch.inference_mode():
        return [_word(model, prefix, temperature, generator) for _ in range(count)]


def _word(model: TrainedModel, prefix: list[int], temperature: float, generator: Generator) -> str:
    block = model.shape.block_size
    word = list(prefix)
    while len(word) < LONGEST:
        context = ([0] * block + word)[-block:]
        logits = mlp.predict(model.parameters, model.statistics, torch.tensor([context]))
        probs = _probabilities(logits, temperature)
        symbol = int(torch.multinomial(probs, 1, generator=generator).item())
        if symbol == 0:
            break
        word.append(symbol)
    return "".join(model.symbols[number] for number in word)


def _probabilities(logits: Tensor, temperature: float) -> Tensor:
    scaled = logits / temperature
    if scaled.isfinite().all():
        return scaled.softmax(1)
    if not logits.isfinite().all():
        raise SamplingError("The model's logits are not finite; train it again with a smaller --lr.")
    return (logits == logits.max()).float()  # so low a temperature that only the likeliest symbols are left


def _shown(symbols: tuple[str, ...]) -> str:
    return "".join(symbols) if len(symbols) <= 60 else "".join(symbols[:60]) + "..."
