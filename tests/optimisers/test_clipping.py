import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from backproof.optimisers.clipping import clip
from backproof.optimisers.options import OptimiserError


def some_gradients(scale: float, dtype: torch.dtype) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    shapes = {"W": (5, 7), "b": (7,), "s": (), "T": (2, 3, 4)}
    return {name: scale * torch.randn(s, generator=generator, dtype=dtype) for name, s in shapes.items()}


def by_pytorch(gradients: dict[str, Tensor], most: float) -> tuple[dict[str, Tensor], Tensor]:
    parameters = {name: torch.zeros_like(g) for name, g in gradients.items()}
    for name, p in parameters.items():
        p.grad = gradients[name].clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters.values(), most)
    return {name: p.grad for name, p in parameters.items() if p.grad is not None}, norm


@given(st.floats(0, 1e6), st.floats(1e-6, 1e6), st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=80, deadline=None)
def test_clipping_is_pytorchs(scale: float, most: float, dtype: torch.dtype):
    gradients = some_gradients(scale, dtype)
    theirs, their_norm = by_pytorch(gradients, most)
    tolerance = 10 * torch.finfo(dtype).eps
    assert torch.allclose(clip(gradients, most), their_norm, rtol=tolerance, atol=0)
    assert all(torch.allclose(g, theirs[name], rtol=tolerance, atol=1e-45) for name, g in gradients.items())


def test_long_gradients_are_made_as_long_as_they_may_be_in_place():
    gradients = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([[4.0]])}
    a = gradients["a"]
    with torch.inference_mode():
        assert clip(gradients, 1.0).item() == 5
    assert gradients["a"] is a
    assert a.tolist() == pytest.approx([0.6, 0]) and gradients["b"].item() == pytest.approx(0.8)


@pytest.mark.parametrize("scale", [0.0, 1.0])
def test_gradients_that_are_short_enough_keep_their_bits(scale: float):
    gradients = some_gradients(scale, torch.float32)
    clip(gradients, 1e3)
    assert all(torch.equal(g, gradients[name]) for name, g in some_gradients(scale, torch.float32).items())


def test_what_is_not_finite_is_seen_in_the_norm_and_not_hidden():
    gradients = {"a": torch.tensor([1.0, torch.inf]), "b": torch.tensor([1.0])}
    assert clip(gradients, 1.0).isinf()
    assert gradients["a"].isnan().any()


@pytest.mark.parametrize(
    ("most", "message"),
    [(0.0, "--clip is 0.0; it has to be at least 1e-06."), (float("nan"), "--clip is nan; it has to be a number.")],
)
def test_a_norm_that_makes_no_sense(most: float, message: str):
    gradients = some_gradients(1.0, torch.float32)
    with pytest.raises(OptimiserError) as error:
        clip(gradients, most)
    assert str(error.value) == message
