"""One forward pass with its graph, and one call of the backward function on copies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor

from backproof.proof.replays.pair_calls import UPSTREAM, Functions, run_backward, run_forward
from backproof.proof.replays.subject import Conditions
from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.modes import Watch
from backproof.proof.user.sizes import Size


class Layer(NamedTuple):
    h: Any
    n: Any
    y: Any


def forward(x: Tensor, w: Tensor) -> Layer:
    h = x * w
    return Layer(h, 3, h.exp())


def backward(v: Layer, dy: Tensor) -> dict[str, Tensor]:
    dh = dy * v.y
    return {"h": dh, "y": dy, "x": dh, "w": dh}


def inputs(n: int = 4) -> dict[str, Tensor]:
    return {"x": torch.rand(n), "w": torch.rand(n)}


FUNCTIONS = Functions(forward, backward, inputs)


def test_values_are_what_forward_returns_and_its_inputs() -> None:
    run = run_forward(FUNCTIONS)
    assert set(run.values) == {"h", "y", "x", "w"} and run.output == "y" and run.inputs == {"x", "w"}
    assert run.values["x"].requires_grad and run.values["x"].is_leaf and run.result is run.values["y"]
    assert not run.damage
    assert run_forward(FUNCTIONS, Conditions(dtype=torch.float64)).result.dtype is torch.float64
    assert run_forward(FUNCTIONS, Conditions(size=Size("size 7", inputs, 7, 7, 4))).result.shape == (7,)


def test_the_callers_tensors_are_copied() -> None:
    given = {"x": torch.ones(3), "w": torch.ones(3)}

    def writes(x: Tensor, w: Tensor) -> Layer:
        x.data.add_(1)
        return forward(x, w)

    run = run_forward(Functions(writes, backward, given))
    assert set(run.damage) == {"x"} and given["x"].tolist() == [1.0] * 3


def test_constants_and_integers_need_no_gradient() -> None:
    given = {"x": torch.ones(3), "w": torch.ones(3), "i": torch.arange(3)}

    def takes(x: Tensor, w: Tensor, i: Tensor) -> Layer:
        return forward(x + i, w)

    run = run_forward(Functions(takes, backward, given, constants=frozenset({"w"})))
    assert run.inputs == {"x"}
    with pytest.raises(CannotProveError, match="constants names 'v', and the inputs are x, w, i"):
        run_forward(Functions(takes, backward, given, constants=frozenset({"v"})))


def test_an_input_that_forward_returns_keeps_the_name_it_has_there() -> None:
    run = run_forward(Functions(lambda x: {"u": x, "y": x * 2}, backward, {"x": torch.ones(3)}))
    assert set(run.values) == {"u", "y"} and run.inputs == {"u"}


@pytest.mark.parametrize(
    ("returned", "output", "said"),
    [
        (lambda x: {"n": 3}, None, "forward returned no tensor under any name"),
        (lambda x: {"y": x * 2, "n": 3}, None, "'n' cannot be the output, since it is not a tensor"),
        (lambda x: {"y": x * 2}, "z", "'z' cannot be the output, since there is no tensor of that name"),
        (lambda x: {"y": torch.arange(3)}, None, "its dtype is torch.int64 among|its dtype is torch.int64"),
        (lambda x: {"y": x.detach() * 2}, None, "The output 'y' does not depend on any floating-point input"),
        (lambda x: {"y": x * 2, "x": x}, None, "'x' is the last of forward's values, and an input"),
    ],
)
def test_what_cannot_be_the_output(returned: Callable, output: str | None, said: str) -> None:
    with pytest.raises(CannotProveError, match=said):
        run_forward(Functions(returned, backward, {"x": torch.ones(3)}, output))


def test_an_input_may_be_the_output_where_it_is_named() -> None:
    run = run_forward(Functions(lambda x: {"y": x * 2, "x": x}, backward, {"x": torch.ones(3)}, "x"))
    assert run.output == "x"


def test_backward_gets_copies_and_the_upstream_gradient_itself() -> None:
    seen: list[Tensor] = []

    def looks(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        seen.extend([v.h, dy])
        assert v.n == 3 and not torch.is_grad_enabled() and not v.h.requires_grad
        return backward(v, dy)

    run, up = run_forward(FUNCTIONS), torch.ones(4)
    answer = run_backward(Functions(forward, looks, inputs), run, up)
    assert seen[1] is up and seen[0].data_ptr() != run.values["h"].data_ptr()
    assert torch.equal(seen[0], run.values["h"]) and set(answer.arguments) == {"h", "y", UPSTREAM}
    assert set(answer.gradients) == {"h", "y", "x", "w"} and not answer.damage


def test_a_backward_function_without_room_for_an_upstream_gradient() -> None:
    run = run_forward(FUNCTIONS)
    answer = run_backward(Functions(forward, lambda v: {"x": v.y, "w": v.y}, inputs), run, torch.ones(4))
    assert torch.equal(answer.gradients["x"], run.values["y"])  # pyright: ignore[reportArgumentType]


def test_damage_is_noted_watched_and_prevented() -> None:
    def writes(v: Layer, dy: Tensor) -> dict[str, Tensor]:
        dh = dy.mul_(v.y)
        v.h.add_(1)
        return {"h": dh, "x": dh, "w": dh}

    functions, run = Functions(forward, writes, inputs), run_forward(FUNCTIONS)
    assert set(run_backward(functions, run, torch.ones(4)).damage) == {"h", UPSTREAM}
    watch = Watch()
    run_backward(functions, run, torch.ones(4), watch)
    assert [write.target for write in watch.writes] == ["dh", None]
    spared = run_backward(functions, run, torch.ones(4), protect=True)
    assert not spared.damage and torch.equal(spared.gradients["h"], run.values["y"])  # pyright: ignore


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        ({"x": 1, "w": 1}, {"x", "w"}),
        ({"dx": 1, "dw": 1}, {"x", "w"}),
        ({"dx": 1, "w": 1}, {"x", "w"}),
        ({"x": 1}, {"x", "w"}),  # an input without one is missing
        ({"x": 1, "w": 1, "y": None, "n": None}, {"x", "w"}),  # the output needs none, a number neither
    ],
)
def test_gradients_under_the_names_of_values(returned: dict, names: set[str]) -> None:
    gradients = {name: None if one is None else torch.ones(4) for name, one in returned.items()}
    answer = run_backward(Functions(forward, lambda v, dy: gradients, inputs), run_forward(FUNCTIONS), torch.ones(4))
    assert set(answer.gradients) == names
    assert (answer.gradients["w"] is None) is ("w" not in returned and "dw" not in returned)


def test_a_value_that_is_called_like_a_gradient_is_not_taken_for_one() -> None:
    def forward(x: Tensor, dx: Tensor) -> dict[str, Tensor]:
        return {"y": x * dx}

    functions = Functions(forward, lambda v, dy: {"x": dy, "dx": 2 * dy}, {"x": torch.ones(2), "dx": torch.ones(2)})
    found = run_backward(functions, run_forward(functions), torch.ones(2)).gradients
    assert found["dx"] is not None and found["dx"].tolist() == [2.0, 2.0]


def test_none_says_nothing_of_how_gradients_are_called() -> None:
    """Of what is returned, only what is a gradient tells whether the names are the values' own."""

    def forward(x: Tensor, dx: Tensor) -> dict[str, Tensor]:
        return {"y": x * dx}

    given = {"x": torch.ones(2), "dx": torch.ones(2)}
    functions = Functions(forward, lambda v, dy: {"dx": dy, "dother": None}, given)
    found = run_backward(functions, run_forward(functions), torch.ones(2)).gradients
    assert found["dx"] is not None and found["x"] is None


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({"z": torch.ones(4)}, "a gradient called 'z', but forward has no value of that name"),
        ({"x": 1.0}, "backward returned a float for 'x'; a gradient is a tensor, or None"),
        (None, "backward must return named values"),
    ],
)
def test_what_is_no_gradient(returned: Any, said: str) -> None:
    with pytest.raises(CannotProveError, match=said):
        run_backward(Functions(forward, lambda v, dy: returned, inputs), run_forward(FUNCTIONS), torch.ones(4))


def test_a_sparse_gradient_is_its_numbers() -> None:
    sparse = torch.eye(4)[0].to_sparse()
    functions = Functions(forward, lambda v, dy: {"x": sparse, "w": dy}, inputs)
    found = run_backward(functions, run_forward(functions), torch.ones(4)).gradients["x"]
    assert found is not None and found.layout is torch.strided
