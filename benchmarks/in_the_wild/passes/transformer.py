"""Transformers: causal attention with heads, blocks with residuals, tied embeddings, and the GELU's two functions."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Pair, Pass, integers, normal


def causal_attention():
    B, T, C, nh = 2, 5, 6, 2
    hs = C // nh
    x = normal(0, B, T, C).requires_grad_()
    w_qkv, w_proj = (normal(1, C, 3 * C) * 0.4).requires_grad_(), (normal(2, C, C) * 0.4).requires_grad_()
    qkv = x @ w_qkv
    q, k, v = (part.view(B, T, nh, hs).transpose(1, 2) for part in qkv.split(C, dim=2))
    att = (q @ k.transpose(-2, -1)) / math.sqrt(hs)
    masked = att.masked_fill(torch.tril(torch.ones(T, T)) == 0, float("-inf"))
    probs = F.softmax(masked, dim=-1)
    y = probs @ v
    merged = y.transpose(1, 2).reshape(B, T, C)
    out = merged @ w_proj
    loss = (out * normal(3, B, T, C)).sum()

    dout = normal(3, B, T, C)
    dw_proj = (merged.transpose(1, 2) @ dout).sum(0)
    dmerged = dout @ w_proj.T
    dy = dmerged.view(B, T, nh, hs).transpose(1, 2)
    dv = probs.transpose(-2, -1) @ dy
    dprobs = dy @ v.transpose(-2, -1)
    dmasked = probs * (dprobs - (dprobs * probs).sum(-1, keepdim=True))
    datt = dmasked.masked_fill(torch.tril(torch.ones(T, T)) == 0, 0)
    dq = datt @ k / math.sqrt(hs)
    dk = datt.transpose(-2, -1) @ q / math.sqrt(hs)
    dqkv = torch.cat([part.transpose(1, 2).reshape(B, T, C) for part in (dq, dk, dv)], dim=2)
    dw_qkv = x.reshape(-1, C).T @ dqkv.reshape(-1, 3 * C)
    dx = dqkv @ w_qkv.T
    return locals()


class LayerNorm:
    def __init__(self, seed, n):
        self.weight = (1 + normal(seed, n) * 0.2).requires_grad_()
        self.bias = (normal(seed + 1, n) * 0.2).requires_grad_()

    def __call__(self, x):
        centred = x - x.mean(-1, keepdim=True)
        self.rstd = (centred.pow(2).mean(-1, keepdim=True) + 1e-5).rsqrt()
        self.norm = centred * self.rstd
        return self.norm * self.weight + self.bias

    def backward(self, dout):
        self.dweight = (dout * self.norm).sum((0, 1))
        self.dbias = dout.sum((0, 1))
        dnorm = dout * self.weight
        inner = dnorm - dnorm.mean(-1, keepdim=True) - self.norm * (dnorm * self.norm).mean(-1, keepdim=True)
        return inner * self.rstd


def feed_forward_block():
    x = normal(0, 2, 4, 6).requires_grad_()
    w_up, w_down = (normal(1, 6, 12) * 0.4).requires_grad_(), (normal(2, 12, 6) * 0.3).requires_grad_()
    ln = LayerNorm(3, 6)
    x_norm = ln(x)
    up = x_norm @ w_up
    act = F.gelu(up)
    res = x + act @ w_down
    loss = (res**2).mean()
    with torch.no_grad():
        d_res = 2 * res / res.numel()
        d_w_down = act.flatten(0, 1).T @ d_res.flatten(0, 1)
        d_act = d_res @ w_down.T
        cdf, pdf = 0.5 * (1 + torch.erf(up / math.sqrt(2))), torch.exp(-0.5 * up**2) / math.sqrt(2 * math.pi)
        d_up = d_act * (cdf + up * pdf)
        d_w_up = x_norm.flatten(0, 1).T @ d_up.flatten(0, 1)
        d_x_norm = d_up @ w_up.T
        d_x = d_res + ln.backward(d_x_norm)
    return locals()


def tied_embeddings():
    tokens, nxt = integers(0, 8, 2, 4), integers(1, 8, 2, 4)
    wte, wpe = normal(2, 8, 5).requires_grad_(), normal(3, 4, 5).requires_grad_()
    tok = wte[tokens]
    hidden = torch.tanh(tok + wpe)
    logits = hidden @ wte.T
    loss = F.cross_entropy(logits.view(-1, 8), nxt.view(-1))
    logits_grad = (logits.softmax(-1) - F.one_hot(nxt, 8)) / nxt.numel()
    hidden_grad = logits_grad @ wte
    tok_grad = hidden_grad * (1 - hidden**2)
    wpe_grad = tok_grad.sum(0)
    wte_grad = logits_grad.flatten(0, 1).T @ hidden.flatten(0, 1)
    wte_grad = wte_grad.index_add(0, tokens.flatten(), tok_grad.flatten(0, 1))
    return locals()


def positions_and_patches():
    patches, label = normal(0, 3, 4, 6), integers(1, 5, 3)
    proj, pos = (normal(2, 6, 5) * 0.4).requires_grad_(), (normal(3, 4, 5) * 0.2).requires_grad_()
    head = normal(4, 5, 5).requires_grad_()
    tokens = patches @ proj + pos
    gated = tokens * torch.sigmoid(tokens)
    pooled = gated.mean(1)
    logits = pooled @ head
    loss = F.cross_entropy(logits, label)
    params, grads = [proj, pos, head], []
    with torch.no_grad():
        g_logits = (logits.softmax(1) - F.one_hot(label, 5)) / 3
        g_head = pooled.T @ g_logits
        g_pooled = g_logits @ head.T
        g_gated = (g_pooled / 4).unsqueeze(1).expand(3, 4, 5)
        s = torch.sigmoid(tokens)
        g_tokens = g_gated * (s + tokens * s * (1 - s))
        g_pos = g_tokens.sum(0)
        g_proj = torch.einsum("npi,npo->io", patches, g_tokens)
        grads += [g_proj, g_pos, g_head]
    return locals()


def gelu_inputs(n: int = 6):
    return {"x": normal(0, n, 5), "w": normal(1, 5, 4)}


def gelu_forward(x, w):
    h = x @ w
    inner = math.sqrt(2 / math.pi) * (h + 0.044715 * h**3)
    t = torch.tanh(inner)
    return {"x": x, "w": w, "h": h, "inner": inner, "t": t, "y": 0.5 * h * (1 + t)}


def gelu_backward(saved, dy):
    x, w, h, t = saved["x"], saved["w"], saved["h"], saved["t"]
    dt = 0.5 * h * dy
    dinner = dt * (1 - t**2)
    dh = 0.5 * (1 + t) * dy + dinner * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * h**2)
    return {"t": dt, "inner": dinner, "h": dh, "w": x.T @ dh, "x": dh @ w.T}


WILD = [
    Pass(
        "causal attention",
        causal_attention,
        Fault(
            "dmasked = probs * (dprobs - (dprobs * probs).sum(-1, keepdim=True))",
            "dmasked = probs * (dprobs - (dprobs * probs).sum(-2, keepdim=True))",
            "masked",
            "F9",
        ),
        "dmasked",
        "masked",
    ),
    Pass(
        "feed-forward block",
        feed_forward_block,
        Fault("d_x = d_res + ln.backward(d_x_norm)", "d_x = ln.backward(d_x_norm)", "x", "F6"),
        "d_x",
        "x",
    ),
    Pass(
        "tied embeddings",
        tied_embeddings,
        Fault(
            "wte_grad = wte_grad.index_add(0, tokens.flatten(), tok_grad.flatten(0, 1))",
            "wte_grad = wte_grad + tok_grad.sum((0, 1))",
            "wte",
            "F9 F11",
        ),
        "wte_grad",
        "wte",
    ),
    Pass(
        "positions and patches",
        positions_and_patches,
        Fault("g_pos = g_tokens.sum(0)", "g_pos = torch.zeros_like(pos)", "pos", "F4"),
        "g_pos",
        "pos",
    ),
    Pair(
        "gelu by its tanh",
        gelu_forward,
        gelu_backward,
        gelu_inputs,
        Fault(
            "dh = 0.5 * (1 + t) * dy + dinner * math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * h**2)",
            "dh = 0.5 * (1 + t) * dy + dinner * math.sqrt(2 / math.pi) * (1 + 0.044715 * h**2)",
            "h",
            "F14",
        ),
    ),
]
