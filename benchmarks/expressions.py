"""Random small expression graphs with right hand-written gradients, each sum taken in an order of its own.

A graph is grown one operation at a time from a few leaves of odd shapes, scales and layouts; then it is
walked back by the rules below, which are derived by hand and never ask automatic differentiation. What they
give is right, and differs from it by rounding only.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import NamedTuple

import torch
from torch import Tensor

LARGEST = {torch.float32: 1e12, torch.float64: 1e40, torch.bfloat16: 1e12}


class Case(NamedTuple):
    """Named values of a graph, and right gradients for them."""

    values: dict[str, Tensor]
    gradients: dict[str, Tensor]
    output: Tensor
    upstream: Tensor | None
    story: str  # one line a value: how it was made


class Graph(NamedTuple):
    """What was grown: the values in order (leaves first), and how each of the others was made."""

    values: list[Tensor]
    tape: list[tuple[str, tuple[int, ...]]]
    upstream: Tensor | None
    names: dict[str, int]  # the values that have a name, and where they stand
    story: str


class Operation(NamedTuple):
    forward: Callable[..., Tensor]
    backward: Callable[..., tuple[Tensor, ...]]  # (random, result, its gradient, *arguments) -> a gradient each


def added(random: Random, g: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The sum over dims, kept: at once, one by one from either end, by halves, as a product, in float64."""
    way = random.randrange(6)
    if way == 0:
        return g.sum(dims, keepdim=True)
    if way == 1:
        return g.double().sum(dims, keepdim=True).to(g.dtype)
    for dim in random.sample(dims, len(dims)):
        slices = list(g.unsqueeze(dim).unbind(dim + 1))
        if way == 2:
            slices.reverse()
        if way in (2, 3):
            total = slices[0]
            for part in slices[1:]:
                total = total + part
        elif way == 4:
            while len(slices) > 1:
                slices = [a + b for a, b in zip(slices[::2], slices[1::2], strict=False)] + slices[len(slices) & ~1 :]
            total = slices[0]
        else:
            total = g.movedim(dim, -1) @ torch.ones(g.shape[dim], 1, dtype=g.dtype)
            total = total.movedim(-1, dim)
        g = total
    return g


def to_shape(random: Random, g: Tensor, shape: torch.Size) -> Tensor:
    """The gradient of a value of this shape that was broadcast to g's: summed over those dimensions."""
    lead = g.dim() - len(shape)
    dims = tuple(d for d in range(g.dim()) if d < lead or (shape[d - lead] == 1 and g.shape[d] != 1))
    return (added(random, g, dims) if dims else g).reshape(shape)


def _binary(forward: Callable[[Tensor, Tensor], Tensor], slopes: Callable[..., tuple[Tensor, Tensor]]) -> Operation:
    def backward(random: Random, out: Tensor, g: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        da, db = slopes(out, g, a, b)
        return to_shape(random, da, a.shape), to_shape(random, db, b.shape)

    return Operation(forward, backward)


def _unary(forward: Callable[[Tensor], Tensor], slope: Callable[[Random, Tensor, Tensor, Tensor], Tensor]) -> Operation:
    def backward(random: Random, out: Tensor, g: Tensor, a: Tensor) -> tuple[Tensor, ...]:
        return (slope(random, out, g, a),)

    return Operation(forward, backward)


def _matmul_back(random: Random, out: Tensor, g: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
    if random.random() < 0.5:
        return g @ b.T, a.T @ g
    da = added(random, g.unsqueeze(1) * b, (2,)).squeeze(2)
    db = added(random, a.unsqueeze(2) * g.unsqueeze(1), (0,)).squeeze(0)
    return da, db


def _first_max_back(random: Random, out: Tensor, g: Tensor, a: Tensor) -> Tensor:
    return torch.zeros_like(a).scatter(1, a.max(1, keepdim=True).indices, g)


def _even_max_back(random: Random, out: Tensor, g: Tensor, a: Tensor) -> Tensor:
    ties = (a == out).to(a.dtype)
    return ties / ties.sum(1, keepdim=True) * g


def _softmax_back(random: Random, out: Tensor, g: Tensor, a: Tensor) -> Tensor:
    if random.random() < 0.5:
        return out * (g - added(random, g * out, (1,)))
    return out * g - out * added(random, g * out, (1,))


def _tanh_back(random: Random, out: Tensor, g: Tensor, a: Tensor) -> Tensor:
    return [(1 - out**2) * g, (1 - out * out) * g, (1 - out) * (1 + out) * g, g - out * out * g][random.randrange(4)]


OPERATIONS: dict[str, Operation] = {
    "a + b": _binary(lambda a, b: a + b, lambda out, g, a, b: (g, g)),
    "a - b": _binary(lambda a, b: a - b, lambda out, g, a, b: (g, -g)),
    "a * b": _binary(lambda a, b: a * b, lambda out, g, a, b: (g * b, g * a)),
    "a / (b² + 1)": _binary(
        lambda a, b: a / (b * b + 1),
        lambda out, g, a, b: (g / (b * b + 1), -2 * b * (a / (b * b + 1)) / (b * b + 1) * g),
    ),
    "a @ b": Operation(lambda a, b: a @ b, _matmul_back),
    "tanh a": _unary(torch.tanh, _tanh_back),
    "sigmoid a": _unary(torch.sigmoid, lambda r, out, g, a: out * (1 - out) * g),
    "relu a": _unary(torch.relu, lambda r, out, g, a: g * (a > 0)),
    "a²": _unary(lambda a: a**2, lambda r, out, g, a: 2 * a * g),
    "√(a² + 0.01)": _unary(lambda a: (a * a + 0.01).sqrt(), lambda r, out, g, a: a / out * g),
    "(a² + 0.01)^-½": _unary(lambda a: (a * a + 0.01) ** -0.5, lambda r, out, g, a: -a * out * out * out * g),
    "exp(-a²)": _unary(lambda a: (-a * a).exp(), lambda r, out, g, a: -2 * a * out * g),
    "log(1 + a²)": _unary(lambda a: (1 + a * a).log(), lambda r, out, g, a: 2 * a / (1 + a * a) * g),
    "-a": _unary(lambda a: -a, lambda r, out, g, a: -g),
    "a / 3": _unary(lambda a: a / 3, lambda r, out, g, a: g / 3),
    "a reshaped": _unary(lambda a: a.reshape(-1, a.shape[0]), lambda r, out, g, a: g.reshape(a.shape)),
    "aᵀ": _unary(lambda a: a.T, lambda r, out, g, a: g.T),
    "a reversed": _unary(lambda a: a.flip(1), lambda r, out, g, a: g.flip(1)),
    "a's first column": _unary(lambda a: a[:, :1], lambda r, out, g, a: torch.cat([g, torch.zeros_like(a[:, 1:])], 1)),
    "softmax a": _unary(lambda a: a.softmax(1), _softmax_back),
    "softmax 30 a": _unary(lambda a: (30 * a).softmax(1), lambda r, out, g, a: 30 * _softmax_back(r, out, g, a)),
    "log softmax a": _unary(lambda a: a.log_softmax(1), lambda r, out, g, a: g - out.exp() * added(r, g, (1,))),
    "Σ a of rows": _unary(lambda a: a.sum(1, keepdim=True), lambda r, out, g, a: g.expand(a.shape)),
    "mean a of columns": _unary(
        lambda a: a.mean(0, keepdim=True), lambda r, out, g, a: (g / a.shape[0]).expand(a.shape)
    ),
    "a less its mean": _unary(
        lambda a: a - a.mean(0, keepdim=True), lambda r, out, g, a: g - added(r, g, (0,)) / a.shape[0]
    ),
    "max of rows": _unary(lambda a: a.max(1, keepdim=True).values, _first_max_back),
    "amax of rows": _unary(lambda a: a.amax(1, keepdim=True), _even_max_back),
}


def random_case(random: Random) -> Case:
    """A graph that stays finite, forward and backward, with right gradients."""
    return right_case(random, random_graph(random))


def random_graph(random: Random) -> Graph:
    while True:
        graph = _grown(random)
        if graph is not None:
            return graph


def right_case(random: Random, graph: Graph) -> Case:
    gradients = walked_back(random, graph)
    return Case(
        {name: graph.values[i] for name, i in graph.names.items()},
        {name: gradients[i] for name, i in graph.names.items()},
        graph.values[-1],
        graph.upstream,
        graph.story,
    )


def _grown(random: Random) -> Graph | None:
    generator = torch.Generator().manual_seed(random.getrandbits(62))
    dtype = random.choices([torch.float32, torch.float64, torch.bfloat16], [6, 3, 1])[0]
    rows, columns = (random.choice([1, 1, 2, 3, 5, 7, 13, 33]) for _ in range(2))
    values: list[Tensor] = []
    story: list[str] = []
    for _ in range(random.randint(1, 4)):
        shape = random.choice([(rows, columns), (rows, columns), (1, columns), (rows, 1), (columns, rows)])
        leaf, how = _leaf(random, generator, shape, dtype)
        values.append(leaf)
        story.append(how)
    leaves = len(values)
    tape: list[tuple[str, tuple[int, ...]]] = []
    for _ in range(random.randint(2, 9)):
        name = random.choice(list(OPERATIONS))
        operation = OPERATIONS[name]
        count = 2 if " b" in name or "(b" in name else 1
        picked = tuple(random.choice([random.randrange(len(values)), len(values) - 1]) for _ in range(count))
        arguments = [values[i] for i in picked]
        if not _fit(name, arguments):
            continue
        result = operation.forward(*arguments)
        if result.numel() > 3000 or not result.abs().max() < LARGEST[dtype]:
            continue
        values.append(result)
        tape.append((name, picked))
        story.append(f"{name} of {', '.join(f'v{i}' for i in picked)}")
    if not tape:
        return None
    if random.random() < 0.3 and values[-1].numel() > 1:
        values.append(values[-1].sum())
        tape.append(("total", (len(values) - 2,)))
        story.append(f"Σ v{len(values) - 2}")
    output = values[-1]
    upstream = None
    if output.dim() or random.random() < 0.5:
        upstream = _laid_out(random, torch.randn(output.shape, generator=generator, dtype=torch.float64).to(dtype))
    story = [f"  v{i} {tuple(values[i].shape)} = {how}" for i, how in enumerate(story)]
    graph = Graph(values, tape, upstream, {}, "\n".join([str(dtype), *story]))
    gradients = walked_back(random, graph)
    for i in gradients:
        if i < leaves or i == len(values) - 1 or random.random() < 0.8:  # the others stay without a name
            graph.names[f"v{i}"] = i
    wanted = [values[i] for i in graph.names.values()]
    theirs = torch.autograd.grad(output, wanted, upstream, retain_graph=True)
    if len(wanted) < 2 or not all(g.isfinite().all() for g in (*theirs, *gradients.values())):
        return None  # overflow is not the rules' fault
    return graph


def _fit(name: str, arguments: list[Tensor]) -> bool:
    first = arguments[0]
    if name == "a @ b":
        return first.shape[1] == arguments[1].shape[0]
    if len(arguments) == 2:
        return all(m == n or 1 in (m, n) for m, n in zip(first.shape, arguments[1].shape, strict=True))
    return True


def _leaf(random: Random, generator: torch.Generator, shape: tuple[int, int], dtype: torch.dtype) -> tuple[Tensor, str]:
    scale = random.choice([1.0, 1.0, 1.0, 20.0, 10 ** random.uniform(-6, 6)])
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    tied = random.random() < 0.2
    if tied:
        x = (2 * x).round() / 2
    x = _laid_out(random, (x * scale).to(dtype))
    how = f"leaf, scale {scale:.1e}, strides {x.stride()}{', tied' if tied else ''}"
    return x.detach().requires_grad_(), how


def _laid_out(random: Random, x: Tensor) -> Tensor:
    """The same numbers as they may lie in memory; the last way repeats the first row or column (stride 0)."""
    if x.dim() != 2:
        return x
    way = random.randrange(6)
    if way == 0:
        return x.T.contiguous().T
    if way == 1:
        return x.repeat_interleave(2, 1)[:, ::2]
    if way == 2:
        return random.choice([x[:1], x[:, :1], x[:1, :1]]).expand(x.shape)
    return x


def walked_back(
    random: Random, graph: Graph, spoil: Callable[[int, list[Tensor]], list[Tensor]] | None = None
) -> dict[int, Tensor]:
    """The gradients of all values that reach the last one, walked back from it.

    `spoil` may put other shares in the place of a value's right ones: a fault that all lines behind inherit.
    """
    values, tape = graph.values, graph.tape
    numbers = [value.detach() for value in values]
    upstream = torch.ones_like(numbers[-1]) if graph.upstream is None else graph.upstream
    shares: dict[int, list[Tensor]] = {len(values) - 1: [upstream]}
    gradients: dict[int, Tensor] = {}
    for i in reversed(range(len(values))):
        if i not in shares:
            continue
        if spoil is not None:
            shares[i] = spoil(i, shares[i])
        parts = random.sample(shares[i], len(shares[i]))
        gradients[i] = parts[0]
        for part in parts[1:]:
            gradients[i] = gradients[i] + part
        made = i - (len(values) - len(tape))
        if made < 0:
            continue
        name, picked = tape[made]
        arguments = [numbers[j] for j in picked]
        if name == "total":
            back: tuple[Tensor, ...] = (gradients[i].expand(arguments[0].shape),)
        else:
            back = OPERATIONS[name].backward(random, numbers[i], gradients[i], *arguments)
        for j, share in zip(picked, back, strict=True):
            shares.setdefault(j, []).append(share)
    return gradients
