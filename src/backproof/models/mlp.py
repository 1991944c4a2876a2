"""The network of the exercise: embedding, linear, batch normalisation, tanh, linear, cross-entropy.

    contexts ─ C ─> embcat ─ W1, b1 ─> hprebn ─ bngain, bnbias ─> hpreact ─ tanh ─> h ─ W2, b2 ─> logits ─ y ─> loss

Nothing is derived here: each arrow is a rule of `backproof.rules`, and `links` gives their values the published
names. Source: Y. Bengio et al., "A Neural Probabilistic Language Model", JMLR 3, 2003; the names and the initial
values are those of the "backprop ninja" lecture of Karpathy's "Neural Networks: Zero to Hero".
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from backproof.models import chain
from backproof.models.chain import Link, link
from backproof.models.memory import memory_for
from backproof.rules import batchnorm, cross_entropy, embedding, linear, tanh
from backproof.shapes import (
    HV,
    N1,
    NH,
    NTE,
    NV,
    TE_H,
    VE,
    Contexts,
    H,
    NTxE,
    OneH,
    Scalar,
    Targets,
    V,
)  # fmt: skip

PARAMETER_SEED = 2147483647  # of the published notebooks
AFFINE_SEED = 1  # gain and bias are unseeded there; here a run can be repeated


@dataclass(frozen=True)
class Shape:
    """The sizes that make a network, and the correction of its variance (1 unbiased, 0 biased)."""

    symbols: int = 27
    block_size: int = 3
    embedding: int = 10
    hidden: int = 200
    correction: int = 1

    def __post_init__(self) -> None:
        for name in ("symbols", "block_size", "embedding", "hidden"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it has to be at least 1.")
        if self.correction not in (0, 1):
            raise ValueError(f"correction is {self.correction}; it has to be 1 (unbiased) or 0 (biased).")


class Parameters(NamedTuple):
    """What is learnt, in the order in which it is drawn; its gradients use the same record."""

    C: VE
    W1: TE_H
    b1: H
    W2: HV
    b2: V
    bngain: OneH
    bnbias: OneH

    @property
    def widest(self) -> int:
        """Numbers that the widest layer has for an example."""
        return max(self.W1.shape[0], *self.W2.shape)


class Steps(NamedTuple):
    """Every named value of the forward pass in its order, or every gradient, and its shape."""

    C: VE
    emb: NTE
    embcat: NTxE
    W1: TE_H
    b1: H
    hprebn: NH
    bnmeani: OneH
    bndiff: NH
    bndiff2: NH
    bnvar: OneH
    bnvar_inv: OneH
    bnraw: NH
    bngain: OneH
    bnbias: OneH
    hpreact: NH
    h: NH
    W2: HV
    b2: V
    logits: NV
    logit_maxes: N1
    norm_logits: NV
    counts: NV
    counts_sum: N1
    counts_sum_inv: N1
    probs: NV
    logprobs: NV
    loss: Scalar


GRADIENT_ORDER = (
    "logprobs", "probs", "counts_sum_inv", "counts_sum", "counts", "norm_logits", "logit_maxes", "logits",
    "h", "W2", "b2", "hpreact", "bngain", "bnbias", "bnraw", "bnvar_inv", "bnvar", "bndiff2", "bndiff", "bnmeani",
    "hprebn", "embcat", "W1", "b1", "emb", "C",
)  # fmt: skip
"""The 26 gradients in the published order: from the loss back to the embedding."""


def initial_parameters(shape: Shape, generator: Generator | None = None, affine_seed: int = AFFINE_SEED) -> Parameters:
    """Float32 parameters as the notebooks draw them: none starts at zero, since zeros hide faults.

    `generator` (seed 2147483647 when not given) is left where the minibatch indices of the published run begin.
    """
    g = generator if generator is not None else Generator().manual_seed(PARAMETER_SEED)
    with memory_for("the network's parameters", "--hidden, --embedding or --block-size"):
        fan_in = shape.block_size * shape.embedding
        C = torch.randn((shape.symbols, shape.embedding), generator=g)
        W1 = torch.randn((fan_in, shape.hidden), generator=g) * (5 / 3) / fan_in**0.5
        b1 = torch.randn(shape.hidden, generator=g) * 0.1
        W2 = torch.randn((shape.hidden, shape.symbols), generator=g) * 0.1
        b2 = torch.randn(shape.symbols, generator=g) * 0.1
        affine = Generator().manual_seed(affine_seed)
        bngain = torch.randn((1, shape.hidden), generator=affine) * 0.1 + 1.0
        bnbias = torch.randn((1, shape.hidden), generator=affine) * 0.1
        return Parameters(C, W1, b1, W2, b2, bngain, bnbias)


def links(correction: int = 1) -> tuple[Link, ...]:
    """The network as a chain of rules, under its published names."""
    norm = {"mean": "bnmeani", "diff": "bndiff", "sq": "bndiff2", "var": "bnvar", "rstd": "bnvar_inv", "xhat": "bnraw"}
    softmax = {name: name for name in cross_entropy.Steps._fields[1:-1]}
    return (
        link(embedding, "embcat", "C", inner={"emb": "emb"}, ix="Xb"),
        link(linear, "hprebn", "embcat", "W1", "b1"),
        link(batchnorm, "hpreact", "hprebn", "bngain", "bnbias", inner=norm, correction=correction),
        link(tanh, "h", "hpreact"),
        link(linear, "logits", "h", "W2", "b2"),
        link(cross_entropy, "loss", "logits", inner=softmax, y="Yb"),
    )


def forward_steps(p: Parameters, x: Contexts, y: Targets, correction: int = 1) -> Steps:
    """Every value of the forward pass, in nats per example at its end."""
    return Steps(**chain.forward_steps(links(correction), p._asdict(), {"Xb": x, "Yb": y}))


def backward_steps(s: Steps, x: Contexts, y: Targets, dloss: Scalar, correction: int = 1) -> Steps:
    """The gradient of every value, each rule handing its input's gradient to the rule before."""
    return Steps(**chain.backward_steps(links(correction), s._asdict(), {"Xb": x, "Yb": y}, dloss))


class Saved(NamedTuple):
    """What the fused forward pass keeps for the way back."""

    embcat: NTxE
    bnraw: NH
    bnvar_inv: OneH
    h: NH
    logprobs: NV


def forward(p: Parameters, x: Contexts, y: Targets, correction: int = 1) -> tuple[Scalar, Saved]:
    """The loss, fused: cross-entropy and batch normalisation in one step each."""
    embcat = embedding.forward(p.C, x)
    hprebn = linear.forward(embcat, p.W1, p.b1)
    hpreact, bnraw, bnvar_inv = batchnorm.forward(hprebn, p.bngain, p.bnbias, correction)
    h = tanh.forward(hpreact)
    loss, logprobs = cross_entropy.forward(linear.forward(h, p.W2, p.b2), y)
    return loss, Saved(embcat, bnraw, bnvar_inv, h, logprobs)


class FusedSteps(NamedTuple):
    """The gradients that the fused backward pass goes through, the parameters' first."""

    C: VE
    W1: TE_H
    b1: H
    W2: HV
    b2: V
    bngain: OneH
    bnbias: OneH
    embcat: NTxE
    hprebn: NH
    hpreact: NH
    h: NH
    logits: NV


def backward(p: Parameters, s: Saved, x: Contexts, y: Targets, correction: int = 1) -> Parameters:
    """The gradients of the parameters, fused."""
    return Parameters(*backward_fused_steps(p, s, x, y, correction)[: len(Parameters._fields)])


def backward_fused_steps(p: Parameters, s: Saved, x: Contexts, y: Targets, correction: int = 1) -> FusedSteps:
    """All that the fused pass computes on its way, so that each of its lines can be proved."""
    dlogits = cross_entropy.backward(s.logprobs, y)
    dh, dW2, db2 = linear.backward(s.h, p.W2, dlogits)
    dhpreact = tanh.backward(s.h, dh)
    dhprebn, dbngain, dbnbias = batchnorm.backward(s.bnraw, s.bnvar_inv, p.bngain, dhpreact, correction)
    dembcat, dW1, db1 = linear.backward(s.embcat, p.W1, dhprebn)
    dC = embedding.backward(p.C, x, dembcat)
    return FusedSteps(
        dC, dW1, db1, dW2, db2, dbngain, dbnbias, dembcat, dhprebn, dhpreact, dh, dlogits
    )  # fmt: skip


class Statistics(NamedTuple):
    """Mean and unbiased variance of hprebn over a whole split: what replaces the batch's own after training."""

    bnmean: OneH
    bnvar: OneH


def hidden_preactivations(p: Parameters, x: Contexts) -> Tensor:
    """hprebn (n, hidden), which calibration takes its statistics from."""
    return linear.forward(embedding.forward(p.C, x), p.W1, p.b1)


def predict(p: Parameters, statistics: Statistics, x: Contexts) -> NV:
    """Logits with calibrated statistics: each example for itself, whatever its batch."""
    rstd = (statistics.bnvar + batchnorm.EPSILON) ** -0.5
    bnraw = (hidden_preactivations(p, x) - statistics.bnmean) * rstd
    return linear.forward(tanh.forward(p.bngain * bnraw + p.bnbias), p.W2, p.b2)
