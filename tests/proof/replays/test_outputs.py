"""What is returned: tensors by name, under the names of the reference."""

from __future__ import annotations

from typing import Any, NamedTuple

import pytest
import torch

from backproof.proof.replays.outputs import as_named, outputs_of
from backproof.proof.user.calls import CannotProveError


class Two(NamedTuple):
    a: Any
    b: Any


@pytest.mark.parametrize(
    ("returned", "names"),
    [
        (torch.ones(2), ["output"]),
        ((torch.ones(2), torch.ones(3)), ["output[0]", "output[1]"]),
        ([torch.ones(2), 5], ["output[0]"]),
        ((torch.ones(2), [torch.ones(1), (torch.ones(2),)]), ["output[0]", "output[1][0]", "output[1][1][0]"]),
        (Two([torch.ones(2)], {"k": torch.ones(1)}), ["a[0]", "b['k']"]),
        (Two(torch.ones(2), None), ["a"]),
        ({"u": torch.ones(2), "n": 3}, ["u"]),
    ],
)
def test_outputs_by_name(returned: Any, names: list[str]) -> None:
    assert list(outputs_of("function", returned)) == names


@pytest.mark.parametrize(("returned", "said"), [(5, "it returned a int"), ((1, 2), "there is none"), ({}, "is none")])
def test_what_returns_no_tensor(returned: Any, said: str) -> None:
    with pytest.raises(CannotProveError, match=said):
        outputs_of("function", returned)


@pytest.mark.parametrize(
    ("outputs", "names", "expected"),
    [
        ("ab", "ab", ["a", "b"]),
        ("ab", "b", ["a", "b"]),
        ("ab", "xy", ["x", "y"]),
        (["output[1]"], ["output"], ["output"]),
        (["output[0]", "output[1]"], ["loss"], ["loss", "output[1]"]),
        (["output[0]", "output[1]"], ["a", "b", "c"], ["output[0]", "output[1]"]),
        ("ab", "x", ["a", "b"]),  # which of them is meant?
    ],
)
def test_outputs_are_called_as_the_references(outputs: Any, names: Any, expected: list[str]) -> None:
    assert list(as_named(dict.fromkeys(outputs, torch.ones(1)), list(names))) == expected
