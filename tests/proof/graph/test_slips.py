"""Each slip against the derivative of what it says that it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backproof.proof.graph import slips
from backproof.proof.graph.node import place
from backproof.proof.graph.operations import OPERATIONS, operation

RANDOM = torch.Generator().manual_seed(1)
A, B, S, G = (torch.randn(4, 4, generator=RANDOM) for _ in range(4))
SIGNAL, KERNEL, UP = torch.randn(2, 3, 7, generator=RANDOM), torch.randn(4, 3, 2, generator=RANDOM), None


def node_and_sent(made: Tensor, of: Tensor, up: Tensor) -> tuple[object, Tensor]:
    (sent,) = torch.autograd.grad(made, of, up, retain_graph=True)
    return place(made)[0], sent


CASES: Mapping[str, tuple[Callable, int, Callable, Callable]] = {
    "b not transposed": (torch.mm, 0, lambda: slips.product("self", "mat2")[0].spoil, lambda g: g @ B),
    "a not transposed": (torch.mm, 1, lambda: slips.product("self", "mat2")[1].spoil, lambda g: A @ g),
    "g turned, for a": (torch.mm, 0, lambda: slips.product("self", "mat2")[2].spoil, lambda g: g.T @ B.T),
    "g turned, for b": (torch.mm, 1, lambda: slips.product("self", "mat2")[3].spoil, lambda g: A.T @ g.T),
    "product turned": (torch.mm, 0, lambda: slips.turned, lambda g: (g @ B.T).T),
    "not squared": (torch.div, 1, lambda: slips.not_squared, lambda g: -g * A / B),
    "undivided": (torch.div, 0, lambda: slips.undivided, lambda g: g),
}


@pytest.mark.parametrize("name", CASES)
def test_of_two_matrices(name: str) -> None:
    forward, position, spoil, says = CASES[name]
    given = [A.clone().requires_grad_(), B.clone().requires_grad_()]
    node, sent = node_and_sent(forward(*given), given[position], G)
    torch.testing.assert_close(spoil()(node, sent, G), says(G))


ALONE: Mapping[str, tuple[Callable, Callable, Callable]] = {
    "softmax": (lambda x: torch.softmax(x, 1), slips.softmax_elsewhere,
                lambda x, g: x.softmax(1) * (g - (x.softmax(1) * g).sum(0))),
    "log softmax": (lambda x: torch.log_softmax(x, 0), slips.log_softmax_elsewhere,
                    lambda x, g: g - x.softmax(0) * g.sum(1, keepdim=True)),
    "root": (lambda x: x.abs().sqrt(), slips.times_result, lambda x, g: g / 2),
    "cube": (lambda x: x**3, slips.power_kept, lambda x, g: 3 * g * x**3),
}  # fmt: skip


@pytest.mark.parametrize("name", ALONE)
def test_of_one_matrix(name: str) -> None:
    forward, spoil, says = ALONE[name]
    x = (A.abs() if name == "root" else A).clone().requires_grad_()
    made = x.sqrt() if name == "root" else forward(x)
    node, sent = node_and_sent(made, x, G)
    torch.testing.assert_close(spoil(node, sent, G), says(x.detach(), G))


@pytest.mark.parametrize("keepdim", [True, False])
def test_logsumexp_and_amax_along_the_other_dimension(keepdim: bool) -> None:
    x = A.clone().requires_grad_()
    g = G[:, :1] if keepdim else G[:, 0]
    node, sent = node_and_sent(torch.logsumexp(x, 1, keepdim=keepdim), x, g)
    torch.testing.assert_close(slips.logsumexp_elsewhere(node, sent, g), G[:, 0] * A.softmax(1))
    node, sent = node_and_sent(x.amax(1, keepdim=keepdim), x, g)
    torch.testing.assert_close(slips.largest_everywhere(node, sent, g), G[:, :1].expand(4, 4))


def test_a_norm() -> None:
    x = A.clone().requires_grad_()
    g = G[:, :1]
    node, sent = node_and_sent(torch.linalg.vector_norm(x, dim=1, keepdim=True), x, g)
    torch.testing.assert_close(slips.times_result(node, sent, g), g * A)


def test_kernels_the_other_way_round() -> None:
    x, w = SIGNAL.clone().requires_grad_(), KERNEL.clone().requires_grad_()
    y = functional.conv1d(x, w, padding=1)
    g = torch.randn(y.shape, generator=RANDOM)
    node, sent = node_and_sent(y, x, g)
    flipped = functional.conv_transpose1d(g, KERNEL.flip(2), padding=1)
    torch.testing.assert_close(slips.kernel_unflipped(node, sent, g), flipped)
    node, sent = node_and_sent(y, w, g)
    torch.testing.assert_close(slips.kernel_flipped(node, sent, g), sent.flip(2))


def test_tables_blocks_and_singular_vectors() -> None:
    table = A.clone().requires_grad_()
    node, sent = node_and_sent(table[torch.tensor([0, 2, 2])], table, G[:3])
    torch.testing.assert_close(slips.every_row_alike(node, sent, G[:3]), G[:3].sum(0).expand(4, 4))
    image = A.reshape(1, 1, 4, 4).clone().requires_grad_()
    g = torch.randn(1, 1, 8, 8, generator=RANDOM)
    node, sent = node_and_sent(functional.interpolate(image, scale_factor=2), image, g)
    torch.testing.assert_close(slips.first_copies(node, sent, g), g[..., ::2, ::2])
    U, values, Vh = torch.linalg.svd(table)
    node, sent = node_and_sent(values, table, G[0])
    torch.testing.assert_close(slips.v_for_its_transpose(node, sent, G[0]), (U * G[0]) @ Vh.mT)


def test_what_is_not_square_is_not_transposed() -> None:
    a, b = SIGNAL[0].clone().requires_grad_(), KERNEL.reshape(12, 2)[:7].clone().requires_grad_()
    for position, of in ((0, a), (1, b)):
        node, sent = node_and_sent(a @ b, of, g := torch.randn(3, 2, generator=RANDOM))
        said = [slip.spoil(node, sent, g) for slip in operation(node).slips if slip.position == position]
        assert said == [None, None, None]


def test_an_operation_keeps_its_slips_in_the_one_table() -> None:
    told = [slip for known in OPERATIONS.values() for slip in known.slips]
    assert len(told) > 20
    assert all(slip.says[0].islower() or slip.says[0] in "{V" for slip in told)
