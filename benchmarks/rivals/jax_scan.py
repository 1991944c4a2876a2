"""The whole loop in JAX: `lax.scan` over the steps, under `jit`, one compiled program for all of them.

By hand, since this is faster here than `jax.grad` of the same forward pass, and gathers and scatters are faster than
products with one-hot matrices. The second form lets the compiler see four steps of the loop at once.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor

from backproof.engines import ExampleSource
from backproof.models.mlp import Parameters, Shape
from backproof.rules.batchnorm import EPSILON
from measuring.engine import Rival
from rivals.loop import UnavailableError

_ONE_THREAD = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false", "NPROC": "1", "JAX_PLATFORMS": "cpu"}


def create(shape: Shape, parameters: Parameters, examples: ExampleSource) -> Rival:
    """The rival, ready to train a copy of `parameters`; raises UnavailableError without JAX."""
    return _JaxScan("JAX scan", shape, parameters, examples, unroll=1)


def create_unrolled(shape: Shape, parameters: Parameters, examples: ExampleSource) -> Rival:
    """The same with four steps in the body of the loop."""
    return _JaxScan("JAX scan, unrolled", shape, parameters, examples, unroll=4)


def _jax() -> Any:
    """JAX on one thread of the processor; that is settled when it is first imported."""
    for name, value in _ONE_THREAD.items():
        os.environ.setdefault(name, value)
    try:
        return import_module("jax")
    except ImportError:
        raise UnavailableError("JAX is not installed; pip install 'backproof[bench]' to time it.") from None


class _JaxScan:
    def __init__(self, name: str, shape: Shape, parameters: Parameters, examples: ExampleSource, unroll: int) -> None:
        jax = self._jax = _jax()
        self.name = name
        xs, ys = (jax.numpy.asarray(a.astype(np.int32)) for a in examples.batch(np.arange(len(examples))))

        def step(p: tuple[Any, ...], inputs: tuple[Any, Any]) -> tuple[tuple[Any, ...], Any]:
            ix, rate = inputs
            loss, gradients = _loss_and_gradients(jax, p, xs[ix], ys[ix], shape.correction)
            return tuple(value - rate * d for value, d in zip(p, gradients, strict=True)), loss

        self._scan = jax.jit(lambda p, ix, rates: jax.lax.scan(step, p, (ix, rates), unroll=unroll))
        self.load(parameters)

    def run(self, indices: Tensor, learning_rates: Tensor) -> Tensor:
        ix, rates = indices.numpy().astype(np.int32), learning_rates.numpy().astype(np.float32)
        self._parameters, losses = self._jax.block_until_ready(self._scan(self._parameters, ix, rates))
        return torch.from_numpy(np.array(losses))

    def parameters(self) -> Parameters:
        return Parameters(*(torch.from_numpy(np.array(value)) for value in self._parameters))

    def load(self, parameters: Parameters) -> None:
        self._parameters = tuple(self._jax.numpy.array(tensor.numpy()) for tensor in parameters)


def _loss_and_gradients(jax: Any, p: tuple[Any, ...], x: Any, y: Any, correction: int) -> tuple[Any, tuple[Any, ...]]:
    jnp = jax.numpy
    C, W1, b1, W2, b2, bngain, bnbias = p
    n = x.shape[0]
    embcat = C[x].reshape(n, -1)
    hprebn = embcat @ W1 + b1
    bndiff = hprebn - hprebn.mean(0, keepdims=True)
    bnvar_inv = ((bndiff * bndiff).sum(0, keepdims=True) / (n - correction) + EPSILON) ** -0.5
    bnraw = bndiff * bnvar_inv
    h = jnp.tanh(bngain * bnraw + bnbias)
    logprobs = jax.nn.log_softmax(h @ W2 + b2)
    onehot = jax.nn.one_hot(y, W2.shape[1], dtype=W2.dtype)
    loss = -(logprobs * onehot).sum() / n

    dlogits = (jnp.exp(logprobs) - onehot) / n
    dW2, db2 = h.T @ dlogits, dlogits.sum(0)
    dhpreact = (dlogits @ W2.T) * (1 - h * h)
    dbngain, dbnbias = (dhpreact * bnraw).sum(0, keepdims=True), dhpreact.sum(0, keepdims=True)
    dhprebn = bngain * bnvar_inv * (dhpreact - dbnbias / n - bnraw * dbngain / (n - correction))
    dW1, db1 = embcat.T @ dhprebn, dhprebn.sum(0)
    dC = jnp.zeros_like(C).at[x.reshape(-1)].add((dhprebn @ W1.T).reshape(-1, C.shape[1]))
    return loss, (dC, dW1, db1, dW2, db2, dbngain, dbnbias)
