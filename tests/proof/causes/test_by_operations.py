"""A slip at one operation inside a line, or at each of its kind in a loop: found, told, and not made up."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backproof.proof.check import check
from backproof.proof.report.report import Report

RANDOM = torch.Generator().manual_seed(0)
A, B, W = (torch.randn(5, 5, generator=RANDOM) for _ in range(3))
X, UP = (torch.randn(4, 5, generator=RANDOM) for _ in range(2))
STEPS = torch.randn(6, 3, 4, generator=RANDOM)


def told(forward: Callable[[Tensor], Tensor], slip: Callable[[Tensor, Tensor], Tensor], x: Tensor = X,
         up: Tensor = UP) -> Report:  # fmt: skip
    """The report on what `slip` makes of the right gradient of `forward`'s own lines, all of them in one."""
    x = x.clone().requires_grad_()
    y = forward(x)
    return check(y, {"x": x, "dx": slip(x.detach(), up)}, upstream=up)


def by_autograd(forward: Callable[[Tensor], Tensor], x: Tensor, up: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(forward(x), x, up)
    return gradient


def mixed(x: Tensor) -> Tensor:
    return (x @ A).tanh() @ B + x


def normalised(x: Tensor) -> Tensor:
    return 3 * x / x.norm(dim=1, keepdim=True) + x.sin()


def along(x: Tensor, up: Tensor) -> Tensor:
    return (up * x).sum(1, keepdim=True)


def attended(x: Tensor) -> Tensor:
    return torch.softmax(x @ x.T, 1) @ x


SLIPS: Mapping[str, tuple[Callable, Callable, str, str]] = {
    "a constant matrix that is not transposed": (
        lambda x: (A @ (x.T @ W[:4])).tanh().sum() * torch.ones(4, 5),
        lambda x, up: W[:4] @ (A @ (1 - (A @ (x.T @ W[:4])).tanh() ** 2)).T * up.sum(),
        "F10",
        "the other factor is not transposed",
    ),
    "the share through a norm": (
        normalised,
        lambda x, up: 3 * up / x.norm(dim=1, keepdim=True) + up * x.cos(),
        "F6",
        "is missing",
    ),
    "the sign of that share": (
        normalised,
        lambda x, up: by_autograd(normalised, x, up) + 6 * x * along(x, up) / x.norm(dim=1, keepdim=True) ** 3,
        "F13",
        "has the wrong sign",
    ),
    "a norm that is not divided by": (
        normalised,
        lambda x, up: (
            by_autograd(normalised, x, up)
            + 3 * x * along(x, up) * (x.norm(dim=1, keepdim=True) ** -3 - x.norm(dim=1, keepdim=True) ** -2)
        ),
        "F16",
        "",
    ),
    "the derivative of tanh within": (
        mixed,
        lambda x, up: (up @ B.T) @ A.T + up,
        "F16",
        "",
    ),
    "V for its transpose": (
        lambda x: torch.linalg.svdvals(x),
        lambda x, up: (lambda u, v: (u * up) @ v.mT)(*(torch.linalg.svd(x)[i] for i in (0, 2))),
        "F10",
        "V stands where its transpose belongs",
    ),
}


@pytest.mark.parametrize("name", SLIPS)
def test_a_slip_inside_a_line_is_told(name: str) -> None:
    forward, slip, cause, says = SLIPS[name]
    x = A if "V" in name else X
    up = STEPS.flatten()[:5] if "V" in name else UP
    (row,) = told(forward, slip, x, up).culprits
    assert row.cause == cause, row.message
    assert says in row.message


@pytest.mark.parametrize("forward", [mixed, normalised, attended])
def test_what_is_right_is_not_searched(forward: Callable) -> None:
    assert told(forward, lambda x, up: by_autograd(forward, x, up)).ok


def test_a_gradient_without_sense_gets_no_cause() -> None:
    (row,) = told(mixed, lambda x, up: torch.randn(4, 5, generator=torch.Generator().manual_seed(9))).culprits
    assert row.cause is None


def recurrent(U: Tensor, steps: int = 6) -> tuple[Tensor, list[Tensor]]:
    states = [torch.zeros(3, 4)]
    for t in range(steps):
        states.append(torch.tanh(STEPS[t] + states[-1] @ U))
    return states[-1].square().sum(), states


@pytest.mark.parametrize(("shift", "cause"), [(0, None), (1, "F15")])
def test_the_index_of_a_step_is_found_wrong(shift: int, cause: str | None) -> None:
    U = (0.4 * A[:4, :4]).clone().requires_grad_()
    loss, states = recurrent(U)
    dU, dh = torch.zeros(4, 4), 2 * states[-1].detach()
    with torch.no_grad():
        for t in reversed(range(6)):
            draw = dh * (1 - states[t + 1] ** 2)
            dU += states[t + shift].T @ draw
            dh = draw @ U.T
    row = check(loss, {"loss": loss, "U": U, "dU": dU})["U"]
    assert row.cause == cause
    assert ("the factor of the step after stands in" in row.message) == bool(shift)


def test_a_carry_that_is_dropped_at_every_step_is_told_once() -> None:
    decay = torch.rand(6, 3, 4, generator=RANDOM)
    b = STEPS.clone().requires_grad_()
    c, total = torch.zeros(3, 4), torch.zeros(())
    for t in range(6):
        c = decay[t] * c + b[t].tanh()
        total = total + (c * UP[:3, :4]).sum()
    db = UP[:3, :4] * (1 - STEPS.tanh() ** 2)  # right but for the carry, which each step drops
    row = check(total, {"total": total, "b": b, "db": db})["b"]
    assert row.cause == "F6"
    assert "is missing, at each of 5 such steps" in row.message


def test_one_number_stands_for_every_denominator() -> None:
    count = torch.tensor([[3.0], [5.0], [2.0], [7.0]], requires_grad=True)
    x = X.clone().requires_grad_()
    y = torch.exp(x) / count
    dx = UP * X.exp() / 17
    row = check(y, {"x": x, "y": y, "dx": dx, "dy": UP}, upstream=UP)["x"]
    assert row.cause == "F8"
    assert "17 stands for every denominator" in row.message


def test_rows_that_were_looked_up_all_get_the_same() -> None:
    table = A.clone().requires_grad_()
    rows = torch.tensor([0, 2, 2, 4])
    y = functional.embedding(rows, table).tanh()
    dy = UP * (1 - A[rows].tanh() ** 2)
    row = check(y, {"table": table, "dtable": dy.sum(0).expand(5, 5).clone()}, upstream=UP)["table"]
    assert row.cause == "F9"


@pytest.mark.parametrize(("flip", "cause"), [(False, None), (True, "F10")])
def test_a_kernel_that_is_read_backwards(flip: bool, cause: str | None) -> None:
    kernel = STEPS[:2, :3, :3]
    x = torch.randn(2, 3, 8, generator=RANDOM)
    up = torch.randn(2, 2, 6, generator=RANDOM)
    given = x.clone().requires_grad_()
    y = functional.conv1d(given, kernel)
    dx = by_autograd(lambda x: functional.conv1d(x, kernel.flip(2) if flip else kernel), x, up)
    row = check(y, {"x": given, "dx": dx}, upstream=up)["x"]
    assert row.cause == cause
