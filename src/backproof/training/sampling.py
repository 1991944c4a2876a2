"""New words: one symbol after the other, drawn with the probabilities that the model gives it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor

from backproof.engines.eager import threads_for
from backproof.engines.page import work_a_word
from backproof.models import mlp
from backproof.training.model import TrainedModel
from backproof.training.word_model import WordModel

SAMPLING_SEED = 2147483647 + 10  # of the published notebooks
MOST = 10**6  # words, which are all made before the first is shown; it takes minutes
LONGEST = 200  # a model that was hardly trained may never come to an end
_AT_ONCE = 256  # words of a model that reads whole words: bounds the memory


class SamplingError(ValueError):
    """A request that cannot be sampled; the message says what to change."""


def sample(
    model: TrainedModel | WordModel,
    count: int = 20,
    seed: int = SAMPLING_SEED,
    start: str = "",
    temperature: float = 1.0,
    top_k: int = 0,
) -> list[str]:
    """`count` words that begin with `start`, cut off at 200 symbols or where the model's block ends.

    `temperature` divides the logits: below 1 the likely symbols get likelier, above 1 the unlikely ones. `top_k` draws
    among so many likeliest symbols alone; 0: among all. Raises SamplingError for symbols that the model does not know
    and for numbers out of range.
    """
    if not 0 <= count <= MOST:
        raise SamplingError(f"--count is {count}; it has to be from 0 to {MOST}.")
    if not 0 < temperature < float("inf"):
        raise SamplingError(f"--temperature is {temperature}; it has to be greater than 0 (1 changes nothing).")
    if not 0 <= seed < 2**63:
        raise SamplingError(f"--seed is {seed}; it has to be from 0 to 2**63 - 1.")
    if top_k < 0:
        raise SamplingError(f"--top-k is {top_k}; it has to be at least 0 (0: all symbols).")
    numbers = {symbol: number for number, symbol in enumerate(model.symbols)}
    prefix = [numbers.get(symbol, 0) for symbol in start]
    if 0 in prefix:
        raise SamplingError(
            f"--start holds {start[prefix.index(0)]!r}, which no word of the training text holds; "
            f"use only the symbols {_shown(model.symbols[1:])}."
        )
    generator = Generator().manual_seed(seed)

    def drawn(logits: Tensor) -> Tensor:
        return torch.multinomial(_probabilities(_likeliest(logits, top_k), temperature), 1, generator=generator)[:, 0]

    with torch.inference_mode():
        if isinstance(model, TrainedModel):
            words = [_word(model, prefix, drawn) for _ in range(count)]
        else:
            some = [min(_AT_ONCE, count - at) for at in range(0, count, _AT_ONCE)]
            with threads_for(work_a_word(model.parameters, model.options), None):
                words = [word for each in some for word in _words(model, prefix, each, drawn)]
    return ["".join(model.symbols[number] for number in word) for word in words]


def _word(model: TrainedModel, prefix: list[int], drawn: Callable[[Tensor], Tensor]) -> list[int]:
    block = model.shape.block_size
    word = list(prefix)
    while len(word) < LONGEST:
        context = ([0] * block + word)[-block:]
        logits = mlp.predict(model.parameters, model.statistics, torch.tensor([context]))
        symbol = int(drawn(logits).item())
        if symbol == 0:
            break
        word.append(symbol)
    return word


def _words(model: WordModel, prefix: list[int], count: int, drawn: Callable[[Tensor], Tensor]) -> list[list[int]]:
    """Side by side, a symbol each at a time; a word that is over draws on, and nothing is made of it."""
    longest = min(LONGEST, model.options.block_size)
    if len(prefix) >= longest:
        raise SamplingError(f"--start has {len(prefix)} symbols; this model can go on after {longest - 1} at most.")
    contexts = torch.tensor([[0, *prefix]]).repeat(count, 1)
    over = torch.zeros(count, dtype=torch.bool)
    while contexts.shape[1] <= longest and not over.all():
        logits = model.page.predict(model.parameters, contexts, model.options)[:, -1]
        symbols = drawn(logits)
        over |= symbols == 0
        contexts = torch.cat([contexts, symbols[:, None]], 1)
    rows = ([*row[1:], 0] for row in contexts.tolist())
    return [row[: row.index(0)] for row in rows]


def _likeliest(logits: Tensor, top_k: int) -> Tensor:
    if not 0 < top_k < logits.shape[1]:
        return logits
    least = logits.topk(top_k, dim=1).values[:, -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def _probabilities(logits: Tensor, temperature: float) -> Tensor:
    if not (logits.isfinite() | logits.isneginf()).all():
        raise SamplingError("The model's logits are not finite; train it again with a smaller --lr.")
    scaled = logits / temperature
    if (
        scaled.isnan() & logits.isneginf()
    ).any():  # so high a temperature that float32 holds none of it, and -inf / inf is no number
        scaled = logits.where(logits.isneginf(), 0.0)
    if (scaled.isfinite() | logits.isneginf()).all():
        return scaled.softmax(1)
    return (logits == logits.amax(1, keepdim=True)).float()  # so low a temperature that only the likeliest are left


def _shown(symbols: tuple[str, ...]) -> str:
    return "".join(symbols) if len(symbols) <= 60 else "".join(symbols[:60]) + "..."
