"""The same network, step by step in plain numpy and PyTorch: what the fused kernel is measured against."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch

NAMES = ("C", "W1", "b1", "W2", "b2", "bngain", "bnbias")


class Sizes(NamedTuple):
    symbols: int = 27
    embedding: int = 10
    block: int = 3
    hidden: int = 200
    batch: int = 32
    correction: int = 1


def make_parameters(sizes: Sizes, seed: int = 0) -> tuple[np.ndarray, ...]:
    """Seven float32 arrays, none of them zero, at the scales that training starts from."""
    rng = np.random.default_rng(seed)
    fan_in = sizes.block * sizes.embedding
    arrays = (
        rng.standard_normal((sizes.symbols, sizes.embedding)),
        rng.standard_normal((fan_in, sizes.hidden)) * (5 / 3) / fan_in**0.5,
        rng.standard_normal(sizes.hidden) * 0.1,
        rng.standard_normal((sizes.hidden, sizes.symbols)) * 0.1,
        rng.standard_normal(sizes.symbols) * 0.1,
        rng.standard_normal((1, sizes.hidden)) * 0.1 + 1,
        rng.standard_normal((1, sizes.hidden)) * 0.1,
    )
    return tuple(a.astype(np.float32) for a in arrays)


def make_stream(sizes: Sizes, words: int = 200, seed: int = 1) -> np.ndarray:
    """Random words of 1 to 8 symbols; few symbols make up most of the text, as in real words."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 9, words) if sizes.symbols > 1 else np.zeros(words, dtype=int)
    weights = 1 / np.arange(1, max(sizes.symbols, 2))
    letters = rng.choice(np.arange(1, len(weights) + 1), lengths.sum(), p=weights / weights.sum())
    stream = np.concatenate([np.zeros(sizes.block, dtype=int), np.insert(letters, lengths.cumsum(), 0)])
    return stream.astype(np.uint8 if sizes.symbols <= 256 else np.uint16)


def examples(stream: np.ndarray, block: int, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contexts (batch, block) and targets (batch,), read one symbol at a time."""
    contexts = np.zeros((len(indices), block), dtype=np.int64)
    for row, index in enumerate(indices):
        for k in range(block):
            symbol = stream[block + index - 1 - k]
            if symbol == 0:
                break
            contexts[row, block - 1 - k] = symbol
    return contexts, stream[block + np.asarray(indices)].astype(np.int64)


def loss_of(parameters, contexts, targets, correction: int, epsilon: float = 1e-5):
    """The loss in PyTorch, in the dtype of the parameters."""
    C, W1, b1, W2, b2, bngain, bnbias = parameters
    hprebn = C[contexts].reshape(len(contexts), -1) @ W1 + b1
    bnmeani = hprebn.mean(0, keepdim=True)
    bndiff = hprebn - bnmeani
    bnvar = (bndiff**2).sum(0, keepdim=True) / (len(contexts) - correction)
    h = torch.tanh(bngain * bndiff * (bnvar + epsilon) ** -0.5 + bnbias)
    return torch.nn.functional.cross_entropy(h @ W2 + b2, targets)


def autograd(parameters, contexts, targets, correction: int, dtype=torch.float64):
    """Loss and seven gradients by automatic differentiation."""
    leaves = [torch.tensor(p, dtype=dtype, requires_grad=True) for p in parameters]
    loss = loss_of(leaves, torch.tensor(contexts), torch.tensor(targets), correction)
    return float(loss.detach()), [g.numpy() for g in torch.autograd.grad(loss, leaves)]


def manual(parameters, X, Y, correction: int, epsilon: float = 1e-5):
    """Loss and seven gradients by the hand-derived rules, in eager PyTorch. A second opinion."""
    C, W1, b1, W2, b2, bngain, bnbias = parameters
    n = X.shape[0]
    emb = C[X]
    embcat = emb.view(n, -1)
    hprebn = embcat @ W1 + b1
    bndiff = hprebn - hprebn.mean(0, keepdim=True)
    bnvar_inv = ((bndiff * bndiff).sum(0, keepdim=True) / (n - correction) + epsilon) ** -0.5
    bnraw = bndiff * bnvar_inv
    h = torch.tanh(bngain * bnraw + bnbias)
    logits = h @ W2 + b2
    logprobs = torch.log_softmax(logits, 1)
    rows = torch.arange(n)
    loss = -logprobs[rows, Y].mean()

    dlogits = logprobs.exp()
    dlogits[rows, Y] -= 1
    dlogits /= n
    dW2, db2 = h.T @ dlogits, dlogits.sum(0)
    dhpreact = dlogits @ W2.T * (1 - h * h)
    dbngain, dbnbias = (dhpreact * bnraw).sum(0, keepdim=True), dhpreact.sum(0, keepdim=True)
    dhprebn = bngain * bnvar_inv * (dhpreact - dbnbias / n - bnraw * dbngain / (n - correction))
    dW1, db1 = embcat.T @ dhprebn, dhprebn.sum(0)
    dC = torch.zeros_like(C).index_add_(0, X.reshape(-1), (dhprebn @ W1.T).view(-1, C.shape[1]))
    return loss, (dC, dW1, db1, dW2, db2, dbngain, dbnbias)
