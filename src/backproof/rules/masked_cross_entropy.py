"""Cross-entropy of a softmax over the cells of a batch of sequences, without those that lie behind a word's end.

    logit_maxes = max_v logits        norm_logits = logits − logit_maxes        counts = exp(norm_logits)
    counts_sum = Σ_v counts           counts_sum_inv = counts_sum^−1            probs = counts · counts_sum_inv
    logprobs = log probs              loss = −1/m Σ_{n,t: y[n,t] ≠ −1} logprobs[n, t, y[n,t]]

A cell is one position of one sequence; y is −1 in those that do not count, and m is the number of those that do. Where
none counts, m is taken for 1, so that the loss is 0 and not 0/0.

Backward, fused. As in `cross_entropy`, a cell's share of the loss is −logits[y] + log Σ_v exp(logits[v]). Hence

    dlogits = (probs − onehot(y)) / m · dloss    where the cell counts,    and zero where it does not

The mean is over the cells that count: dividing by N·T instead would make short words pull less than long ones.
Source: J. S. Bridle, "Probabilistic Interpretation of Feedforward Classification Network Outputs", 1990,
doi:10.1007/978-3-642-76153-9_28; the mask is that of `cross_entropy(ignore_index=-1)` in Karpathy's makemore.
"""

from typing import NamedTuple

import torch

from backproof.shapes import NT1, NTV, Cells, Scalar


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    logits: NTV
    logit_maxes: NT1
    norm_logits: NTV
    counts: NTV
    counts_sum: NT1
    counts_sum_inv: NT1
    probs: NTV
    logprobs: NTV
    loss: Scalar


def forward_steps(logits: NTV, y: Cells) -> Steps:
    """The values; `loss`, in nats per cell that counts, is the result."""
    logit_maxes = logits.max(2, keepdim=True).values
    norm_logits = logits - logit_maxes
    counts = norm_logits.exp()
    counts_sum = counts.sum(2, keepdim=True)
    counts_sum_inv = counts_sum**-1
    probs = counts * counts_sum_inv
    logprobs = probs.log()
    ours = logprobs.gather(2, y.clamp(min=0)[..., None])[y != -1]
    loss = -ours.sum() / max(len(ours), 1)
    return Steps(logits, logit_maxes, norm_logits, counts, counts_sum, counts_sum_inv, probs, logprobs, loss)


def backward_steps(s: Steps, y: Cells, dloss: Scalar) -> Steps:
    """The gradient of every value, given the gradient of the loss."""
    live = (y != -1)[..., None]
    share = torch.where(live, -dloss / live.sum().clamp(min=1), 0)
    dlogprobs = torch.zeros_like(s.logprobs).scatter_(2, y.clamp(min=0)[..., None], share)
    dprobs = (1.0 / s.probs) * dlogprobs
    dcounts_sum_inv = (s.counts * dprobs).sum(2, keepdim=True)
    dcounts_sum = (-(s.counts_sum**-2)) * dcounts_sum_inv
    dcounts = s.counts_sum_inv * dprobs + torch.ones_like(s.counts) * dcounts_sum  # readers: probs, counts_sum
    dnorm_logits = s.counts * dcounts
    dlogit_maxes = (-dnorm_logits).sum(2, keepdim=True)
    dlogits = dnorm_logits.scatter_add(2, s.logits.max(2, keepdim=True).indices, dlogit_maxes)
    # logits has two readers: norm_logits, and logit_maxes in the place of each cell's maximum
    return Steps(dlogits, dlogit_maxes, dnorm_logits, dcounts, dcounts_sum, dcounts_sum_inv, dprobs, dlogprobs, dloss)


def forward(logits: NTV, y: Cells) -> tuple[Scalar, NTV]:
    """The loss, and what the way back needs: logprobs."""
    logprobs = logits.log_softmax(2)
    ours = logprobs.gather(2, y.clamp(min=0)[..., None])[y != -1]
    return -ours.sum() / max(len(ours), 1), logprobs


def backward(logprobs: NTV, y: Cells, dloss: float = 1.0) -> NTV:
    """dlogits in one step."""
    live = (y != -1)[..., None].to(logprobs.dtype)  # a truth value divided by a whole number would be a float32
    share = live * (dloss / max(int(live.sum()), 1))
    return logprobs.exp().mul_(share).scatter_add_(2, y.clamp(min=0)[..., None], -share)
