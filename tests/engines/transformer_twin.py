"""The Transformer once more, in PyTorch, cell by cell in float64: what the native engine is compared with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LAYER = 12  # parameters of a layer


@dataclass(frozen=True)
class Sizes:
    symbols: int
    width: int
    layers: int
    heads: int
    block: int

    def shapes(self) -> list[tuple[int, ...]]:
        v, w, t = self.symbols, self.width, self.block
        layer = [(w,), (w,), (w, 3 * w), (3 * w,), (w, w), (w,), (w,), (w,), (w, 4 * w), (4 * w,), (4 * w, w), (w,)]
        return [(v, w), (t, w), *(layer * self.layers), (w,), (w,), (w, v)]


def make_parameters(sizes: Sizes, seed: int = 1, scale: float = 1.0) -> list[np.ndarray]:
    """Far from the start of a training: no gain is 1, no bias 0."""
    draw = np.random.default_rng(seed)
    made = []
    for shape in sizes.shapes():
        fan = shape[0] if len(shape) == 2 else 25
        made.append((scale * draw.standard_normal(shape) / np.sqrt(fan) + (len(shape) == 1) * 0.5).astype(np.float32))
    return made


def make_words(sizes: Sizes, count: int = 60, longest: int | None = None, seed: int = 2) -> list[list[int]]:
    """Words that begin alike, words that occur twice, an empty one and some longer than the block."""
    draw = np.random.default_rng(seed)
    longest = longest or sizes.block + 4
    words = [[], [1], [1] * longest]
    while len(words) < count:
        start = words[draw.integers(len(words))]
        word = start[: draw.integers(len(start) + 1)]
        word = word + draw.integers(1, sizes.symbols, draw.integers(0, longest - len(word) + 1)).tolist()
        words.append(word)
    return words


def stream_of(words: list[list[int]], dtype: type = np.uint8) -> tuple[np.ndarray, np.ndarray]:
    stream = np.array([symbol for word in words for symbol in [*word, 0]], dtype=dtype)
    return stream, np.cumsum([0, *(len(word) + 1 for word in words)]).astype(np.int64)


def cells_of(words: list[list[int]], block: int) -> tuple[Tensor, Tensor]:
    """Inputs and targets (words, block), with -1 as the target of a cell that does not exist."""
    inputs = torch.zeros(len(words), block, dtype=torch.long)
    targets = torch.full((len(words), block), -1)
    for i, word in enumerate(words):
        cells = min(len(word) + 1, block)
        inputs[i, :cells] = torch.tensor([0, *word])[:cells]
        targets[i, :cells] = torch.tensor([*word, 0])[:cells]
    return inputs, targets


def loss_of(sizes: Sizes, parameters: list[Tensor], words: list[list[int]]) -> Tensor:
    w, heads = sizes.width, sizes.heads
    inputs, targets = cells_of(words, sizes.block)
    batch, block = inputs.shape
    ahead = torch.ones(block, block, dtype=torch.bool).triu(1)
    x = parameters[0][inputs] + parameters[1]
    for layer in range(sizes.layers):
        first = 2 + LAYER * layer
        g1, c1, attn_w, attn_b, proj_w, proj_b, g2, c2, fc_w, fc_b, out_w, out_b = parameters[first : first + LAYER]
        qkv = functional.layer_norm(x, (w,), g1, c1) @ attn_w + attn_b
        q, k, v = (part.view(batch, block, heads, -1).transpose(1, 2) for part in qkv.split(w, -1))
        scores = (q @ k.mT / (w // heads) ** 0.5).masked_fill(ahead, -torch.inf)
        x = x + (scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, block, w) @ proj_w + proj_b
        inner = functional.layer_norm(x, (w,), g2, c2) @ fc_w + fc_b
        x = x + functional.gelu(inner, approximate="tanh") @ out_w + out_b
    gain, bias, head = parameters[-3:]
    logits = functional.layer_norm(x, (w,), gain, bias) @ head
    return functional.cross_entropy(logits.view(-1, sizes.symbols), targets.view(-1), ignore_index=-1)


def leaves(parameters: list[np.ndarray]) -> list[Tensor]:
    return [torch.tensor(parameter, dtype=torch.float64, requires_grad=True) for parameter in parameters]


def loss_and_gradients(
    sizes: Sizes, parameters: list[np.ndarray], words: list[list[int]]
) -> tuple[float, list[np.ndarray]]:
    twin = leaves(parameters)
    loss = loss_of(sizes, twin, words)
    return loss.item(), [gradient.numpy() for gradient in torch.autograd.grad(loss, twin)]
