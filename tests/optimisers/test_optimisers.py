"""Every optimiser beside PyTorch's own: each goes its own way, on gradients of its own parameters."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save
from torch import Tensor

from backproof.optimisers.adamw import AdamW
from backproof.optimisers.momentum import Momentum
from backproof.optimisers.options import OptimiserError
from backproof.optimisers.protocol import Optimiser
from backproof.optimisers.schedules import Cosine
from backproof.optimisers.sgd import SGD

# One that is no matrix but has two axes, one that has three, one that has none, and names that state has, too.
SHAPES = {"C": (7, 3), "gain": (1, 8), "m": (2, 3, 4), "v": (), "t": (5,)}
RATES = Cosine(lr=0.02, warmup=20).rates(0, 200, 200).tolist()
OPTIMISERS: list[Optimiser] = [
    SGD(),
    SGD(weight_decay=0.3, decays="all"),
    SGD(weight_decay=0.3),
    Momentum(),
    Momentum(momentum=0.99, weight_decay=0.3, decays="all"),
    Momentum(momentum=0.5, weight_decay=0.3),
    AdamW(),
    AdamW(weight_decay=0.0),
    AdamW(beta1=0.8, beta2=0.99, epsilon=1e-5, weight_decay=0.3, decays="all"),
    AdamW(beta1=0.0, beta2=0.95, weight_decay=0.3),
]


def numbers(*more: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(5)
    return {
        name: torch.randn((*more, *shape), generator=generator, dtype=torch.float64) for name, shape in SHAPES.items()
    }


NOISE = numbers(len(RATES))


def initial(dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {name: tensor.to(dtype) for name, tensor in numbers().items()}


def gradients_at(parameters: dict[str, Tensor], step: int) -> dict[str, Tensor]:
    """Of a bowl whose middle moves; large and tiny ones, and of a row none at all, as of a symbol that never comes."""
    gradients = {
        name: (p + NOISE[name][step].to(p.dtype)) * 10.0 ** (1 - 2 * number)
        for number, (name, p) in enumerate(parameters.items())
    }
    gradients["C"][3] = 0
    return gradients


def by_hand(
    optimiser: Optimiser, dtype: torch.dtype = torch.float64, rates: list[float] = RATES
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The parameters and the state after all steps."""
    parameters = initial(dtype)
    state = optimiser.begin(parameters)
    for step, lr in enumerate(rates):
        optimiser.step(parameters, gradients_at(parameters, step), state, lr)
    return parameters, state


def by_pytorch(
    optimiser: Optimiser, dtype: torch.dtype = torch.float64, rates: list[float] = RATES
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The same by `torch.optim`, where what decays and what does not are two groups; the state under our names."""
    parameters = initial(dtype)
    decays = [p for p in parameters.values() if optimiser.decays == "all" or p.ndim >= 2]
    others = [p for p in parameters.values() if not any(p is other for other in decays)]
    groups = [{"params": decays, "weight_decay": optimiser.weight_decay}, {"params": others, "weight_decay": 0.0}]
    theirs = torch_optimiser(optimiser, [group for group in groups if group["params"]])
    for step, lr in enumerate(rates):
        for name, gradient in gradients_at(parameters, step).items():
            parameters[name].grad = gradient
        for group in theirs.param_groups:
            group["lr"] = lr
        theirs.step()
    kept = {"momentum": {"momentum_buffer": "v"}, "adamw": {"exp_avg": "m", "exp_avg_sq": "v"}}.get(optimiser.name, {})
    state = {
        f"{optimiser.name}.{ours}.{name}": theirs.state[p][key]
        for key, ours in kept.items()
        for name, p in parameters.items()
        if key in theirs.state[p]  # without momentum there is none
    }
    return parameters, state


def torch_optimiser(optimiser: Optimiser, groups: list) -> torch.optim.Optimizer:
    if isinstance(optimiser, AdamW):
        return torch.optim.AdamW(groups, betas=(optimiser.beta1, optimiser.beta2), eps=optimiser.epsilon)
    return torch.optim.SGD(groups, momentum=optimiser.momentum if isinstance(optimiser, Momentum) else 0.0)


def difference(ours: dict[str, Tensor], theirs: dict[str, Tensor]) -> float:
    """The largest of any tensor, as a part of the largest number in it."""
    return max(
        float((ours[name] - tensor).abs().max() / tensor.abs().max().clamp(min=1e-300))
        for name, tensor in theirs.items()
    )


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=str)
def test_200_steps_are_those_of_pytorch(optimiser: Optimiser):
    ours, state = by_hand(optimiser)
    theirs, their_state = by_pytorch(optimiser)
    assert difference(ours, theirs) < 1e-12
    assert difference(ours, initial()) > 0.1  # they went somewhere
    assert state.keys() - {"adamw.t"} == their_state.keys()
    assert not their_state or difference(state, their_state) < 1e-12
    assert "adamw.t" not in state or state["adamw.t"].item() == 200


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=str)
def test_steps_in_float32_are_those_of_pytorch(optimiser: Optimiser):
    ours, state = by_hand(optimiser, torch.float32, RATES[:60])
    theirs, their_state = by_pytorch(optimiser, torch.float32, RATES[:60])
    assert all(tensor.dtype == torch.float32 for tensor in ours.values())
    assert difference(ours, theirs) < 1e-5
    assert not their_state or difference(state, their_state) < 1e-5


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        (SGD(weight_decay=0.3), SGD(weight_decay=0.3, decays="all")),
        (Momentum(), Momentum(momentum=0.901)),
        (Momentum(weight_decay=0.3), Momentum()),
        (AdamW(), AdamW(beta1=0.901)),
        (AdamW(), AdamW(beta2=0.9991)),
        (AdamW(), AdamW(epsilon=1.01e-8)),
        (AdamW(), AdamW(weight_decay=0.0101)),
        (AdamW(), AdamW(decays="all")),
    ],
    ids=str,
)
def test_another_option_is_another_result(right: Optimiser, wrong: Optimiser):
    assert difference(by_hand(wrong, rates=RATES[:60])[0], by_pytorch(right, rates=RATES[:60])[0]) > 1e-7


@given(
    st.sampled_from([0.0, 0.5, 0.9]),
    st.floats(0, 0.9999),
    st.floats(1e-12, 1e-2),
    st.floats(0, 1),
    st.sampled_from(["matrices", "all"]),
    st.floats(0, 0.5),
)
@settings(max_examples=15, deadline=None)
def test_options_of_all_kinds(momentum, beta2, epsilon, weight_decay, decays, lr):
    for optimiser in (
        SGD(weight_decay=weight_decay, decays=decays),
        Momentum(momentum=momentum, weight_decay=weight_decay, decays=decays),
        AdamW(beta1=momentum, beta2=beta2, epsilon=epsilon, weight_decay=weight_decay, decays=decays),
    ):
        rates = [lr * 0.01] * 3
        assert difference(by_hand(optimiser, rates=rates)[0], by_pytorch(optimiser, rates=rates)[0]) < 1e-12


def copied(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in tensors.items()}


def through_a_file(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return load(save(tensors))


@pytest.mark.parametrize("optimiser", OPTIMISERS[1::2], ids=str)
@pytest.mark.parametrize("kept", [copied, through_a_file])
def test_going_on_from_a_kept_state_gives_the_same_bits(
    optimiser: Optimiser, kept: Callable[[dict[str, Tensor]], dict[str, Tensor]]
):
    whole, whole_state = by_hand(optimiser, torch.float32)
    parameters, names = initial(torch.float32), set(SHAPES)
    with torch.inference_mode():  # as an engine steps, and with the same bits as outside of it
        state = optimiser.begin(parameters)
        parameters = copied(parameters)
        assert not names & state.keys()
        for step in range(90):
            optimiser.step(parameters, gradients_at(parameters, step), state, RATES[step])
        everything = kept({**parameters, **state})
        for step in range(90, 120):  # what comes after changes nothing of what was kept
            optimiser.step(parameters, gradients_at(parameters, step), state, RATES[step])
        parameters = {name: everything[name] for name in SHAPES}
        state = {name: tensor for name, tensor in everything.items() if name not in names}
        for step in range(90, len(RATES)):
            optimiser.step(parameters, gradients_at(parameters, step), state, RATES[step])
    assert state.keys() == whole_state.keys()
    assert all(torch.equal(parameters[name], whole[name]) for name in whole)
    assert all(torch.equal(state[name], whole_state[name]) for name in whole_state)


@pytest.mark.parametrize("optimiser", OPTIMISERS, ids=str)
def test_a_step_is_in_place_and_leaves_the_gradients_alone(optimiser: Optimiser):
    parameters = initial()
    state = optimiser.begin(parameters)
    gradients = gradients_at(parameters, 0)
    before, places = copied(gradients), [t.data_ptr() for t in (*parameters.values(), *state.values())]
    optimiser.step(parameters, gradients, state, 0.1)
    assert [t.data_ptr() for t in (*parameters.values(), *state.values())] == places
    assert len(set(places)) == len(places)
    assert all(torch.equal(gradients[name], before[name]) for name in before)


@pytest.mark.parametrize("optimiser", OPTIMISERS[3:], ids=str)
def test_the_state_can_be_saved_whatever_the_parameters_look_like(optimiser: Optimiser):
    parameters = {"W": torch.randn(3, 5).T, "V": torch.randn(4, 6)[:, ::2]}
    state = optimiser.begin(parameters)
    optimiser.step(parameters, {name: torch.randn(p.shape) for name, p in parameters.items()}, state, 0.1)
    assert all(tensor.is_contiguous() for tensor in state.values())
    assert load(save(state)).keys() == state.keys()


def test_at_a_steady_rate_momentum_is_polyaks():
    p = before = torch.tensor([4.0, -3.0], dtype=torch.float64)
    ours, curvature = {"p": p.clone()}, torch.tensor([1.0, 30.0], dtype=torch.float64)
    optimiser = Momentum(momentum=0.7)
    state = optimiser.begin(ours)
    for _ in range(50):
        p, before = p - 0.02 * (curvature * p) + 0.7 * (p - before), p
        optimiser.step(ours, {"p": curvature * ours["p"]}, state, 0.02)
        assert torch.allclose(ours["p"], p, rtol=0, atol=1e-14)


def test_the_first_step_of_adamw_is_as_long_as_the_rate():
    parameters = {"b": torch.zeros(3, dtype=torch.float64)}
    optimiser = AdamW()
    gradients = {"b": torch.tensor([1e6, -1e-3, 0], dtype=torch.float64)}
    optimiser.step(parameters, gradients, optimiser.begin(parameters), 0.1)
    assert parameters["b"].tolist() == pytest.approx([-0.1, 0.1, 0], rel=2e-5)


def unchecked(kind: type, **options: object) -> Any:
    """As where nobody checks types: here a call with a wrong one does not even begin."""
    made = object.__new__(kind)
    for name, value in (asdict(kind()) | options).items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made


@pytest.mark.parametrize(
    ("kind", "option", "value", "message"),
    [
        (SGD, "weight_decay", -1, "--weight-decay is -1; it has to be at least 0."),
        (SGD, "weight_decay", float("nan"), "--weight-decay is nan; it has to be a number."),
        (SGD, "weight_decay", "much", "--weight-decay is 'much'; it has to be a number."),
        (AdamW, "weight_decay", float("inf"), "--weight-decay is inf; it has to be at most 3.4e+38."),
        (AdamW, "decays", "biases", "--decays is 'biases'; it has to be matrices or all."),
        (AdamW, "decays", None, "--decays is None; it has to be matrices or all."),
        (AdamW, "beta1", 1, "--beta1 is 1; it has to be less than 1."),
        (AdamW, "beta2", -0.1, "--beta2 is -0.1; it has to be at least 0."),
        (AdamW, "beta2", True, "--beta2 is True; it has to be a number."),
        (AdamW, "epsilon", 0, "--epsilon is 0; it has to be at least 1e-30."),
        (Momentum, "momentum", 1.5, "--momentum is 1.5; it has to be less than 1."),
        (Momentum, "weight_decay", 10**400, "; it has to be at most 3.4e+38."),
    ],
)
def test_options_that_make_no_sense(kind: type, option: str, value: object, message: str):
    with pytest.raises(OptimiserError) as error:
        unchecked(kind, **{option: value})
    assert str(error.value).endswith(message)


def test_options_are_plain_numbers_and_can_be_replaced():
    optimiser = unchecked(AdamW, beta1=np.float32(0.5), weight_decay=1)
    assert type(optimiser.beta1) is type(optimiser.weight_decay) is float
    assert replace(optimiser, beta1=0.9) == AdamW(weight_decay=1.0)
