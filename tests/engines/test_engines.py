"""What every engine keeps to; a new one is added to the list of names and has to pass all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import torch
from torch import Generator, Tensor

from backproof.engines import Engine, EngineError, create, fused_is_built
from backproof.engines.eager import EagerEngine
from backproof.models import mlp
from backproof.models.memory import NotEnoughMemoryError
from backproof.text import Corpus, Examples, make_examples, vocabulary_of

if TYPE_CHECKING:
    from backproof.engines.fused import FusedEngine

ENGINES = ["eager", *(["fused"] if fused_is_built() else [])]
each_engine = pytest.mark.parametrize("name", ENGINES)


@pytest.fixture
def examples(small_corpus: Corpus) -> Examples:
    return make_examples(small_corpus.words, vocabulary_of(small_corpus.words), 2)


@pytest.fixture
def shape(small_corpus: Corpus) -> mlp.Shape:
    return mlp.Shape(len(vocabulary_of(small_corpus.words)), block_size=2, embedding=3, hidden=13)


def start(name: str, shape: mlp.Shape, examples: Examples) -> tuple[EagerEngine | FusedEngine, Tensor, Tensor]:
    generator = Generator().manual_seed(5)
    engine = create(name, shape, mlp.initial_parameters(shape, generator), examples)
    return engine, torch.randint(0, len(examples), (20, 7), generator=generator), torch.linspace(0.2, 0.01, 20).double()


def by_autograd(p: mlp.Parameters, examples: Examples, indices: Tensor, rates: Tensor, correction: int) -> tuple:
    """The same steps with the published forward pass and automatic differentiation."""
    losses = []
    for row, rate in zip(indices, rates, strict=True):
        x, y = map(torch.from_numpy, examples.batch(row.numpy()))
        leaves = mlp.Parameters(*(tensor.clone().requires_grad_() for tensor in p))
        loss = mlp.forward_steps(leaves, x, y, correction).loss
        gradients = torch.autograd.grad(loss, list(leaves))
        p = mlp.Parameters(*(t.detach() - rate.item() * g for t, g in zip(leaves, gradients, strict=True)))
        losses.append(loss.detach())
    return p, torch.stack(losses)


@each_engine
@pytest.mark.parametrize("correction", [0, 1])
def test_an_engine_takes_the_steps_that_autograd_takes(name: str, correction: int, shape, examples):
    shape = mlp.Shape(shape.symbols, shape.block_size, shape.embedding, shape.hidden, correction)
    engine, indices, rates = start(name, shape, examples)
    wanted, wanted_losses = by_autograd(engine.parameters(), examples, indices, rates, correction)
    losses = engine.run(indices, rates)
    assert losses.dtype == torch.float32
    torch.testing.assert_close(losses, wanted_losses)
    for field, got, want in zip(mlp.Parameters._fields, engine.parameters(), wanted, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5, msg=field)


@each_engine
def test_how_steps_are_grouped_makes_no_difference(name: str, shape, examples):
    whole, indices, rates = start(name, shape, examples)
    parts, _, _ = start(name, shape, examples)
    losses = whole.run(indices, rates)
    pieces = [parts.run(indices[a:b], rates[a:b]) for a, b in ((0, 1), (1, 8), (8, 20))]
    assert torch.equal(losses, torch.cat(pieces))
    assert all(map(torch.equal, whole.parameters(), parts.parameters()))


@each_engine
def test_parameters_are_copies_and_can_be_loaded_again(name: str, shape, examples):
    engine, indices, rates = start(name, shape, examples)
    before = engine.state()
    first = engine.run(indices, rates)
    after = engine.parameters()
    assert not torch.equal(before["W1"], after.W1)
    engine.load(before)
    assert torch.equal(engine.run(indices, rates), first)
    assert all(map(torch.equal, engine.parameters(), after))


@each_engine
def test_an_engine_does_not_touch_the_parameters_it_was_given(name: str, shape, examples):
    given = mlp.initial_parameters(shape)
    copy = mlp.Parameters(*(tensor.clone() for tensor in given))
    create(name, shape, given, examples).run(torch.zeros(3, 4, dtype=torch.int64), torch.ones(3).double())
    assert all(map(torch.equal, given, copy))


@each_engine
def test_the_number_of_threads_is_left_as_it_was(name: str, shape, examples):
    torch.set_num_threads(2)
    engine, indices, rates = start(name, shape, examples)
    engine.run(indices, rates)
    assert torch.get_num_threads() == 2


@each_engine
def test_losses_that_are_not_finite_are_seen(name: str, shape, examples):
    engine, indices, _ = start(name, shape, examples)
    losses = engine.run(indices, torch.full((20,), 1e38, dtype=torch.float64))
    assert not torch.isfinite(losses).all()


@each_engine
def test_an_engine_keeps_the_protocol(name: str, shape, examples):
    engine, _, _ = start(name, shape, examples)
    assert isinstance(engine, Engine)
    assert engine.name == name


def test_auto_takes_the_native_engine_where_it_is_built(shape, examples, monkeypatch):
    from backproof.engines import choose

    assert create("auto", shape, mlp.initial_parameters(shape), examples).name == ENGINES[-1]
    monkeypatch.setattr(choose, "fused_is_built", lambda: False)
    assert create("auto", shape, mlp.initial_parameters(shape), examples).name == "eager"
    with pytest.raises(EngineError, match="'fused' was not built with this installation; install again with a C"):
        create("fused", shape, mlp.initial_parameters(shape), examples)


@pytest.mark.skipif(not fused_is_built(), reason="the native engine is not built")
@pytest.mark.parametrize("name", ["fused", "auto"])
def test_an_instruction_set_that_is_not_there(name: str, shape, examples, monkeypatch):
    monkeypatch.setenv("BACKPROOF_ISA", "foo")
    with pytest.raises(
        EngineError, match=r"^BACKPROOF_ISA is 'foo', but .*; set it to one of these, or unset it .*\.$"
    ):
        create(name, shape, mlp.initial_parameters(shape), examples)
    assert create("eager", shape, mlp.initial_parameters(shape), examples).name == "eager"


class Endless:
    """Stands for tensors, arrays or a native object that there is no memory for."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def __getattr__(self, name: str):
        raise self.error


@each_engine
@pytest.mark.parametrize(
    ("kind", "text"),
    [(MemoryError, "std::bad_alloc"), (RuntimeError, "DefaultCPUAllocator: can't allocate memory: you tried to")],
)
def test_a_step_that_there_is_no_memory_for(name: str, kind: type, text: str, shape, examples, monkeypatch):
    engine, indices, rates = start(name, shape, examples)
    monkeypatch.setattr(engine, "_examples" if name == "eager" else "_trainer", Endless(kind(text)))
    with pytest.raises(NotEnoughMemoryError, match=r"^There is not enough memory for a training step; choose a "):
        engine.run(indices, rates)


@each_engine
def test_other_faults_of_a_step_stay_what_they_are(name: str, shape, examples, monkeypatch):
    engine, indices, rates = start(name, shape, examples)
    monkeypatch.setattr(engine, "_examples" if name == "eager" else "_trainer", Endless(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match=r"^a bug$"):
        engine.run(indices, rates)


def test_an_engine_that_does_not_exist(shape, examples):
    with pytest.raises(EngineError, match="There is no engine 'warp'; choose one of: auto, eager, fused"):
        create("warp", shape, mlp.initial_parameters(shape), examples)
