"""What two callables hold, paired: by tensor, by name, by numbers, and never where it is not clear."""

from __future__ import annotations

from collections.abc import Collection

import torch
from torch import Tensor, nn

from backproof.proof.user.carried import Paired, installed, paired
from backproof.proof.user.held import held_by

V = torch.arange(3.0)


def held(**tensors: Tensor) -> nn.Module:
    """A module with these as parameters."""
    module = nn.Module()
    for name, tensor in tensors.items():
        module.register_parameter(name, tensor if isinstance(tensor, nn.Parameter) else nn.Parameter(tensor.clone()))
    return module


def pairs(one: nn.Module, other: nn.Module, taken: Collection[str] = ()) -> Paired:
    return paired(held_by(one), held_by(other), taken)


def partners(found: Paired) -> dict[str, str]:
    mine, theirs = found.sides["function"].inputs, found.sides["reference"].inputs
    return {mine[name][0].name: theirs[name][0].name for name in found.values}


def test_the_same_tensor_is_paired_whatever_it_is_called() -> None:
    w = nn.Parameter(V)
    found = pairs(held(a=w, b=V + 1), held(b=w, a=V + 1))
    assert partners(found) == {"a": "b"} | {"b": "a"} and found.differing == ()
    assert found.values["a"] is w


def test_the_same_name_is_paired_with_other_numbers_too_and_that_is_said() -> None:
    found = pairs(held(a=V, b=V * 2), held(b=V * 2, a=V + 1))
    assert partners(found) == {"a": "a", "b": "b"} and found.differing == ("a",)
    assert torch.equal(found.values["a"], V)


def test_a_name_of_another_shape_is_not_paired() -> None:
    found = pairs(held(a=V), held(a=torch.ones(2)))
    assert not found.values
    assert (
        [spot.name for spot in found.sides["function"].own]
        == ["a"]
        == [spot.name for spot in found.sides["reference"].own]
    )


def test_the_variable_of_a_module_may_stand_before_the_name() -> None:
    mine, plain = held(w=V, b=V), held(w=V + 1, b=V + 1)
    found = paired(held_by(lambda: mine), held_by(plain), ())
    assert partners(found) == {"mine.w": "w", "mine.b": "b"}
    found = paired(held_by(lambda: mine), held_by(lambda: plain), ())
    assert partners(found) == {"mine.w": "plain.w", "mine.b": "plain.b"}
    both = paired(held_by(lambda: (mine, held)), held_by(lambda: [plain, Two()]), ())
    assert partners(both) == {"mine.b": "plain.b", "mine.w": "plain.w"}


class Two(nn.Module):
    pass


def test_the_same_numbers_are_paired_where_they_tell_something() -> None:
    assert partners(pairs(held(gain=V), held(scale=V))) == {"gain": "scale"}
    assert not pairs(held(gain=V), held(scale=V + 1)).values
    assert not pairs(held(gain=torch.ones(3)), held(scale=torch.ones(3))).values  # any initial gain looks so
    assert not pairs(held(gain=torch.tensor(2.0)), held(scale=torch.tensor(2.0))).values
    assert not pairs(held(gain=V), held(scale=V, other=V)).values  # which of them?


def test_names_that_arguments_have() -> None:
    assert list(pairs(held(x=V), held(x=V), ["x"]).values) == ["module.x"]
    assert list(pairs(held(x=V), held(x=V), ["x", "module.x"]).values) == ["x.2"]


def test_frozen_parameters_and_buffers_stay_each_sides_own() -> None:
    mine, plain = held(a=V, b=V), held(a=V, b=V)
    for module in (mine, plain):
        module.b.requires_grad_(False)
        module.register_buffer("mean", V.clone())
    found = pairs(mine, plain)
    assert list(found.values) == ["a"]
    assert {spot.name for spot in found.sides["function"].own} == {"b", "mean"}


def test_while_it_runs_a_module_holds_copies_in_the_dtype() -> None:
    mine, plain = nn.BatchNorm1d(3), nn.BatchNorm1d(3, affine=False)
    mine.bias.requires_grad_(False)
    found = pairs(mine, plain)
    assert not found.values
    stage, own = installed(found.sides["function"], {}, torch.float64)
    weight, state = mine.weight, {name: value.clone() for name, value in mine.state_dict().items()}
    with stage():
        assert mine.weight is own["weight"] and mine.weight.requires_grad and list(own) == ["weight"]
        assert mine.weight.dtype is mine.running_mean.dtype is mine.bias.dtype is torch.float64  # pyright: ignore
        assert mine.num_batches_tracked.dtype is torch.int64  # pyright: ignore
        mine(torch.rand(4, 3, dtype=torch.float64)).sum().backward()
    assert mine.weight is weight and weight.grad is None
    assert all(torch.equal(value, state[name]) for name, value in mine.state_dict().items())
    with stage():
        assert bool((mine.running_mean != 0).any())  # pyright: ignore


def test_leaves_are_held_in_every_place_of_a_tied_weight() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    net[1].weight = net[0].weight
    found = pairs(net, net)
    assert list(found.values) == ["0.weight", "0.bias", "1.bias"]
    leaf = torch.zeros(2, 2)
    with installed(found.sides["function"], {"0.weight": leaf}, None)[0]():
        assert net[0].weight is leaf and net[1].weight is leaf
