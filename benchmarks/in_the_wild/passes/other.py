"""Graphs, words, ratings, pairs, rewards and kernels, each in the names and containers that its authors like."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Pass, integers, normal


class GraphConv:
    def __init__(self, seed, n_in, n_out):
        self.W = (normal(seed, n_in, n_out) / n_in**0.5).requires_grad_()
        self.b = (normal(seed + 1, n_out) * 0.1).requires_grad_()

    def forward(self, A, x):
        self.A, self.x = A, x
        return A @ (x @ self.W) + self.b

    def backward(self, grad):
        self.db = grad.sum(0)
        spread = self.A.T @ grad
        self.dW = self.x.T @ spread
        return spread @ self.W.T


def graph_convolution():
    edges = torch.tensor([[0, 1], [0, 2], [1, 3], [2, 3], [3, 4], [4, 0], [4, 2]])
    A = torch.eye(5)
    A[edges[:, 0], edges[:, 1]] = 1
    A = A / A.sum(1, keepdim=True)
    features, labels = normal(0, 5, 3), torch.tensor([0, 1, 1, 0, 2])
    conv1, conv2 = GraphConv(1, 3, 6), GraphConv(3, 6, 3)
    pre = conv1.forward(A, features)
    act = torch.relu(pre)
    logits = conv2.forward(A, act)
    loss = F.cross_entropy(logits, labels)
    with torch.no_grad():
        d_logits = (logits.softmax(1) - F.one_hot(labels, 3)) / 5
        d_act = conv2.backward(d_logits)
        d_pre = d_act * (pre > 0)
        conv1.backward(d_pre)
    return locals()


def skip_grams():
    center, context = torch.tensor([0, 4, 2, 0]), torch.tensor([1, 3, 1, 5])
    negatives = torch.tensor([[2, 3, 5], [0, 1, 5], [0, 4, 0], [2, 4, 3]])
    U, V = normal(0, 6, 4).requires_grad_(), normal(1, 6, 4).requires_grad_()
    u, v, vn = U[center], V[context], V[negatives]
    pos = (u * v).sum(1)
    neg = torch.einsum("bd,bkd->bk", u, vn)
    loss = -(F.logsigmoid(pos).sum() + F.logsigmoid(-neg).sum())

    grad_pos = torch.sigmoid(pos) - 1
    grad_neg = torch.sigmoid(neg)
    grad_u = grad_pos[:, None] * v + torch.einsum("bk,bkd->bd", grad_neg, vn)
    grad_v = grad_pos[:, None] * u
    grad_vn = grad_neg[:, :, None] * u[:, None, :]
    grad_U, grad_V = torch.zeros_like(U), torch.zeros_like(V)
    grad_U.index_add_(0, center, grad_u)
    grad_V.index_add_(0, context, grad_v)
    grad_V.index_add_(0, negatives.view(-1), grad_vn.reshape(-1, 4))
    return locals()


def ratings_of_films():
    users, films = torch.tensor([0, 1, 2, 0, 3, 1]), torch.tensor([2, 0, 1, 1, 2, 2])
    ratings, lam = torch.tensor([4.0, 1.0, 3.0, 5.0, 2.0, 4.0]), 0.1
    P, Q = normal(0, 4, 3).requires_grad_(), normal(1, 3, 3).requires_grad_()
    bu, bi = normal(2, 4).requires_grad_(), normal(3, 3).requires_grad_()
    p, q = P[users], Q[films]
    r_hat = (p * q).sum(1) + bu[users] + bi[films]
    loss = ((r_hat - ratings) ** 2).sum() + lam * ((p**2).sum() + (q**2).sum())
    with torch.no_grad():
        dr_hat = 2 * (r_hat - ratings)
        dp = dr_hat.unsqueeze(1) * q + 2 * lam * p
        dq = dr_hat.unsqueeze(1) * p + 2 * lam * q
        dP = torch.zeros_like(P).index_add_(0, users, dp)
        dQ = torch.zeros_like(Q).index_add_(0, films, dq)
        dbu = torch.bincount(users, dr_hat, 4)
        dbi = torch.bincount(films, dr_hat, 3)
    return locals()


def logistic_regression_by_rows():
    X, y = normal(0, 9, 3).double(), integers(1, 2, 9).double()
    w = normal(2, 3).double().requires_grad_()
    b = torch.zeros((), dtype=torch.float64, requires_grad=True)
    z = X @ w + b
    loss = F.binary_cross_entropy_with_logits(z, y)
    Xn, yn = X.numpy(), y.numpy()
    dw, db = np.zeros(3), 0.0
    for i in range(len(Xn)):
        a = 1 / (1 + np.exp(-z[i].item()))
        dw += (a - yn[i]) * Xn[i]
        db += a - yn[i]
    dw /= len(Xn)
    db /= len(Xn)
    return locals()


def siamese_twins():
    x1, x2 = normal(0, 6, 4), normal(1, 6, 4)
    same = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.0, 1.0])
    x2[2] = x1[2]
    W, margin = (normal(2, 4, 3) * 0.4).requires_grad_(), 2.5
    z1, z2 = x1 @ W, x2 @ W
    diff = z1 - z2
    d2 = (diff**2).sum(1)
    dist = torch.sqrt(d2 + 1e-6)
    hinge = torch.clamp(margin - dist, min=0)
    loss = (same * d2 + (1 - same) * hinge**2).mean()
    with torch.no_grad():
        dhinge = 2 * (1 - same) * hinge / 6
        ddist = -dhinge * (hinge > 0)
        dd2 = same / 6 + ddist / (2 * dist)
        ddiff = 2 * diff * dd2[:, None]
        dz1, dz2 = ddiff, -ddiff
        dW = x1.T @ dz1 + x2.T @ dz2
    return locals()


def policy_gradient():
    states, actions, returns = normal(0, 8, 4), integers(1, 3, 8), 3 * normal(2, 8)
    theta, beta = (normal(3, 4, 3) * 0.5).requires_grad_(), 0.01
    logits = states @ theta
    logp = torch.log_softmax(logits, 1)
    advantage = returns - returns.mean()
    chosen = logp.gather(1, actions[:, None]).squeeze(1)
    entropy = -(logp.exp() * logp).sum(1)
    loss = -(chosen * advantage).mean() - beta * entropy.mean()

    probs = torch.softmax(logits, 1).detach()
    onehot = F.one_hot(actions, 3).float()
    dpolicy = (probs - onehot) * advantage[:, None] / len(states)
    dlogits = dpolicy + beta * probs * (logp + entropy[:, None]) / len(states)
    dtheta = states.t() @ dlogits
    return locals()


def kernel_ridge():
    x, centres = normal(0, 7, 2), normal(1, 4, 2).requires_grad_()
    target, weights = normal(2, 7), normal(3, 4).requires_grad_()
    gamma = torch.full((4,), 0.5, requires_grad=True)
    delta = x[:, None, :] - centres[None, :, :]
    sqdist = (delta**2).sum(2)
    K = torch.exp(-gamma * sqdist)
    f = K @ weights
    loss = 0.5 * ((f - target) ** 2).sum() + 0.05 * (weights**2).sum()

    f_grad = f - target
    weights_grad = K.T @ f_grad + 0.1 * weights
    K_grad = torch.outer(f_grad, weights)
    gamma_grad = -(K_grad * K * sqdist).sum(0)
    sqdist_grad = -gamma * K * K_grad
    delta_grad = 2 * delta * sqdist_grad[:, :, None]
    centres_grad = -delta_grad.sum(0)
    return locals()


def probe_in_half_precision():
    X, y = normal(0, 300, 4) + 2.0, integers(1, 3, 300)
    W, b = (normal(2, 4, 3) * 0.3).requires_grad_(), torch.zeros(3, requires_grad=True)
    logits = X @ W + b
    loss = F.cross_entropy(logits, y, reduction="sum")
    parameters = [W, b]
    with torch.no_grad():
        d = logits.softmax(1) - F.one_hot(y, 3)
        grads = [X.t() @ d, d.sum(0)]
    return locals()


WILD = [
    Pass(
        "graph convolution",
        graph_convolution,
        Fault("spread = self.A.T @ grad", "spread = self.A @ grad", "conv1.W conv2.W act", "F10"),
        "conv2.dW",
        "conv2.W",
    ),
    Pass(
        "skip-grams",
        skip_grams,
        Fault(
            "grad_V.index_add_(0, negatives.view(-1), grad_vn.reshape(-1, 4))",
            "grad_V[negatives.view(-1)] += grad_vn.reshape(-1, 4)",
            "V",
            "F11",
        ),
        "grad_V",
        "V",
    ),
    Pass(
        "ratings of films",
        ratings_of_films,
        Fault(
            "dq = dr_hat.unsqueeze(1) * p + 2 * lam * q",
            "dq = dr_hat.unsqueeze(1) * q + 2 * lam * q",
            "q",
            "F15 F14",
        ),
        "dq",
        "q",
    ),
    Pass(
        "logistic regression by rows",
        logistic_regression_by_rows,
        Fault("dw /= len(Xn)", "dw /= Xn.shape[1]", "w", "F8"),
        "torch.as_tensor(dw)",
        "w",
    ),
    Pass(
        "siamese twins",
        siamese_twins,
        Fault("dd2 = same / 6 + ddist / (2 * dist)", "dd2 = same / 6 + ddist / (2 * d2.sqrt())", "d2", "F17"),
        "dd2",
        "d2",
    ),
    Pass(
        "policy gradient",
        policy_gradient,
        Fault(
            "dpolicy = (probs - onehot) * advantage[:, None] / len(states)",
            "dpolicy = (probs - onehot) * returns[:, None] / len(states)",
            "logits",
            "F14 F15",
        ),
        "dlogits",
        "logits",
    ),
    Pass(
        "kernel ridge",
        kernel_ridge,
        Fault("gamma_grad = -(K_grad * K * sqdist).sum(0)", "gamma_grad = -(K_grad * K * sqdist).sum()", "gamma", "F9"),
        "gamma_grad",
        "gamma",
    ),
    Pass(
        "probe in half precision",
        probe_in_half_precision,
        Fault(
            "grads = [X.t() @ d, d.sum(0)]",
            "grads = [(X.bfloat16().t() @ d.bfloat16()).float(), d.sum(0)]",
            "W | parameters[0]",
            "F5",
        ),
        "grads[0]",
        "W",
    ),
]
