import typing

import pytest
import torch
from jaxtyping import jaxtyped
from torch import Generator, Tensor

from backproof.models import mlp
from backproof.models.memory import NotEnoughMemoryError
from backproof.proof.network import prove_fused, prove_steps
from backproof.testing import assert_proved

SHAPES = [
    mlp.Shape(13, 3, 5, 11, 1), mlp.Shape(13, 3, 5, 11, 0), mlp.Shape(2, 1, 1, 1, 1),
    mlp.Shape(300, 5, 2, 17, 0), mlp.Shape(27, 8, 3, 64, 1),
]  # fmt: skip


def test_a_network_that_there_is_no_memory_for():
    with pytest.raises(NotEnoughMemoryError, match=r"^There is not enough memory for the network's parameters; "):
        mlp.initial_parameters(mlp.Shape(block_size=1024, embedding=65_535, hidden=2**20))


def minibatch(shape: mlp.Shape, n: int, seed: int = 3) -> tuple[Tensor, Tensor]:
    generator = Generator().manual_seed(seed)
    x = torch.randint(0, shape.symbols, (n, shape.block_size), generator=generator)
    return x, torch.randint(0, shape.symbols, (n,), generator=generator)


def in_dtype(p: mlp.Parameters, dtype: torch.dtype) -> mlp.Parameters:
    return mlp.Parameters(*(tensor.to(dtype) for tensor in p))


@pytest.mark.parametrize(("hidden", "count"), [(64, 4_137), (200, 12_297)])
def test_published_numbers_of_parameters(hidden: int, count: int):
    assert sum(tensor.numel() for tensor in mlp.initial_parameters(mlp.Shape(hidden=hidden))) == count


def test_initial_parameters_are_drawn_in_the_published_order():
    g = Generator().manual_seed(2147483647)
    p = mlp.initial_parameters(mlp.Shape(hidden=64))
    assert torch.equal(p.C, torch.randn((27, 10), generator=g))
    assert torch.equal(p.W1, torch.randn((30, 64), generator=g) * (5 / 3) / 30**0.5)
    assert torch.equal(p.b1, torch.randn(64, generator=g) * 0.1)
    assert torch.equal(p.W2, torch.randn((64, 27), generator=g) * 0.1)
    assert torch.equal(p.b2, torch.randn(27, generator=g) * 0.1)
    assert p.bngain.shape == p.bnbias.shape == (1, 64)
    assert 0.9 < p.bngain.mean() < 1.1
    assert all((tensor != 0).all() for tensor in p)


def test_gain_and_bias_have_a_seed_of_their_own():
    one, two = (mlp.initial_parameters(mlp.Shape(), affine_seed=seed) for seed in (1, 2))
    same = [torch.equal(a, b) for a, b in zip(one, two, strict=True)]
    assert same == [True] * 5 + [False] * 2


def test_initial_parameters_leave_the_generator_where_the_minibatches_begin():
    g = Generator().manual_seed(7)
    mlp.initial_parameters(mlp.Shape(hidden=64), g)
    h = Generator().manual_seed(7)
    for size in ((27, 10), (30, 64), (64,), (64, 27), (27,)):
        torch.randn(size, generator=h)
    assert torch.equal(torch.randint(0, 1000, (32,), generator=g), torch.randint(0, 1000, (32,), generator=h))


def test_the_26_gradients_and_their_order():
    assert len(mlp.GRADIENT_ORDER) == len(set(mlp.GRADIENT_ORDER)) == 26
    assert {*mlp.GRADIENT_ORDER, "loss"} == set(mlp.Steps._fields)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("n", "dtype"), [(2, torch.float32), (3, torch.float64), (33, torch.float32)], ids=str)
def test_every_gradient_is_proved_at_any_size(shape: mlp.Shape, n: int, dtype: torch.dtype):
    p = in_dtype(mlp.initial_parameters(shape, Generator().manual_seed(n)), dtype)
    x, y = minibatch(shape, n)
    steps, fused = (prove(p, x, y, shape.correction) for prove in (prove_steps, prove_fused))
    assert (len(steps.rows), len(fused.rows)) == (26, 12)
    assert_proved(steps)
    assert_proved(fused)


def test_steps_have_the_shapes_that_the_record_promises():
    shape = SHAPES[0]
    p = mlp.initial_parameters(shape, Generator().manual_seed(1))
    x, y = minibatch(shape, 7)
    values = mlp.forward_steps(p, x, y)
    gradients = mlp.backward_steps(values, x, y, torch.ones(()))
    hints = typing.get_type_hints(mlp.Steps)
    for record in (values, gradients):
        with jaxtyped("context"):
            for name, value in record._asdict().items():
                assert isinstance(value, hints[name]), name


def test_both_forward_passes_give_the_same_loss():
    for shape in SHAPES:
        p = in_dtype(mlp.initial_parameters(shape, Generator().manual_seed(1)), torch.float64)
        x, y = minibatch(shape, 9)
        loss, _ = mlp.forward(p, x, y, shape.correction)
        torch.testing.assert_close(loss, mlp.forward_steps(p, x, y, shape.correction).loss)


def test_prediction_with_a_batchs_own_statistics_is_the_forward_pass():
    shape = SHAPES[0]
    p = mlp.initial_parameters(shape, Generator().manual_seed(1))
    x, y = minibatch(shape, 9)
    steps = mlp.forward_steps(p, x, y)
    logits = mlp.predict(p, mlp.Statistics(steps.bnmeani, steps.bnvar), x)
    torch.testing.assert_close(logits, steps.logits)


@pytest.mark.parametrize("changes", [{"symbols": 0}, {"hidden": -1}, {"block_size": 0}, {"correction": 2}])
def test_shapes_that_make_no_network(changes: dict[str, int]):
    with pytest.raises(ValueError, match=next(iter(changes))):
        mlp.Shape(**changes)
