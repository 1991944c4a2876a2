"""Dictionaries and lists of gradients, attributes of layers, arrays of NumPy, second versions, freed graphs, loops."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Pass, integers, normal


def gradients_in_a_dictionary():
    X, y = normal(0, 7, 4), integers(1, 3, 7)
    params = {"W1": normal(2, 4, 5).requires_grad_(), "W2": normal(3, 5, 3).requires_grad_()}
    h = F.relu(X @ params["W1"])
    scores = h @ params["W2"]
    loss = F.cross_entropy(scores, y)
    grads = {}
    dscores = scores.softmax(1)
    dscores[torch.arange(7), y] -= 1
    dscores /= 7
    grads["W2"] = h.t() @ dscores
    dh = dscores @ params["W2"].t()
    grads["W1"] = X.t() @ (dh * (h > 0))
    return locals()


def parallel_lists():
    x, y = normal(0, 6, 3), normal(1, 6, 2)
    weights = [normal(2, 3, 4).requires_grad_(), normal(3, 4, 4).requires_grad_(), normal(4, 4, 2).requires_grad_()]
    activations = [x]
    for w in weights:
        activations.append(torch.tanh(activations[-1] @ w))
    loss = ((activations[-1] - y) ** 2).sum()
    grads = []
    delta = 2 * (activations[-1] - y)
    for i in reversed(range(3)):
        delta = delta * (1 - activations[i + 1] ** 2)
        grads.insert(0, activations[i].T @ delta)
        delta = delta @ weights[i].T
    return locals()


class Linear:
    def __init__(self, seed, n_in, n_out):
        self.W = (normal(seed, n_in, n_out) / n_in**0.5).requires_grad_()
        self.b = torch.zeros(n_out, requires_grad=True)

    def forward(self, x):
        self.x = x
        return x @ self.W + self.b

    def backward(self, dout):
        self.dW = self.x.T @ dout
        self.db = dout.sum(0)
        return dout @ self.W.T


def layers_of_a_class():
    layer1, layer2 = Linear(0, 4, 5), Linear(1, 5, 2)
    x, t = normal(2, 8, 4), normal(3, 8, 2)
    h = layer1.forward(x)
    r = h.clamp(min=0)
    out = layer2.forward(r)
    loss = ((out - t) ** 2).mean()
    with torch.no_grad():
        dr = layer2.backward(2 * (out - t) / out.numel())
        layer1.backward(dr * (h > 0))
    return locals()


def arrays_of_numpy():
    x, w = normal(0, 6, 4), normal(1, 4, 3).requires_grad_()
    b = torch.zeros(3, requires_grad=True)
    z = x @ w + b
    loss = torch.log1p(z.exp()).mean()
    zn = z.detach().numpy()
    dz = (1 / (1 + np.exp(-zn)) / zn.size).astype(np.float32)
    dw = x.numpy().T @ dz
    db = dz.sum(axis=0)
    return locals()


def freed_graph():
    x, w = normal(0, 5, 3), normal(1, 3, 4).requires_grad_()
    h = x @ w
    a = torch.sigmoid(h)
    loss = (a**2).sum()
    for t in (h, a):
        t.retain_grad()
    loss.backward()
    da = 2 * a
    dh = da * a * (1 - a)
    dw = x.T @ dh
    return locals()


def rnn_over_time():
    X, T = normal(0, 6, 2, 3), 6
    Wx, Wh = (0.5 * normal(1, 3, 4)).requires_grad_(), (0.5 * normal(2, 4, 4)).requires_grad_()
    b = torch.zeros(4, requires_grad=True)
    hs = {-1: torch.zeros(2, 4)}
    for t in range(T):
        hs[t] = torch.tanh(X[t] @ Wx + hs[t - 1] @ Wh + b)
    loss = (hs[T - 1] ** 2).sum()
    dWx, dWh, db = torch.zeros_like(Wx), torch.zeros_like(Wh), torch.zeros_like(b)
    dhnext = 2 * hs[T - 1]
    for t in reversed(range(T)):
        draw = (1 - hs[t] ** 2) * dhnext
        dWx += X[t].T @ draw
        dWh += hs[t - 1].T @ draw
        db += draw.sum(0)
        dhnext = draw @ Wh.T
    return locals()


def fused_after_staged():
    n, logits, Y = 8, normal(0, 8, 5).requires_grad_(), integers(1, 5, 8)
    counts = logits.exp()
    probs = counts / counts.sum(1, keepdim=True)
    logprobs = probs.log()
    loss = -logprobs[range(n), Y].mean()
    dlogprobs = torch.zeros_like(logprobs)
    dlogprobs[range(n), Y] = -1 / n
    dprobs = dlogprobs / probs
    dlogits_fast = F.softmax(logits, 1)
    dlogits_fast[range(n), Y] -= 1
    dlogits_fast /= n
    return locals()


def manual_version():
    x, gain = normal(0, 4, 6).requires_grad_(), torch.ones(6, requires_grad=True)
    rms = (x**2).mean(1, keepdim=True).sqrt()
    y = x / rms * gain
    loss = (y * normal(1, 4, 6)).sum()
    dy_manual = normal(1, 4, 6)
    dgain_manual = (dy_manual * x / rms).sum(0)
    g = dy_manual * gain
    dx_manual = g / rms - x * (g * x).mean(1, keepdim=True) / rms**3
    return locals()


WILD = [
    Pass(
        "gradients in a dictionary",
        gradients_in_a_dictionary,
        Fault('grads["W1"] = X.t() @ (dh * (h > 0))', 'grads["W1"] = X.t() @ dh', "params['W1']", "F16 F14"),
        "grads['W1']",
        "params['W1']",
    ),
    Pass(
        "parallel lists",
        parallel_lists,
        Fault(
            "grads.insert(0, activations[i].T @ delta)",
            "grads.append(activations[i].T @ delta)",
            "weights[0] weights[2] | weights[0] w",
            "F10 F9 F15",
        ),
        "grads[0]",
        "weights[0]",
    ),
    Pass(
        "layers of a class",
        layers_of_a_class,
        Fault("self.db = dout.sum(0)", "self.db = dout.mean(0)", "layer1.b layer2.b", "F8"),
        "layer2.db",
        "layer2.b",
    ),
    Pass(
        "arrays of numpy",
        arrays_of_numpy,
        Fault("db = dz.sum(axis=0)", "db = dz.sum()", "b", "F9"),
        "torch.as_tensor(db)",
        "b",
    ),
    Pass("freed graph", freed_graph, Fault("dh = da * a * (1 - a)", "dh = da * (1 - a)", "h w | h", ""), "dh", "h"),
    Pass(
        "rnn over time",
        rnn_over_time,
        Fault("dWh += hs[t - 1].T @ draw", "dWh += hs[t].T @ draw", "Wh", "F15 F7"),
        "dWh",
        "Wh",
    ),
    Pass(
        "fused after staged",
        fused_after_staged,
        Fault("dlogits_fast /= n", "dlogits_fast /= 5", "logits", "F8"),
        "dlogits_fast",
        "logits",
    ),
    Pass(
        "manual version",
        manual_version,
        Fault(
            "dx_manual = g / rms - x * (g * x).mean(1, keepdim=True) / rms**3",
            "dx_manual = g / rms - x * (g * x).mean(1, keepdim=True) / rms**2",
            "x | x_manual",
            "F16 F14",
        ),
        "dx_manual",
        "x",
    ),
]
