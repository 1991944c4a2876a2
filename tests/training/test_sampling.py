import pytest
import torch

from backproof.experiment import Result
from backproof.models import bigram, mlp
from backproof.training.model import TrainedModel
from backproof.training.sampling import LONGEST, MOST, SamplingError, sample
from backproof.training.word_model import WordModel


def test_the_same_seed_gives_the_same_words(small_result: Result):
    model = small_result.model
    assert sample(model) == sample(model) == list(small_result.samples)
    assert len(sample(model)) == 20
    assert sample(model, seed=1) != sample(model, seed=2)
    assert sample(model, count=3) == sample(model)[:3]
    assert sample(model, count=0) == []


def test_words_are_made_of_known_symbols_and_begin_as_asked(small_result: Result):
    words = sample(small_result.model, start="mi")
    assert all(word.startswith("mi") for word in words)
    assert set("".join(words)) <= set(small_result.model.symbols[1:])


def one_answer(symbol: int) -> TrainedModel:
    """A model that always gives the same symbol, whatever came before."""
    shape = mlp.Shape(3, 2, 1, 1)
    zeros = mlp.Parameters(*(torch.zeros_like(t) for t in mlp.initial_parameters(shape)))
    b2 = torch.full((3,), -1e4)
    b2[symbol] = 0
    ones = mlp.Statistics(torch.zeros(1, 1), torch.ones(1, 1))
    return TrainedModel(shape, (".", "a", "b"), zeros._replace(b2=b2), ones)


def test_a_word_ends_at_the_dot_or_at_the_limit():
    assert sample(one_answer(0), count=2, start="ab") == ["ab", "ab"]
    assert sample(one_answer(2), count=1, start="a") == ["a" + "b" * (LONGEST - 1)]


def test_a_low_temperature_takes_the_likeliest_symbol():
    model = one_answer(0)
    model = TrainedModel(
        model.shape, model.symbols, model.parameters._replace(b2=torch.tensor([1.0, 0.9, 0.0])), model.statistics
    )
    assert sample(model, count=50, temperature=1e-3) == [""] * 50
    assert any(sample(model, count=50, temperature=10.0))


@pytest.mark.parametrize("temperature", [1e-40, 1e-300, 5e-324, 1e300])
def test_a_temperature_that_float32_cannot_divide_by(small_result: Result, temperature: float):
    words = sample(small_result.model, count=5, temperature=temperature)
    if temperature < 1:
        assert words == sample(small_result.model, count=5, temperature=1e-7)
    assert sample(one_answer(2), count=1, start="a", temperature=min(temperature, 1.0)) == ["a" + "b" * (LONGEST - 1)]


def test_a_model_that_cannot_be_drawn_from():
    model = one_answer(0)
    endless = model.parameters._replace(b2=torch.tensor([torch.inf, 0.0, 0.0]))
    with pytest.raises(SamplingError, match=r"The model's logits are not finite; train it again with a smaller --lr\."):
        sample(TrainedModel(model.shape, model.symbols, endless, model.statistics))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"start": "m?"}, r"--start holds '\?', which no word of the training text holds; use only the symbols "),
        ({"start": "a."}, r"--start holds '\.'"),
        ({"temperature": 0.0}, r"--temperature is 0\.0; it has to be greater than 0"),
        ({"temperature": float("nan")}, "--temperature is nan"),
        ({"count": -1}, "--count is -1; it has to be from 0 to 1000000"),
        ({"count": MOST + 1}, "--count is 1000001; it has to be from 0 to 1000000"),
        ({"seed": -1}, "--seed is -1; it has to be from 0"),
    ],
)
def test_requests_that_cannot_be_sampled(small_result: Result, request_: dict, message: str):
    with pytest.raises(SamplingError, match=message):
        sample(small_result.model, **request_)


def letters(*logits: float, block_size: int = 6) -> WordModel:
    """A bigram that gives `.`, a, b, c the same chances whatever came before."""
    options = bigram.Options(block_size=block_size)
    return WordModel("bigram", options, tuple(".abc"), {"W": torch.tensor(logits, dtype=torch.float32).repeat(4, 1)})


def test_words_side_by_side_end_at_the_dot_or_with_the_block():
    assert sample(letters(9e3, 0, 0, 0), count=2, start="ab") == ["ab", "ab"]
    assert sample(letters(0, 9e3, 0, 0), count=2, start="b") == ["b" + "a" * 5] * 2
    assert sample(letters(0, 9e3, 0, 0, block_size=1), count=1) == ["a"]
    assert sample(letters(0, 9e3, 0, 0, block_size=1000), count=1) == ["a" * LONGEST]
    assert set(sample(letters(0, 0, 0, 0), count=500)) >= {"", "a", "b", "c", "ab"}


def test_a_seed_decides_the_words_of_more_than_one_batch():
    model = letters(1, 1, 1, 1)
    words = sample(model, count=600, seed=5)
    assert len(words) == 600 and words == sample(model, count=600, seed=5) != sample(model, count=600, seed=6)
    assert words[:256] != words[256:512]
    assert sample(model, count=0) == []


def test_top_k_draws_among_the_likeliest_alone():
    model = letters(3, 2, 1, 0)
    assert set("".join(sample(model, count=200, top_k=2))) == {"a"}
    assert set("".join(sample(model, count=200, top_k=3))) == {"a", "b"}
    assert sample(model, count=3, top_k=1) == [""] * 3
    assert sample(model, top_k=4) == sample(model, top_k=10**30) == sample(model)


@pytest.mark.parametrize("temperature", [5e-324, 1e-40, 1e40, 1e300])
@pytest.mark.parametrize("top_k", [0, 2])
def test_temperatures_beyond_float32_draw_as_those_within(temperature: float, top_k: int):
    model = letters(3, 2, 1, 0)
    nearest = 1e-6 if temperature < 1 else 1e6
    wanted = sample(model, count=50, temperature=nearest, top_k=top_k)
    assert sample(model, count=50, temperature=temperature, top_k=top_k) == wanted
    if temperature > 1:  # every symbol that is left is as likely as any other
        assert set("".join(wanted)) == (set("a") if top_k else set("abc"))


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"start": "abcabc"}, r"--start has 6 symbols; this model can go on after 5 at most\."),
        ({"start": "a" * 500}, r"--start has 500 symbols; this model can go on after 5 at most\."),
        ({"start": "x"}, r"--start holds 'x'"),
        ({"top_k": -1}, "--top-k is -1; it has to be at least 0"),
    ],
)
def test_requests_to_a_model_of_whole_words(request_: dict, message: str):
    with pytest.raises(SamplingError, match=message):
        sample(letters(0, 0, 0, 0), **request_)


def test_a_model_of_whole_words_that_cannot_be_drawn_from():
    with pytest.raises(SamplingError, match="logits are not finite"):
        sample(letters(0, float("nan"), 0, 0))
