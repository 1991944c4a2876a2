"""Beside makemore's own models, rebuilt of PyTorch's modules: from the same weights and batches come the same losses.

The Transformer has makemore's sizes; BACKPROOF_MAKEMORE_STEPS says for how many steps (the first 60 without it).
"""

from __future__ import annotations

import os
from typing import Any

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812

from backproof.engines.page import PageEngine
from backproof.models.registry import page
from backproof.text import read_corpus, split_whole_words, vocabulary_of
from backproof.training.word_settings import WordSettings

STEPS = int(os.environ.get("BACKPROOF_MAKEMORE_STEPS", "60"))


class Attention(nn.Module):
    def __init__(self, o: Any) -> None:
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(o.width, 3 * o.width), nn.Linear(o.width, o.width)
        self.heads = o.heads
        self.register_buffer("bias", torch.tril(torch.ones(o.block_size, o.block_size)))

    def forward(self, x: Tensor) -> Tensor:
        n, t, c = x.shape
        q, k, v = (each.view(n, t, self.heads, -1).transpose(1, 2) for each in self.c_attn(x).split(c, dim=2))
        att = q @ k.transpose(-2, -1) * (c // self.heads) ** -0.5
        att = att.masked_fill(self.get_buffer("bias")[:t, :t] == 0, float("-inf")).softmax(-1)
        return self.c_proj((att @ v).transpose(1, 2).reshape(n, t, c))


class Block(nn.Module):
    def __init__(self, o: Any) -> None:
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(o.width), Attention(o), nn.LayerNorm(o.width)
        self.c_fc, self.c_proj = nn.Linear(o.width, 4 * o.width), nn.Linear(4 * o.width, o.width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn(self.ln_1(x))
        return x + self.c_proj(F.gelu(self.c_fc(self.ln_2(x)), approximate="tanh"))


class Transformer(nn.Module):
    def __init__(self, o: Any, symbols: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(symbols, o.width), nn.Embedding(o.block_size, o.width)
        self.h = nn.ModuleList([Block(o) for _ in range(o.layers)])
        self.ln_f, self.lm_head = nn.LayerNorm(o.width), nn.Linear(o.width, symbols, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        h = self.wte(x) + self.wpe(torch.arange(x.shape[1]))
        for block in self.h:
            h = block(h)
        return self.lm_head(self.ln_f(h))

    def load(self, p: dict[str, Tensor]) -> None:
        put({"wte.weight": p["wte"], "wpe.weight": p["wpe"], "lm_head.weight": p["head_W"].T}, self)
        put({"ln_f.weight": p["lnf_gain"], "ln_f.bias": p["lnf_bias"]}, self)
        for k in range(len(self.h)):
            for ours, theirs in (("attn", "attn.c_attn"), ("proj", "attn.c_proj"), ("fc", "c_fc"), ("out", "c_proj")):
                put(linear(p, f"layer{k}_{ours}", f"h.{k}.{theirs}"), self)
            for ours, theirs in (("ln1", "ln_1"), ("ln2", "ln_2")):
                gain, bias = p[f"layer{k}_{ours}_gain"], p[f"layer{k}_{ours}_bias"]
                put({f"h.{k}.{theirs}.weight": gain, f"h.{k}.{theirs}.bias": bias}, self)


class Recurrent(nn.Module):
    """`RNN` with one of its two cells: all that was there before stands behind the symbol at hand."""

    def __init__(self, o: Any, symbols: int, gates: tuple[str, ...]) -> None:
        super().__init__()
        self.start = nn.Parameter(torch.zeros(1, o.hidden))
        self.wte, self.lm_head = nn.Embedding(symbols, o.width), nn.Linear(o.hidden, symbols)
        self.cells = nn.ModuleDict({gate: nn.Linear(o.width + o.hidden, o.hidden) for gate in gates})

    def cell(self, x: Tensor, h: Tensor) -> Tensor:
        if "z" not in self.cells:
            return torch.tanh(self.cells["only"](torch.cat([x, h], 1)))
        xh = torch.cat([x, h], 1)
        r, z = torch.sigmoid(self.cells["r"](xh)), torch.sigmoid(self.cells["z"](xh))
        hbar = torch.tanh(self.cells["h"](torch.cat([x, r * h], 1)))
        return (1 - z) * h + z * hbar

    def forward(self, x: Tensor) -> Tensor:
        h, hidden = self.start.expand(len(x), -1), []
        for i in range(x.shape[1]):
            h = self.cell(self.wte(x)[:, i], h)
            hidden.append(h)
        return self.lm_head(torch.stack(hidden, 1))

    def load(self, p: dict[str, Tensor]) -> None:
        put({"start": p["start"], "wte.weight": p["wte"]} | linear(p, "head", "lm_head"), self)
        for gate in self.cells:
            ours = gate.removeprefix("only")
            put({f"cells.{gate}.weight": p[f"W{ours}"].T, f"cells.{gate}.bias": p[f"b{ours}"]}, self)


class BagOfWords(nn.Module):
    def __init__(self, o: Any, symbols: int) -> None:
        super().__init__()
        self.wte, self.wpe = nn.Embedding(symbols, o.width), nn.Embedding(o.block_size, o.width)
        self.c_fc, self.c_proj = nn.Linear(o.width, o.hidden), nn.Linear(o.hidden, o.width)
        self.lm_head = nn.Linear(o.width, symbols)

    def forward(self, x: Tensor) -> Tensor:
        t = x.shape[1]
        h = self.wte(x) + self.wpe(torch.arange(t))
        att = torch.zeros(len(x), t, t).masked_fill(torch.tril(torch.ones(t, t)) == 0, float("-inf")).softmax(-1)
        h = h + att @ h  # CausalBoW
        return self.lm_head(h + self.c_proj(torch.tanh(self.c_fc(h))))

    def load(self, p: dict[str, Tensor]) -> None:
        put({"wte.weight": p["wte"], "wpe.weight": p["wpe"]}, self)
        put(linear(p, "fc", "c_fc") | linear(p, "out", "c_proj") | linear(p, "head", "lm_head"), self)


class Bigram(nn.Module):
    def __init__(self, o: Any, symbols: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(symbols, symbols))

    def forward(self, x: Tensor) -> Tensor:
        return self.logits[x]

    def load(self, p: dict[str, Tensor]) -> None:
        put({"logits": p["W"]}, self)


def linear(p: dict[str, Tensor], ours: str, theirs: str) -> dict[str, Tensor]:
    return {f"{theirs}.weight": p[f"{ours}_W"].T, f"{theirs}.bias": p[f"{ours}_b"]}


def put(weights: dict[str, Tensor], model: nn.Module) -> None:
    with torch.no_grad():
        for name, tensor in weights.items():
            model.get_parameter(name).copy_(tensor)


def difference(theirs: Any, settings: WordSettings) -> float:
    """The largest difference between our losses and theirs, whose parameters begin as ours."""
    corpus = read_corpus()
    vocabulary = vocabulary_of(corpus.words)
    words = split_whole_words(corpus.words, vocabulary, settings.block_size, settings.split_seed).train
    ours, generator = page(settings.model), Generator().manual_seed(1)
    initial = ours.initial(settings.options, len(vocabulary), generator)
    shapes = {name: torch.Size(tensor.shape) for name, tensor in initial.items()}
    model = theirs(settings.options, len(vocabulary))
    assert sum(each.numel() for each in model.parameters()) == sum(shape.numel() for shape in shapes.values())
    model.load(initial)

    indices = torch.randint(0, len(words), (settings.steps, settings.batch_size), generator=generator)
    engine = PageEngine(ours, settings.options, initial, words, settings.make_steps())
    got = engine.run(indices, settings.rates())
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-4, weight_decay=0.01, betas=(0.9, 0.99), eps=1e-8)
    wanted = []
    for row in indices:
        x, y = map(torch.from_numpy, words.batch(row.numpy()))
        loss = F.cross_entropy(model(x).flatten(0, 1), y.flatten(), ignore_index=-1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        wanted.append(loss.item())
    assert wanted[-1] < wanted[0]
    return float((got - torch.tensor(wanted)).abs().max())


def test_the_transformer_learns_as_makemores():
    settings = WordSettings(steps=STEPS)
    o = settings.options
    assert (o.layers, o.heads, o.width, o.block_size, settings.batch_size) == (4, 4, 64, 16, 32)
    found = difference(Transformer, settings)
    print(f"{STEPS} steps: losses differ by at most {found:.2g}")
    assert found < 1e-4


@pytest.mark.parametrize(
    ("name", "theirs", "sizes"),
    [
        ("rnn", lambda o, symbols: Recurrent(o, symbols, ("only",)), {"width": 8, "hidden": 9}),
        ("gru", lambda o, symbols: Recurrent(o, symbols, ("r", "z", "h")), {"width": 8, "hidden": 9}),
        ("bag-of-words", BagOfWords, {"width": 8, "hidden": 9}),
        ("bigram", Bigram, {}),
    ],
)
def test_its_sisters_learn_as_makemores(name: str, theirs: Any, sizes: dict[str, int]):
    options = page(name).Options(**sizes)
    assert difference(theirs, WordSettings(steps=30, batch_size=8, model=name, options=options)) < 1e-5
