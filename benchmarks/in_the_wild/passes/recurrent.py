"""Recurrent networks, unrolled over time: lists and dictionaries of states, accumulators, attention over an encoder."""

from __future__ import annotations

import numpy as np
import torch

from in_the_wild.entry import Fault, Pass, integers, normal


def lstm_over_time():
    T, B, D, H = 4, 3, 2, 5
    xs, target = normal(0, T, B, D), normal(1, B, H)
    W, U = (normal(2, D, 4 * H) * 0.5).requires_grad_(), (normal(3, H, 4 * H) * 0.4).requires_grad_()
    b = (normal(4, 4 * H) * 0.1).requires_grad_()
    hs, cs, gates = [torch.zeros(B, H)], [torch.zeros(B, H)], []
    for t in range(T):
        a = xs[t] @ W + hs[-1] @ U + b
        i, f, o, g = a[:, :H].sigmoid(), a[:, H : 2 * H].sigmoid(), a[:, 2 * H : 3 * H].sigmoid(), a[:, 3 * H :].tanh()
        cs.append(f * cs[-1] + i * g)
        hs.append(o * cs[-1].tanh())
        gates.append((i, f, o, g))
    loss = ((hs[-1] - target) ** 2).sum() / B

    with torch.no_grad():
        dW, dU, db = torch.zeros_like(W), torch.zeros_like(U), torch.zeros_like(b)
        dh, dc = 2 * (hs[-1] - target) / B, torch.zeros(B, H)
        for t in reversed(range(T)):
            i, f, o, g = gates[t]
            tanh_c = cs[t + 1].tanh()
            do = dh * tanh_c
            dc = dc + dh * o * (1 - tanh_c**2)
            di, dg, df = dc * g, dc * i, dc * cs[t]
            da = torch.cat([di * i * (1 - i), df * f * (1 - f), do * o * (1 - o), dg * (1 - g**2)], 1)
            dW += xs[t].T @ da
            dU += hs[t].T @ da
            db += da.sum(0)
            dh = da @ U.T
            dc = dc * f
    return locals()


def gru_step():
    x, h_prev = normal(0, 4, 3), normal(1, 4, 5).requires_grad_()
    Wz, Uz = normal(2, 3, 5).requires_grad_(), (normal(3, 5, 5) * 0.5).requires_grad_()
    Wr, Ur = normal(4, 3, 5).requires_grad_(), (normal(5, 5, 5) * 0.5).requires_grad_()
    Wn, Un = normal(6, 3, 5).requires_grad_(), (normal(7, 5, 5) * 0.5).requires_grad_()
    z = torch.sigmoid(x @ Wz + h_prev @ Uz)
    r = torch.sigmoid(x @ Wr + h_prev @ Ur)
    rh = r * h_prev
    n = torch.tanh(x @ Wn + rh @ Un)
    h = (1 - z) * n + z * h_prev
    loss = (h * normal(8, 4, 5)).sum()

    grad_h = normal(8, 4, 5)
    grad_n = grad_h * (1 - z)
    grad_z = grad_h * (h_prev - n)
    grad_n_in = grad_n * (1 - n**2)
    grad_rh = grad_n_in @ Un.T
    grad_r = grad_rh * h_prev
    grad_r_in = grad_r * r * (1 - r)
    grad_z_in = grad_z * z * (1 - z)
    grad_h_prev = grad_h * z + grad_rh * r + grad_r_in @ Ur.T + grad_z_in @ Uz.T
    grad_Wz, grad_Uz = x.T @ grad_z_in, h_prev.T @ grad_z_in
    grad_Wr, grad_Ur = x.T @ grad_r_in, h_prev.T @ grad_r_in
    grad_Wn, grad_Un = x.T @ grad_n_in, rh.T @ grad_n_in
    return locals()


def characters_one_by_one():
    vocab, hidden = 6, 5
    inputs, targets = [0, 3, 3, 1, 5], [3, 3, 1, 5, 2]
    Wxh = (normal(0, hidden, vocab) * 0.3).requires_grad_()
    Whh = (normal(1, hidden, hidden) * 0.3).requires_grad_()
    Why = (normal(2, vocab, hidden) * 0.3).requires_grad_()
    bh, by = torch.zeros(hidden, 1, requires_grad=True), torch.zeros(vocab, 1, requires_grad=True)
    xs, hs, ps = {}, {-1: torch.zeros(hidden, 1)}, {}
    loss = torch.zeros(())
    for t in range(len(inputs)):
        xs[t] = torch.zeros(vocab, 1)
        xs[t][inputs[t]] = 1
        hs[t] = torch.tanh(Wxh @ xs[t] + Whh @ hs[t - 1] + bh)
        ys = Why @ hs[t] + by
        ps[t] = torch.exp(ys) / torch.exp(ys).sum()
        loss = loss - torch.log(ps[t][targets[t], 0])

    def array(x):
        return x.detach().numpy()

    dWxh, dWhh, dWhy = np.zeros((hidden, vocab)), np.zeros((hidden, hidden)), np.zeros((vocab, hidden))
    dbh, dby = np.zeros((hidden, 1)), np.zeros((vocab, 1))
    dhnext = np.zeros((hidden, 1))
    for t in reversed(range(len(inputs))):
        dy = np.copy(array(ps[t]))
        dy[targets[t]] -= 1
        dWhy += dy @ array(hs[t]).T
        dby += dy
        dh = array(Why).T @ dy + dhnext
        dhraw = (1 - array(hs[t]) ** 2) * dh
        dbh += dhraw
        dWxh += dhraw @ array(xs[t]).T
        dWhh += dhraw @ array(hs[t - 1]).T
        dhnext = array(Whh).T @ dhraw
    return locals()


def attention_over_an_encoder():
    enc, dec = normal(0, 6, 4).requires_grad_(), normal(1, 4).requires_grad_()
    Wa, Wc = normal(2, 4, 4).requires_grad_(), normal(3, 8, 3).requires_grad_()
    query = dec @ Wa
    scores = enc @ query
    alpha = torch.softmax(scores, 0)
    context = alpha @ enc
    joined = torch.cat([context, dec])
    out = joined @ Wc
    loss = (out**2).sum()

    dL_dout = 2 * out
    dL_dWc = torch.outer(joined, dL_dout)
    dL_djoined = Wc @ dL_dout
    dL_dcontext = dL_djoined[:4]
    dL_dalpha = enc @ dL_dcontext
    dL_dscores = alpha * (dL_dalpha - (dL_dalpha * alpha).sum())
    dL_dquery = enc.T @ dL_dscores
    dL_denc = torch.outer(alpha, dL_dcontext) + torch.outer(dL_dscores, query)
    dL_dWa = torch.outer(dec, dL_dquery)
    dL_ddec = dL_djoined[4:] + Wa @ dL_dquery
    return locals()


def states_and_their_gradients():
    words = integers(0, 7, 5)
    E, R = normal(1, 7, 3).requires_grad_(), (normal(2, 3, 3) * 0.5).requires_grad_()
    states = [torch.zeros(3)]
    for word in words:
        states.append(torch.tanh(states[-1] @ R + E[word]))
    loss = sum((state**2).sum() for state in states[1:]) / len(words)
    with torch.no_grad():
        dstates = [torch.zeros(3) for _ in states]
        dE, dR = torch.zeros_like(E), torch.zeros_like(R)
        for k in range(len(words), 0, -1):
            dstates[k] = dstates[k] + 2 * states[k] / len(words)
            dpre = dstates[k] * (1 - states[k] ** 2)
            dR += torch.outer(states[k - 1], dpre)
            dE[words[k - 1]] += dpre
            dstates[k - 1] = R @ dpre
    return locals()


WILD = [
    Pass(
        "lstm over time",
        lstm_over_time,
        Fault("dc = dc + dh * o * (1 - tanh_c**2)", "dc = dh * o * (1 - tanh_c**2)", "W U b | W U b g i o", "F6"),
        "dW",
        "W",
    ),
    Pass(
        "gru step",
        gru_step,
        Fault("grad_z = grad_h * (h_prev - n)", "grad_z = grad_h * (n - h_prev)", "z", "F13"),
        "grad_z",
        "z",
    ),
    Pass(
        "characters one by one",
        characters_one_by_one,
        Fault(
            "dWhh += dhraw @ array(hs[t - 1]).T",
            "dWhh += array(hs[t - 1]) @ dhraw.T",
            "Whh",
            "F10",
        ),
        "torch.as_tensor(dWhh).float()",
        "Whh",
    ),
    Pass(
        "attention over an encoder",
        attention_over_an_encoder,
        Fault(
            "dL_dscores = alpha * (dL_dalpha - (dL_dalpha * alpha).sum())",
            "dL_dscores = alpha * (1 - alpha) * dL_dalpha",
            "scores",
            "F14",
        ),
        "dL_dscores",
        "scores",
    ),
    Pass(
        "states and their gradients",
        states_and_their_gradients,
        Fault(
            "dstates[k] = dstates[k] + 2 * states[k] / len(words)",
            "dstates[k] = 2 * states[k] / len(words)",
            "states[1] states[2] states[3] states[4]",
            "F6",
        ),
        "dstates[2]",
        "states[2]",
    ),
]
