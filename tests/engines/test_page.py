"""The engine of whole words: its steps are PyTorch's own, and its state is all that they change."""

from math import inf
from typing import Any

import pytest
import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy

from backproof.engines import EngineError, fused_is_built
from backproof.engines import words as words_engine
from backproof.engines.page import PageEngine, Steps, begun
from backproof.engines.words import chosen
from backproof.models.registry import options_of, page
from backproof.optimisers.adamw import AdamW
from backproof.optimisers.protocol import Optimiser
from backproof.optimisers.sgd import SGD
from backproof.text import Corpus, WholeWords, vocabulary_of

STEPS = 6
SIZES: dict[str, dict[str, Any]] = {
    "rnn": {"block_size": 6, "width": 3, "hidden": 5},
    "transformer": {"block_size": 6, "width": 6, "heads": 2, "layers": 1, "dropout": 0.3},
}


@pytest.fixture
def words(small_corpus: Corpus) -> WholeWords:
    return WholeWords(vocabulary_of(small_corpus.words).encode(small_corpus.words), 6)


def initial(name: str) -> dict[str, Tensor]:
    model = page(name)
    return model.initial(model.Options(**SIZES[name]), 20, Generator().manual_seed(1))


def engine(words: WholeWords, name: str = "rnn", clip: float = inf, seed: int = 0) -> PageEngine:
    steps = Steps(AdamW(weight_decay=0.1, decays="all", beta2=0.99), clip)
    return PageEngine(page(name), page(name).Options(**SIZES[name]), initial(name), words, steps, seed)


def plan(words: WholeWords, steps: int = STEPS) -> tuple[Tensor, Tensor]:
    indices = torch.randint(0, len(words), (steps, 4), generator=Generator().manual_seed(2))
    return indices, torch.linspace(0.05, 0.01, steps, dtype=torch.float64)


def same(a: dict[str, Tensor], b: dict[str, Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(tensor, b[name]) for name, tensor in a.items())


def twin_loss(p: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
    h, rows = p["start"].expand(len(x), -1), []
    for symbols in x.T:
        h = torch.tanh(torch.cat([p["wte"][symbols], h], 1) @ p["W"] + p["b"])
        rows.append(h @ p["head_W"] + p["head_b"])
    return cross_entropy(torch.stack(rows, 1).flatten(0, 1), y.flatten(), ignore_index=-1)


@pytest.mark.parametrize("clip", [inf, 0.3])
def test_steps_are_those_of_pytorch(words: WholeWords, clip: float):
    p = {name: tensor.clone().requires_grad_() for name, tensor in initial("rnn").items()}
    theirs = torch.optim.AdamW(list(p.values()), lr=1.0, betas=(0.9, 0.99), weight_decay=0.1)
    ours = engine(words, clip=clip)
    indices, rates = plan(words)
    losses, clipped = ours.run(indices, rates), []
    for row, rate, got in zip(indices, rates.tolist(), losses, strict=True):
        theirs.param_groups[0]["lr"] = rate
        theirs.zero_grad()
        loss = twin_loss(p, *map(torch.from_numpy, words.batch(row.numpy())))
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(list(p.values()), clip)
        clipped.append(bool(norm > clip))
        theirs.step()
        torch.testing.assert_close(got, loss.detach(), rtol=1e-5, atol=1e-5)
    assert any(clipped) == (clip < inf)
    state = ours.state()
    for name, tensor in p.items():
        torch.testing.assert_close(state[name], tensor.detach(), rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("name", SIZES)
def test_how_steps_are_grouped_makes_no_difference(words: WholeWords, name: str):
    indices, rates = plan(words)
    one, other = engine(words, name), engine(words, name)
    whole = one.run(indices, rates)
    parts = [other.run(indices[some], rates[some]) for some in (slice(0, 1), slice(1, 4), slice(4, None))]
    assert torch.equal(whole, torch.cat(parts))
    assert same(one.state(), other.state())


@pytest.mark.parametrize("name", SIZES)
def test_a_state_put_back_gives_the_same_bits(words: WholeWords, name: str):
    indices, rates = plan(words)
    one = engine(words, name)
    one.run(indices[:3], rates[:3])
    kept = one.state()
    first, after = one.run(indices[3:], rates[3:]), one.state()
    other = engine(words, name, seed=9)
    for again in (one, other):
        again.load(kept)
        assert same(again.state(), kept)
        assert torch.equal(again.run(indices[3:], rates[3:]), first)
        assert same(again.state(), after)


def test_a_state_is_a_copy_and_knows_its_shapes_beforehand(words: WholeWords):
    ours = engine(words)
    state = ours.state()
    for tensor in state.values():
        tensor.zero_()
    assert not same(ours.state(), state)
    beforehand = begun({n: t.to("meta") for n, t in initial("rnn").items()}, Steps(AdamW()))
    shapes = {name: (tensor.shape, tensor.dtype) for name, tensor in beforehand.items()}
    assert shapes == {name: (tensor.shape, tensor.dtype) for name, tensor in ours.state().items()}


def test_dropout_is_drawn_from_the_seed(words: WholeWords):
    indices, rates = plan(words)
    one, same_seed, other = (engine(words, "transformer", seed=seed).run(indices, rates) for seed in (1, 1, 2))
    assert torch.equal(one, same_seed) and not torch.equal(one, other)


def engine_for(name: str, model: str, optimiser: Optimiser | None = None, **sizes: float) -> str:
    return chosen(name, model, options_of(model)(**sizes), Steps(optimiser or AdamW()))


def test_auto_takes_the_native_engine_where_that_can_train_the_model(monkeypatch):
    monkeypatch.setattr(words_engine, "fused_is_built", lambda: True)
    monkeypatch.setattr(words_engine, "chosen_for_windows", lambda name: "fused")
    assert engine_for("auto", "transformer") == engine_for("fused", "transformer") == "fused"
    assert engine_for("auto", "rnn") == engine_for("auto", "transformer", SGD()) == "eager"
    assert engine_for("auto", "transformer", dropout=0.1) == engine_for("eager", "transformer") == "eager"
    monkeypatch.setattr(words_engine, "fused_is_built", lambda: False)
    assert engine_for("auto", "transformer") == "eager"


def test_engines_that_are_not_there_are_refused_in_a_sentence(monkeypatch):
    monkeypatch.setattr(words_engine, "chosen_for_windows", lambda name: name)
    for lacking, given in (("--model rnn", ("rnn", None)), ("with --optimiser sgd", ("transformer", SGD()))):
        with pytest.raises(EngineError, match=f"'fused' cannot train {lacking}; choose --engine eager or auto"):
            engine_for("fused", *given)
    with pytest.raises(EngineError, match="'fused' cannot train with --dropout; choose --engine eager or auto"):
        engine_for("fused", "transformer", dropout=0.1)
    with pytest.raises(EngineError, match="There is no engine 'warp'; choose one of: auto, eager, fused"):
        engine_for("warp", "rnn")


@pytest.mark.skipif(not fused_is_built(), reason="the native engine is not built")
@pytest.mark.parametrize("clip", [float("inf"), 0.5])
def test_the_native_transformer_takes_the_same_steps(words: WholeWords, clip: float):
    indices, rates = plan(words)
    options, steps = options_of("transformer")(block_size=6, layers=2, heads=2, width=8), Steps(AdamW(beta2=0.99), clip)
    start = page("transformer").initial(options, 20, Generator().manual_seed(1))
    native, reference = (
        words_engine.create(name, "transformer", options, start, words, steps, threads=1) for name in ("fused", "eager")
    )
    torch.testing.assert_close(native.run(indices, rates), reference.run(indices, rates), rtol=1e-5, atol=1e-5)
    ours, theirs = native.state(), reference.state()
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if not name.endswith("attn_b"):  # whose part for the keys has no gradient but rounding, which AdamW scales up
            torch.testing.assert_close(tensor, theirs[name], rtol=1e-3, atol=1e-4, msg=name)
    native.load(ours)
    assert all(torch.equal(tensor, ours[name]) for name, tensor in native.state().items())
