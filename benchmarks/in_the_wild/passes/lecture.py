"""Lecture notebooks on a character model: staged and fused batch norm, cross-entropy, embeddings, three layers."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Pass, integers, normal


def staged_character_model():
    n = 12
    Xb, Yb = integers(0, 9, n, 3), integers(1, 9, n)
    C, W1 = normal(2, 9, 4), normal(3, 12, 10) * 0.4
    W2, b2 = normal(4, 10, 9) * 0.3, normal(5, 9) * 0.1
    bngain, bnbias = normal(6, 1, 10) * 0.2 + 1.0, normal(7, 1, 10) * 0.1
    parameters = [C, W1, W2, b2, bngain, bnbias]
    for p in parameters:
        p.requires_grad = True
    emb = C[Xb]
    embcat = emb.view(emb.shape[0], -1)
    hprebn = embcat @ W1
    bnmeani = hprebn.sum(0, keepdim=True) / n
    bndiff = hprebn - bnmeani
    bndiff2 = bndiff**2
    bnvar = bndiff2.sum(0, keepdim=True) / (n - 1)
    bnvar_inv = (bnvar + 1e-5) ** -0.5
    bnraw = bndiff * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    h = torch.tanh(hpreact)
    logits = h @ W2 + b2
    loss = F.cross_entropy(logits, Yb)

    dlogits = F.softmax(logits, 1)
    dlogits[range(n), Yb] -= 1
    dlogits /= n
    dh = dlogits @ W2.T
    dW2 = h.T @ dlogits
    db2 = dlogits.sum(0)
    dhpreact = (1.0 - h**2) * dh
    dbngain = (bnraw * dhpreact).sum(0, keepdim=True)
    dbnbias = dhpreact.sum(0, keepdim=True)
    dbnraw = bngain * dhpreact
    dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)
    dbnvar = -0.5 * (bnvar + 1e-5) ** -1.5 * dbnvar_inv
    dbndiff2 = torch.ones_like(bndiff2) * dbnvar / (n - 1)
    dbndiff = bnvar_inv * dbnraw + 2 * bndiff * dbndiff2
    dbnmeani = -dbndiff.sum(0)
    dhprebn = dbndiff + dbnmeani / n
    dembcat = dhprebn @ W1.T
    dW1 = embcat.T @ dhprebn
    demb = dembcat.view(emb.shape)
    dC = torch.zeros_like(C)
    dC.index_add_(0, Xb.view(-1), demb.view(-1, 4))
    dbnmeani = dbnmeani.view(bnmeani.shape)
    return locals()


def batchnorm_in_one_line():
    n = 16
    hprebn, bngain = normal(0, n, 6).requires_grad_(), (1 + normal(1, 1, 6) * 0.3).requires_grad_()
    bnbias = normal(2, 1, 6).requires_grad_()
    mean, var = hprebn.mean(0, keepdim=True), hprebn.var(0, keepdim=True, unbiased=True)
    bnvar_inv = (var + 1e-5) ** -0.5
    bnraw = (hprebn - mean) * bnvar_inv
    hpreact = bngain * bnraw + bnbias
    loss = (hpreact.tanh() * normal(3, n, 6)).mean()
    dhpreact = (1 - hpreact.tanh() ** 2) * normal(3, n, 6) / hpreact.numel()
    s1, s2 = dhpreact.sum(0), (dhpreact * bnraw).sum(0)
    dhprebn_fast = bngain * bnvar_inv / n * (n * dhpreact - s1 - n / (n - 1) * bnraw * s2)
    dbngain_fast = s2.view(1, -1)
    return locals()


def three_layers():
    x, y = normal(0, 10, 5), integers(1, 4, 10)
    w1, b1 = (normal(2, 5, 7) * 0.5).requires_grad_(), (normal(3, 7) * 0.1).requires_grad_()
    w2, b2 = (normal(4, 7, 7) * 0.4).requires_grad_(), (normal(5, 7) * 0.1).requires_grad_()
    w3, b3 = (normal(6, 7, 4) * 0.4).requires_grad_(), (normal(7, 4) * 0.1).requires_grad_()
    z1 = x @ w1 + b1
    a1 = torch.relu(z1)
    z2 = a1 @ w2 + b2
    a2 = torch.relu(z2)
    z3 = a2 @ w3 + b3
    loss = F.nll_loss(z3.log_softmax(1), y)
    with torch.no_grad():
        d_z3 = (z3.softmax(1) - F.one_hot(y, 4)) / x.shape[0]
        d_w3, d_b3 = a2.T @ d_z3, d_z3.sum(0)
        d_z2 = (d_z3 @ w3.T) * (z2 > 0)
        d_w2 = a1.T @ d_z2
        d_b2 = d_z2.sum(0)
        d_z1 = (d_z2 @ w2.T) * (z1 > 0)
        d_w1, d_b1 = x.T @ d_z1, d_z1.sum(0)
    return locals()


def lookup_in_a_loop():
    xs = torch.tensor([3, 0, 3, 1, 4, 0, 2])
    table, head = normal(0, 5, 4).requires_grad_(), normal(1, 4, 5).requires_grad_()
    targets = integers(2, 5, 7)
    e = table[xs]
    logits = e @ head
    loss = F.cross_entropy(logits, targets, reduction="sum")
    dlogits = logits.detach().softmax(1)
    for row in range(7):
        dlogits[row, targets[row]] -= 1
    dhead = e.detach().T @ dlogits
    de = dlogits @ head.detach().T
    dtable = torch.zeros_like(table)
    for row in range(xs.shape[0]):
        dtable[xs[row]] += de[row]
    return locals()


def smoothed_labels():
    n, k, smooth = 9, 6, 0.1
    logits, y = (2 * normal(0, n, k)).requires_grad_(), integers(1, k, n)
    onehot = F.one_hot(y, k).float()
    soft = (1 - smooth) * onehot + smooth / k
    shifted = logits - logits.max(1, keepdim=True).values
    logprobs = shifted - shifted.exp().sum(1, keepdim=True).log()
    loss = -(soft * logprobs).sum(1).mean()
    probs = logprobs.detach().exp()
    dlogits = (probs - soft) / n
    return locals()


WILD = [
    Pass(
        "staged character model",
        staged_character_model,
        Fault(
            "dbnvar_inv = (bndiff * dbnraw).sum(0, keepdim=True)",
            "dbnvar_inv = (bndiff * dhpreact).sum(0, keepdim=True)",
            "bnvar_inv",
            "F15 F16",
        ),
        "dbnvar_inv",
        "bnvar_inv",
    ),
    Pass(
        "batch norm in one line",
        batchnorm_in_one_line,
        Fault(
            "dhprebn_fast = bngain * bnvar_inv / n * (n * dhpreact - s1 - n / (n - 1) * bnraw * s2)",
            "dhprebn_fast = bngain * bnvar_inv / n * (n * dhpreact - s1 - bnraw * s2)",
            "hprebn",
            "F8 F14",
        ),
        "dhprebn_fast",
        "hprebn",
    ),
    Pass(
        "three layers",
        three_layers,
        Fault("d_w2 = a1.T @ d_z2", "d_w2 = a2.T @ d_z2", "w2", "F14 F15"),
        "d_w2",
        "w2",
    ),
    Pass(
        "lookup in a loop",
        lookup_in_a_loop,
        Fault("for row in range(xs.shape[0]):", "for row in range(1, xs.shape[0]):", "table", "F7"),
        "dtable",
        "table",
    ),
    Pass(
        "smoothed labels",
        smoothed_labels,
        Fault("dlogits = (probs - soft) / n", "dlogits = (probs - onehot) / n", "logits", "F14 F15"),
        "dlogits",
        "logits",
    ),
]
