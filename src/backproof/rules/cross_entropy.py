"""Cross-entropy of a softmax: how surprised the network is, on average, by the right symbols.

    logit_maxes = max_v logits        norm_logits = logits − logit_maxes        counts = exp(norm_logits)
    counts_sum = Σ_v counts           counts_sum_inv = counts_sum^−1            probs = counts · counts_sum_inv
    logprobs = log probs              loss = −1/n Σₙ logprobs[n, yₙ]

Backward, fused. Per example, loss = −logits[y] + log Σ_v exp(logits[v]), and the derivative of the second term by
logits[v] is exp(logits[v]) / Σ = probs[v]. Hence

    dlogits = (probs − onehot(y)) / n · dloss

The right symbol is pulled up by as much as the others together are pushed down: every row sums to zero. The maximum is
subtracted only to keep exp in range; it cancels in probs, so that its gradient is zero but for rounding.
Source: J. S. Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990,
doi:10.1007/978-3-642-76153-9_28.
"""

from typing import NamedTuple

import torch

from backproof.shapes import N1, NV, Scalar, Targets


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    logits: NV
    logit_maxes: N1
    norm_logits: NV
    counts: NV
    counts_sum: N1
    counts_sum_inv: N1
    probs: NV
    logprobs: NV
    loss: Scalar


def forward_steps(logits: NV, y: Targets) -> Steps:
    """The values; `loss`, in nats per example, is the result."""
    logit_maxes = logits.max(1, keepdim=True).values
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(1, keepdim=True)
    counts_sum_inv = counts_sum**-1  # and not 1 / counts_sum: its gradient is rounded otherwise
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    loss = -logprobs.gather(1, y[:, None]).mean()
    return Steps(logits, logit_maxes, norm_logits, counts, counts_sum, counts_sum_inv, probs, logprobs, loss)


def backward_steps(s: Steps, y: Targets, dloss: Scalar) -> Steps:
    """The gradient of every value, given the gradient of the loss."""
    n = s.logits.shape[0]
    dlogprobs = torch.zeros_like(s.logprobs).scatter_(1, y[:, None], (-dloss / n).expand(n, 1))
    dprobs = (1.0 / s.probs) * dlogprobs
    dcounts_sum_inv = (s.counts * dprobs).sum(1, keepdim=True)
    dcounts_sum = (-(s.counts_sum**-2)) * dcounts_sum_inv
    dcounts = s.counts_sum_inv * dprobs + torch.ones_like(s.counts) * dcounts_sum  # readers: probs, counts_sum
    dnorm_logits = s.counts * dcounts
    dlogit_maxes = (-dnorm_logits).sum(1, keepdim=True)
    dlogits = dnorm_logits.scatter_add(1, s.logits.max(1, keepdim=True).indices, dlogit_maxes)
    # logits has two readers: norm_logits, and logit_maxes in the place of each row's maximum
    return Steps(dlogits, dlogit_maxes, dnorm_logits, dcounts, dcounts_sum, dcounts_sum_inv, dprobs, dlogprobs, dloss)


def forward(logits: NV, y: Targets) -> tuple[Scalar, NV]:
    """The loss, and what the way back needs: logprobs."""
    logprobs = logits.log_softmax(1)
    return -logprobs.gather(1, y[:, None]).mean(), logprobs


def backward(logprobs: NV, y: Targets, dloss: float = 1.0) -> NV:
    """dlogits in one step."""
    n = logprobs.shape[0]
    dlogits = logprobs.exp().mul_(dloss / n)
    return dlogits.scatter_add_(1, y[:, None], dlogits.new_full((n, 1), -dloss / n))
