"""Notebooks: dx beside x, and its cousins d_x, dL_dx, dloss_dx, grad_x, x_grad, gx, x_bar."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Pass, integers, normal


def mlp_dx():
    X, Y = normal(0, 8, 4), integers(1, 3, 8)
    W1, b1 = normal(2, 4, 6).requires_grad_(), normal(3, 6).requires_grad_()
    W2, b2 = normal(4, 6, 3).requires_grad_(), normal(5, 3).requires_grad_()
    hpre = X @ W1 + b1
    h = torch.tanh(hpre)
    logits = h @ W2 + b2
    loss = F.cross_entropy(logits, Y)
    dlogits = F.softmax(logits, 1)
    dlogits[range(8), Y] -= 1
    dlogits /= 8
    dW2, db2 = h.T @ dlogits, dlogits.sum(0)
    dh = dlogits @ W2.T
    dhpre = (1 - h**2) * dh
    dW1, db1 = X.T @ dhpre, dhpre.sum(0)
    return locals()


def softmax_d_x():
    x, w, t = normal(0, 5, 3), normal(1, 3, 4).requires_grad_(), integers(2, 4, 5)
    z = x @ w
    p = torch.exp(z) / torch.exp(z).sum(1, keepdim=True)
    loss = -torch.log(p[torch.arange(5), t]).sum()
    d_z = p.clone()
    d_z[torch.arange(5), t] -= 1.0
    d_w = x.T @ d_z
    return locals()


def regression_dL_dx():
    X, y = normal(0, 12, 3), normal(1, 12, 1)
    w, b = normal(2, 3, 1).requires_grad_(), torch.zeros(1, requires_grad=True)
    y_hat = X @ w + b
    loss = ((y_hat - y) ** 2).mean()
    dL_dy_hat = 2 * (y_hat - y) / len(y)
    dL_dw = X.T @ dL_dy_hat
    dL_db = dL_dy_hat.sum(0)
    return locals()


def logistic_dloss_dx():
    x, y = normal(0, 9, 4), integers(1, 2, 9).float()
    w, b = normal(2, 4).requires_grad_(), torch.zeros((), requires_grad=True)
    z = x @ w + b
    a = torch.sigmoid(z)
    loss = -(y * a.log() + (1 - y) * (1 - a).log()).mean()
    dloss_dz = (a - y) / len(y)
    dloss_dw = x.T @ dloss_dz
    dloss_db = dloss_dz.sum()
    return locals()


def conv_grad_x():
    x, w = normal(0, 2, 3, 7).requires_grad_(), normal(1, 4, 3, 3).requires_grad_()
    out = F.conv1d(x, w, padding=1)
    loss = (out**2).sum() / 2
    grad_out = out.detach().clone()
    xp = F.pad(x, (1, 1))
    grad_w = torch.zeros_like(w)
    grad_xp = torch.zeros_like(xp)
    for i in range(7):
        grad_w += torch.einsum("no,nck->ock", grad_out[:, :, i], xp[:, :, i : i + 3])
        grad_xp[:, :, i : i + 3] += torch.einsum("no,ock->nck", grad_out[:, :, i], w)
    grad_x = grad_xp[:, :, 1:-1]
    return locals()


def attention_x_grad():
    q, k, v = (normal(seed, 5, 4).requires_grad_() for seed in range(3))
    target = normal(3, 5, 4)
    scores = q @ k.T / 4**0.5
    attn = scores.softmax(-1)
    out = attn @ v
    loss = ((out - target) ** 2).sum()
    out_grad = 2 * (out - target)
    v_grad = attn.T @ out_grad
    attn_grad = out_grad @ v.T
    scores_grad = attn * (attn_grad - (attn_grad * attn).sum(-1, keepdim=True))
    q_grad = scores_grad @ k / 4**0.5
    k_grad = scores_grad.T @ q / 4**0.5
    return locals()


def chain_gx():
    a, b, c = torch.tensor(0.5, requires_grad=True), torch.tensor(-3.0, requires_grad=True), torch.tensor(1.0)
    e = a * b
    d = e + c
    loss = torch.tanh(d * e)
    gd = (1 - loss**2) * e
    ge = (1 - loss**2) * d + gd
    ga = b * ge
    gb = a * ge
    return locals()


def adjoint_x_bar():
    A, rhs = (normal(0, 4, 4) + 4 * torch.eye(4)).requires_grad_(), normal(1, 4).requires_grad_()
    x = torch.linalg.solve(A, rhs)
    loss = (x**3).sum()
    x_bar = 3 * x**2
    rhs_bar = torch.linalg.solve(A.T, x_bar)
    A_bar = -torch.outer(rhs_bar, x)
    return locals()


def batchnorm_dx():
    x, gain = normal(0, 10, 4).requires_grad_(), (1 + 0.2 * normal(1, 1, 4)).requires_grad_()
    bias, wt = normal(2, 1, 4).requires_grad_(), normal(3, 10, 4)
    mean = x.mean(0, keepdim=True)
    diff = x - mean
    var = (diff**2).sum(0, keepdim=True) / 9
    inv = (var + 1e-5) ** -0.5
    raw = diff * inv
    out = gain * raw + bias
    loss = (out * wt).sum()
    dout = wt.clone()
    dgain = (dout * raw).sum(0, keepdim=True)
    dbias = dout.sum(0, keepdim=True)
    draw = dout * gain
    dinv = (draw * diff).sum(0, keepdim=True)
    dvar = -0.5 * (var + 1e-5) ** -1.5 * dinv
    ddiff = draw * inv + 2 / 9 * diff * dvar
    dmean = -ddiff.sum(0, keepdim=True)
    dx = ddiff + dmean / 10
    return locals()


def embedding_dx():
    idx = torch.tensor([[0, 2, 2], [1, 4, 0]])
    C = normal(0, 5, 3).requires_grad_()
    emb = C[idx]
    flat = emb.view(2, -1)
    loss = (flat**2).mean()
    dflat = 2 * flat / flat.numel()
    demb = dflat.view(emb.shape)
    dC = torch.zeros_like(C)
    for i in range(2):
        for j in range(3):
            dC[idx[i, j]] += demb[i, j]
    return locals()


WILD = [
    Pass("mlp, dx", mlp_dx, Fault("dhpre = (1 - h**2) * dh", "dhpre = (1 - h) * dh", "hpre", "F14"), "dhpre", "hpre"),
    Pass("softmax, d_x", softmax_d_x, Fault("d_w = x.T @ d_z", "d_w = x.T @ d_z / 5", "w", "F8 F12"), "d_w", "w"),
    Pass(
        "regression, dL_dx",
        regression_dL_dx,
        Fault("dL_dy_hat = 2 * (y_hat - y) / len(y)", "dL_dy_hat = (y_hat - y) / len(y)", "y_hat", "F12"),
        "dL_dy_hat",
        "y_hat",
    ),
    Pass(
        "logistic, dloss_dx",
        logistic_dloss_dx,
        Fault("dloss_dz = (a - y) / len(y)", "dloss_dz = (y - a) / len(y)", "z", "F13"),
        "dloss_dz",
        "z",
    ),
    Pass(
        "convolution, grad_x",
        conv_grad_x,
        Fault("grad_x = grad_xp[:, :, 1:-1]", "grad_x = grad_xp[:, :, :-2]", "x", "F7 F10 F15"),
        "grad_x",
        "x",
    ),
    Pass(
        "attention, x_grad",
        attention_x_grad,
        Fault("k_grad = scores_grad.T @ q / 4**0.5", "k_grad = scores_grad @ q / 4**0.5", "k", "F10"),
        "k_grad",
        "k",
    ),
    Pass(
        "chain rule, gx", chain_gx, Fault("ge = (1 - loss**2) * d + gd", "ge = (1 - loss**2) * d", "e", "F6"), "ge", "e"
    ),
    Pass(
        "linear solve, x_bar",
        adjoint_x_bar,
        Fault("A_bar = -torch.outer(rhs_bar, x)", "A_bar = -torch.outer(x, rhs_bar)", "A", "F10"),
        "A_bar",
        "A",
    ),
    Pass(
        "batch norm, dx",
        batchnorm_dx,
        Fault("dx = ddiff + dmean / 10", "dx = ddiff + dmean", "x", "F8"),
        "dx",
        "x",
    ),
    Pass(
        "embedding, dx",
        embedding_dx,
        Fault("dC[idx[i, j]] += demb[i, j]", "dC[idx[i, j]] = demb[i, j]", "C", "F11"),
        "dC",
        "C",
    ),
]
