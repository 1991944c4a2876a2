"""What the first run leaves open is named."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from backproof.proof.replays.kernel import Kernel
from backproof.proof.replays.kernel_calls import KernelTrial
from backproof.proof.replays.subject import FIRST
from backproof.proof.replays.unjudged import notes_on

KEPT, OTHER = torch.ones(3, requires_grad=True), torch.full((3,), 2.0)


def inputs(n: int = 4) -> tuple[Tensor]:
    return (torch.randn(n, 3),)


def tried(function: Any, reference: Any, **options: Any) -> KernelTrial:
    return Kernel(function, reference, inputs, **options).tried(FIRST)


def test_a_leaf_of_one_side_gets_a_row_of_its_own() -> None:
    trial = tried(lambda x: x * KEPT, lambda x: x * OTHER / 2)
    row = next(row for row in trial.rows if row.name == "KEPT")
    assert not row.culprit and row.gradient == "dKEPT"
    assert row.message.splitlines()[1] == "  next: let function and reference hold one tensor, or two of one name"


def test_a_replay_says_nothing_of_it_again() -> None:
    kernel = Kernel(lambda x: x * KEPT, lambda x: x * OTHER / 2, inputs)
    assert "KEPT" not in {row.name for row in kernel.tried(FIRST, set()).rows}


def test_leaves_without_a_name_are_told_apart() -> None:
    class Slots:
        __slots__ = ("a",)

    kept = Slots()
    kept.a = [torch.ones(3, requires_grad=True) for _ in range(2)]  # pyright: ignore[reportAttributeAccessIssue]

    def product(x: Tensor) -> Tensor:
        return x * kept.a[0] * kept.a[1].exp()  # pyright: ignore[reportAttributeAccessIssue]

    rows = tried(product, product).rows
    assert {row.name for row in rows} == {"output", "x", "a leaf of shape [3]", "a leaf of shape [3]'"}
    assert not [row for row in rows if row.culprit]
    alone = tried(product, lambda x: x * kept.a[0] * OTHER.exp() * 0.37)  # pyright: ignore[reportAttributeAccessIssue]
    assert sum(row.message.startswith("the gradient of a leaf of shape [3]") for row in alone.rows) == 1


def test_notes_of_gradients() -> None:
    values = {"x": torch.ones(1, 3), "w": torch.ones(2, 2)}
    said = list(notes_on({"x": torch.ones(1, 3), "w": torch.eye(2).to_sparse()}, {"x": torch.ones(4, 3)}, values))
    assert said[0].startswith("dx is returned with shape [4, 3], and the engine sums it to [1, 3]")
    assert said[1].startswith("dw is sparse, and w is dense.") and len(said) == 2
    assert not list(notes_on({"x": torch.ones(1, 3), "w": None}, {}, values))
