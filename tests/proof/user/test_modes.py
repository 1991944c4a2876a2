"""While the user's code runs: who writes where, and memory that is protected from it."""

from __future__ import annotations

import torch

from backproof.proof.user.modes import Protect, Watch


def writes_in_place(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    c = a + b
    da = a.mul_(2)
    b += 1
    torch.add(a, b, out=c)
    a[0] = 5.0
    return da


def test_every_write_is_noted_with_its_line_and_the_name_that_is_assigned() -> None:
    a, b = torch.ones(3), torch.ones(3)
    with Watch() as watch:
        writes_in_place(a, b)
    assert [(write.target, write.line.partition(": ")[2]) for write in watch.writes] == [
        ("da", "da = a.mul_(2)"),
        ("b", "b += 1"),
        (None, "torch.add(a, b, out=c)"),
        (None, "a[0] = 5.0"),
    ]
    assert watch.writes[0].written.data_ptr() == a.data_ptr()
    assert watch.writes[0].before.tolist() == [1.0, 1.0, 1.0]
    assert watch.writes[2].before.tolist() == [2.0, 2.0, 2.0]


def test_nothing_is_noted_of_reads_and_of_empty_tensors() -> None:
    with Watch() as watch:
        (torch.ones(3) * 2).view(3, 1).sum()
        torch.empty(0).add_(1)
    assert watch.writes == []


def test_in_place_operations_on_protected_memory_give_a_new_tensor() -> None:
    a, b = torch.ones(3), torch.ones(3)
    other = torch.ones(3)
    with Protect([a, b, torch.eye(2).to_sparse()]):
        doubled = a.mul_(2)
        half = a[:2].div_(4)
        b += 1
        b -= 1
        b *= 3
        b /= 2
        b **= 2
        other.add_(1)
        total = a.sum()
    assert a.tolist() == [1.0, 1.0, 1.0] and doubled.tolist() == [2.0, 2.0, 2.0] and half.tolist() == [0.25, 0.25]
    assert b.tolist() == [2.25, 2.25, 2.25]  # the name, which now belongs to a new tensor
    assert other.tolist() == [2.0, 2.0, 2.0] and float(total) == 3.0


def test_what_is_no_write_is_left_alone_under_protection() -> None:
    a = torch.ones(3)
    with Protect([a]):
        view = a.view(3, 1)
        view_of = view.__getitem__(0)
    assert view.data_ptr() == a.data_ptr() == view_of.data_ptr()
