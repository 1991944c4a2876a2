"""The table of operations, held against the installed PyTorch: its names, its terms, its arguments."""

from __future__ import annotations

import math
import mmap
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from backproof.proof.graph import operations
from backproof.proof.graph.node import kind
from backproof.proof.graph.operations import (
    OPERATIONS,
    UNKNOWN,
    exponent,
    factors,
    operation,
    rounded_terms,
    softmax_dim,
    written_terms,
)

PYTHONS_OWN = {"CopySlices"}  # not generated from PyTorch's list of derivatives


def names_in_torch() -> set[str]:
    """The nodes' names as the compiled library has them; C++ keeps the name of every class with virtual functions."""
    library = next((Path(torch.__file__).parent / "lib").glob("libtorch_cpu.*"))
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        found = re.findall(rb"autograd9generated\d+([A-Za-z0-9_]+)Backward\d+E", content)
    return {name.decode() for name in found}


def unheard_of(names: set[str]) -> set[str]:
    return names - names_in_torch() - PYTHONS_OWN


def test_every_name_in_the_table_is_one_of_pytorchs() -> None:
    assert unheard_of(set(OPERATIONS)) == set()


def test_a_name_that_pytorch_does_not_have_is_found() -> None:
    assert unheard_of({"Mul", "Multiply", "Conv"}) == {"Multiply", "Conv"}


def test_every_operation_has_one_entry() -> None:
    text = Path(operations.__file__).read_text()
    table = text[text.index("OPERATIONS: ") : text.index("def operation(")]
    counts = Counter(name for name in re.findall(r'"([A-Z]\w*)"', table) if name in OPERATIONS)
    assert set(counts) == set(OPERATIONS)
    assert {name for name, count in counts.items() if count > 1} == set()


def leaf(*shape: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


LINES: dict[str, Callable[[], Tensor]] = {
    "Softmax": lambda: leaf(4, 3, 5).softmax(1),
    "LogSoftmax": lambda: leaf(4, 3, 5).log_softmax(-1),
    "Silu": lambda: functional.silu(leaf(4, 3)),
    "Gelu": lambda: functional.gelu(leaf(4, 3)),
    "Mish": lambda: functional.mish(leaf(4, 3)),
    "NativeLayerNorm": lambda: functional.layer_norm(leaf(4, 3, 5), (3, 5), leaf(3, 5, seed=1)),
    "NativeBatchNorm": lambda: functional.batch_norm(leaf(4, 3, 5), None, None, leaf(3, seed=1), training=True),
    "NativeGroupNorm": lambda: functional.group_norm(leaf(4, 6, 5), 3, leaf(6, seed=1)),
    "Glu": lambda: functional.glu(leaf(4, 6, 5), 1),
    "LinalgMatrixExp": lambda: torch.linalg.matrix_exp(leaf(2, 3, 3)),
    "Tanh": lambda: leaf(4, 3).tanh(),
    "Sigmoid": lambda: leaf(4, 3).sigmoid(),
    "Logsumexp": lambda: leaf(4, 3, 5).logsumexp((0, 2)),
    "Var": lambda: leaf(4, 3).var(1),
    "Std": lambda: leaf(4, 3).std(0, keepdim=True),
}


def sent_by(y: Tensor, g: Tensor) -> tuple[Tensor | None, ...]:
    """What the last node of y sends to each of its inputs."""
    caught: list[tuple[Tensor | None, ...]] = []
    assert y.grad_fn is not None
    handle = y.grad_fn.register_hook(lambda leaving, arriving: caught.append(leaving))
    y.backward(g, retain_graph=True)
    handle.remove()
    return caught[0]


def test_every_operation_with_terms_has_a_line_here() -> None:
    assert set(LINES) == {name for name, known in OPERATIONS.items() if known.written or known.rounded}


@pytest.mark.parametrize("name", [name for name, known in OPERATIONS.items() if known.written])
def test_the_written_terms_add_up_to_what_pytorch_sends(name: str) -> None:
    y = LINES[name]()
    assert kind(y.grad_fn) == name
    g = leaf(*y.shape, seed=2).detach()
    expected = sent_by(y, g)[0]
    terms = written_terms(y.grad_fn, g)
    assert expected is not None and len(terms) > 1
    assert all(term.shape == expected.shape for term in terms)
    torch.testing.assert_close(torch.stack(terms).sum(0), expected)


@pytest.mark.parametrize("name", [name for name, known in OPERATIONS.items() if known.rounded])
def test_the_rounded_terms_have_the_shapes_of_what_is_sent_and_are_no_smaller(name: str) -> None:
    y = LINES[name]()
    assert kind(y.grad_fn) == name
    g = leaf(*y.shape, seed=2).detach()
    sent = sent_by(y, g)
    found = rounded_terms(y.grad_fn, g)
    assert found
    for position, terms in found.items():
        gradient = sent[position]
        assert gradient is not None
        assert all(term.shape == gradient.shape for term in terms)
        assert bool((torch.stack(terms).abs().sum(0) >= 0.999 * gradient.abs()).all())


VARIANTS: dict[str, Callable[[], Tensor]] = {
    "GELU by tanh": lambda: functional.gelu(leaf(4, 3), approximate="tanh"),
    "a variance of the sample": lambda: torch.var(leaf(4, 3), correction=None),
    "a variance of all there is": lambda: leaf(4, 3).var(1, correction=0),
    "a variance with another correction": lambda: leaf(4, 3).var(0, correction=2),
    "a standard deviation of all there is": lambda: leaf(4, 3).std((0, 1), correction=0),
    "layer normalisation without a weight": lambda: functional.layer_norm(leaf(4, 3, 5), (5,)),
    "batch normalisation without a weight": lambda: functional.batch_norm(leaf(4, 3), None, None, training=True),
    "group normalisation without a weight": lambda: functional.group_norm(leaf(4, 6, 5), 2),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_the_terms_of_every_variant_add_up_to_what_pytorch_sends(name: str) -> None:
    y = VARIANTS[name]()
    node, g = y.grad_fn, leaf(*y.shape, seed=2).detach()
    expected = sent_by(y, g)[0]
    assert expected is not None and node is not None
    terms = written_terms(node, g) or rounded_terms(node, g)[0]
    torch.testing.assert_close(torch.stack(terms).sum(0), expected)


def test_running_statistics_are_constants() -> None:
    y = functional.batch_norm(leaf(4, 3), torch.zeros(3).double(), torch.ones(3).double())
    assert written_terms(y.grad_fn, torch.ones(4, 3)) == () and rounded_terms(y.grad_fn, torch.ones(4, 3)) == {}


@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 0.57), (torch.float64, 0.01)])
def test_the_error_of_a_series_that_is_broken_off_is_the_one_measured(dtype: torch.dtype, size: float) -> None:
    """Of the exponential of one number, whose derivative is itself; up to twice as much may be met elsewhere."""
    a = torch.tensor([[size]], dtype=dtype, requires_grad=True)
    y = torch.linalg.matrix_exp(a)
    (da,) = torch.autograd.grad(y, a, torch.full_like(y, 1e-3), retain_graph=True)
    off = abs(float(da.double()) / (1e-3 * math.exp(float(a.detach().double()))) - 1)
    assert 0.5 < off / operation(y.grad_fn).coarse[dtype] < 2


@pytest.mark.parametrize("name", LINES)
def test_an_operation_whose_gradient_sums_over_more_than_the_shapes_tell_is_said_to_mix(name: str) -> None:
    """Where shapes are equal, one element of the gradient would else be taken for a single product."""
    y = LINES[name]()
    x = y.grad_fn.next_functions[0][0].variable  # type: ignore[union-attr]
    if x.shape != y.shape:
        return
    rows = [torch.autograd.grad(one, x, retain_graph=True)[0].flatten() for one in y.flatten()]
    summed = int((torch.stack(rows) != 0).sum(0).max())
    assert operation(y.grad_fn).mixes is (summed > 1)


def test_terms_of_what_was_freed_are_not_known() -> None:
    y = leaf(4, 3).softmax(1)
    node = y.grad_fn
    y.sum().backward()
    assert written_terms(node, torch.ones(4, 3)) == ()
    assert rounded_terms(node, torch.ones(4, 3)) == {}


def test_group_normalisation_of_an_empty_batch() -> None:
    y = functional.group_norm(leaf(0, 6, 5), 3, leaf(6, seed=1))
    assert all(term.numel() == 0 for term in written_terms(y.grad_fn, torch.ones(0, 6, 5)))


def test_what_has_no_entry_is_unknown() -> None:
    assert operation(torch.linalg.inv(leaf(3, 3)).grad_fn) is UNKNOWN
    assert UNKNOWN.mixes and UNKNOWN.unknown_inside


def test_a_function_of_the_users_own_is_not_taken_for_pytorchs() -> None:
    class Tanh(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return x.tanh()

        @staticmethod
        def backward(ctx, g: Tensor) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
            return g

    y = Tanh.apply(leaf(3))
    assert kind(y.grad_fn) == "Tanh"  # type: ignore[union-attr]
    assert operation(y.grad_fn) is UNKNOWN  # type: ignore[union-attr]


def test_the_numbers_of_a_line() -> None:
    x = leaf(3)
    assert exponent((x**1.5).grad_fn) == 1.5
    assert exponent((x**x).grad_fn) is None
    assert exponent((x * 3).grad_fn) is None
    assert factors((x * 3).grad_fn) == [3]
    assert factors((x / 4).grad_fn) == [4] and operation((x / 4).grad_fn).divides
    assert factors((x + 3).grad_fn) == []


def test_the_dimension_of_a_softmax_counts_from_the_front() -> None:
    assert softmax_dim(leaf(2, 3).softmax(-1).grad_fn, 2) == 1
    assert softmax_dim(leaf(2, 3).softmax(0).grad_fn, 2) == 0
    assert softmax_dim(leaf(2, 3).tanh().grad_fn, 2) is None
