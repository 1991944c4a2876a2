"""A table of links: the forward pass from top to bottom, the backward pass from bottom to top, readers added up."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from backproof.models import chain
from backproof.models.chain import Link, link
from backproof.rules import linear, residual, tanh
from backproof.testing import assert_proved

LINKS = (
    link(linear, "a", "x", "W", "b"),
    link(tanh, "h", "a"),
    link(linear, "out", "h", "W", "b"),
    link(residual, "y", "out", "h"),
)
GIVEN = {
    name: torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    for seed, (name, shape) in enumerate({"x": (3, 5), "W": (5, 5), "b": (5,)}.items())
}


def forward(**given: Tensor) -> dict[str, Tensor]:
    return chain.forward_steps(LINKS, given, {})


def backward(values: dict[str, Tensor], dy: Tensor) -> dict[str, Tensor]:
    return chain.backward_steps(LINKS, values, {}, dy)


def test_what_has_several_readers_gets_the_sum_of_what_they_send():
    assert_proved(forward, backward, GIVEN)


def test_a_table_with_a_link_left_out_is_found():
    with pytest.raises(AssertionError, match="h"):
        assert_proved(forward, lambda values, dy: chain.backward_steps((*LINKS[:2], LINKS[3]), values, {}, dy), GIVEN)


def test_values_have_the_networks_names_in_the_order_of_the_table():
    assert list(forward(**GIVEN)) == ["x", "W", "b", "a", "h", "out", "y"]
    assert chain.parameters_of(LINKS) == ("x", "W", "b")


def test_what_nobody_reads_has_the_gradient_zero():
    links = (link(tanh, "unread", "x"), link(tanh, "y", "x"))
    values = chain.forward_steps(links, GIVEN, {})
    gradients = chain.backward_steps(links, values, {}, torch.ones(3, 5, dtype=torch.float64))
    assert not gradients["unread"].any()
    torch.testing.assert_close(gradients["x"], 1 - values["y"] ** 2)


def test_links_that_make_no_sense():
    with pytest.raises(ValueError, match=r"linear reads x, W, b, and got 2 names"):
        link(linear, "y", "x", "W")
    with pytest.raises(ValueError, match=r"tanh makes no inside"):
        link(tanh, "y", "x", inner={"inside": "z"})


def test_data_is_given_by_name_or_as_it_is():
    each = Link(tanh, ("x",), ("y",), {"targets": "Yb", "rate": 0.5})
    assert each.given({"Yb": "the targets"}) == {"targets": "the targets", "rate": 0.5}
