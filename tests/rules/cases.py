"""Every rule of sequences and rows, on small inputs of odd sizes: what the tests of rules are run on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from backproof.rules import (
    attention,
    causal_conv,
    dropout,
    gelu,
    gelu_tanh,
    gru,
    layernorm,
    linear,
    lookup,
    lstm,
    masked_cross_entropy,
    positions,
    projection,
    residual,
    rmsnorm,
    rnn,
    sigmoid,
    swiglu,
    window_mean,
)

N, T, E, F, V, H, INPUTS, OUTPUTS = 3, 5, 4, 6, 7, 5, 4, 3


class SequenceCase(NamedTuple):
    """A rule on given inputs and data; `fused` takes the inputs and an upstream gradient."""

    name: str
    rule: ModuleType
    inputs: tuple[Tensor, ...]
    data: dict[str, Any]
    fused: Callable[..., tuple[Tensor, tuple[Tensor, ...]]]
    """(inputs, upstream) -> the result and the gradients of the inputs, by the fused passes."""

    def forward_steps(self, *inputs: Tensor) -> Any:
        return self.rule.forward_steps(*inputs, **self.data)

    def backward_steps(self, steps: Any, upstream: Tensor) -> Any:
        return self.rule.backward_steps(steps, **{f"d{self.rule.Steps._fields[-1]}": upstream}, **self.data)


def cases(dtype: torch.dtype = torch.float64, n: int = N) -> Iterator[SequenceCase]:
    def draw(*shape: int, seed: int = 0) -> Tensor:
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=dtype)

    g = torch.Generator().manual_seed(1)
    y = torch.randint(-1, V, (n, T), generator=g)
    kept = torch.rand((n, T, F), generator=g) > 0.3
    rows, x = draw(n, T, F), draw(n, T, E)
    kernel = draw(2, INPUTS, OUTPUTS), draw(OUTPUTS)
    cell = [draw(E + H, H), draw(H), draw(E + H, H, seed=1), draw(H, seed=1), draw(E + H, H, seed=2), draw(H, seed=2)]

    yield SequenceCase("linear", linear, (x, draw(E, OUTPUTS), draw(OUTPUTS)), {}, _linear)
    yield SequenceCase("projection", projection, (x, draw(E, OUTPUTS)), {}, _projection)
    yield SequenceCase("layernorm", layernorm, (rows, draw(F), draw(F, seed=1)), {}, _layernorm)
    yield SequenceCase("rmsnorm", rmsnorm, (rows, draw(F)), {}, _rmsnorm)
    yield SequenceCase("attention", attention, (draw(n, T, 3 * F),), {"heads": 2}, _attention)
    yield SequenceCase("gelu", gelu, (rows,), {}, _with_slope(gelu))
    yield SequenceCase("gelu_tanh", gelu_tanh, (rows,), {}, _with_slope(gelu_tanh))
    yield SequenceCase("swiglu", swiglu, (rows, draw(n, T, F, seed=1)), {}, _swiglu)
    yield SequenceCase("residual", residual, (rows, draw(n, T, F, seed=1)), {}, _residual)
    yield SequenceCase("positions", positions, (rows, draw(T + 2, F)), {}, _positions)
    for name, targets in (("some", y), ("none", torch.full((n, T), -1)), ("all", y.clamp(min=0))):
        fused = _masked_cross_entropy(targets)
        yield SequenceCase(f"masked_{name}", masked_cross_entropy, (3 * draw(n, T, V),), {"y": targets}, fused)
    yield SequenceCase("dropout", dropout, (rows,), {"kept": kept, "rate": 0.3}, _dropout(kept))
    yield SequenceCase("sigmoid", sigmoid, (rows,), {}, _sigmoid)
    yield SequenceCase("lookup", lookup, (draw(V, E),), {"ix": y.clamp(min=0)}, _lookup(y.clamp(min=0)))
    yield SequenceCase("rnn", rnn, (x, draw(1, H), cell[0], cell[1]), {}, _rnn)
    yield SequenceCase("gru", gru, (x, draw(1, H), *cell), {}, _gru)
    yield SequenceCase("lstm", lstm, (x, draw(1, H), draw(1, H, seed=3), draw(E + H, 4 * H), draw(4 * H)), {}, _lstm)
    for dilation in (1, 2, 8):
        data = {"dilation": dilation}
        yield SequenceCase(f"causal_conv_{dilation}", causal_conv, (x, *kernel), data, _causal_conv(dilation))
    for window in (1, 3, 9):
        yield SequenceCase(f"window_{window}", window_mean, (rows,), {"window": window}, _window_mean(window))


def _linear(x: Tensor, W: Tensor, b: Tensor, dy: Tensor):
    return linear.forward(x, W, b), linear.backward(x, W, dy)


def _projection(x: Tensor, W: Tensor, dy: Tensor):
    return projection.forward(x, W), projection.backward(x, W, dy)


def _layernorm(x: Tensor, gain: Tensor, bias: Tensor, dy: Tensor):
    y, xhat, rstd = layernorm.forward(x, gain, bias)
    return y, layernorm.backward(xhat, rstd, gain, dy)


def _rmsnorm(x: Tensor, gain: Tensor, dy: Tensor):
    y, xhat, rstd = rmsnorm.forward(x, gain)
    return y, rmsnorm.backward(xhat, rstd, gain, dy)


def _attention(qkv: Tensor, dy: Tensor):
    y, saved = attention.forward(qkv, 2)
    return y, (attention.backward(saved, dy),)


def _with_slope(rule: ModuleType):
    def fused(x: Tensor, dy: Tensor):
        y, slope = rule.forward(x)
        return y, (rule.backward(slope, dy),)

    return fused


def _swiglu(gate: Tensor, up: Tensor, dy: Tensor):
    y, sig = swiglu.forward(gate, up)
    return y, swiglu.backward(gate, up, sig, dy)


def _residual(x: Tensor, branch: Tensor, dy: Tensor):
    return residual.forward(x, branch), residual.backward(dy)


def _positions(x: Tensor, P: Tensor, dy: Tensor):
    return positions.forward(x, P), positions.backward(P, dy)


def _masked_cross_entropy(y: Tensor):
    def fused(logits: Tensor, dloss: Tensor):
        loss, logprobs = masked_cross_entropy.forward(logits, y)
        return loss, (masked_cross_entropy.backward(logprobs, y, dloss.item()),)

    return fused


def _dropout(kept: Tensor):
    return lambda x, dy: (dropout.forward(x, kept, 0.3), (dropout.backward(kept, 0.3, dy),))


def _sigmoid(x: Tensor, dy: Tensor):
    y = sigmoid.forward(x)
    return y, (sigmoid.backward(y, dy),)


def _lookup(ix: Tensor):
    return lambda C, demb: (lookup.forward(C, ix), (lookup.backward(C, ix, demb),))


def _rnn(x: Tensor, start: Tensor, W: Tensor, b: Tensor, dy: Tensor):
    y = rnn.forward(x, start, W, b)
    return y, rnn.backward(x, start, W, y, dy)


def _gru(x: Tensor, start: Tensor, Wr: Tensor, br: Tensor, Wz: Tensor, bz: Tensor, Wh: Tensor, bh: Tensor, dy: Tensor):
    y, saved = gru.forward(x, start, Wr, br, Wz, bz, Wh, bh)
    return y, gru.backward(x, start, Wr, Wz, Wh, y, saved, dy)


def _lstm(x: Tensor, start: Tensor, start_c: Tensor, W: Tensor, b: Tensor, dy: Tensor):
    y, saved = lstm.forward(x, start, start_c, W, b)
    return y, lstm.backward(x, start, start_c, W, y, saved, dy)


def _causal_conv(dilation: int):
    return lambda x, W, b, dy: (causal_conv.forward(x, W, b, dilation), causal_conv.backward(x, W, dilation, dy))


def _window_mean(window: int):
    return lambda x, dy: (window_mean.forward(x, window), (window_mean.backward(window, dy),))
