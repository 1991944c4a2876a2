"""Attention, its positions, and its heads."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Function, normal


class RotaryHalves(torch.autograd.Function):
    """The second half of the features is the imaginary part of the first, as in GPT-NeoX."""

    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        x1, x2 = x.chunk(2, dim=-1)
        return torch.cat((x1 * cos - x2 * sin, x2 * cos + x1 * sin), dim=-1)

    @staticmethod
    def backward(ctx, dy):
        cos, sin = ctx.saved_tensors
        dy1, dy2 = dy.chunk(2, dim=-1)
        dx1 = dy1 * cos + dy2 * sin
        dx2 = dy2 * cos - dy1 * sin
        return torch.cat((dx1, dx2), dim=-1), None, None


def rotary_halves(x, cos, sin):
    half = x.shape[-1] // 2
    rotated = torch.cat((-x[..., half:], x[..., :half]), dim=-1)
    return x * cos.repeat(1, 2) + rotated * sin.repeat(1, 2)


def angles(length, half):
    turns = torch.arange(length)[:, None] * 10000 ** (-torch.arange(half) / half)
    return turns.cos(), turns.sin()


class RotaryPairs(torch.autograd.Function):
    """Neighbouring features are one complex number, as in the paper."""

    @staticmethod
    def forward(ctx, x, cos, sin):
        ctx.save_for_backward(cos, sin)
        even, odd = x[..., 0::2], x[..., 1::2]
        out = torch.empty_like(x)
        out[..., 0::2] = even * cos - odd * sin
        out[..., 1::2] = even * sin + odd * cos
        return out

    @staticmethod
    def backward(ctx, grad_out):
        cos, sin = ctx.saved_tensors
        g_even, g_odd = grad_out[..., 0::2], grad_out[..., 1::2]
        d_even = g_even * cos + g_odd * sin
        d_odd = g_odd * cos - g_even * sin
        return torch.stack((d_even, d_odd), dim=-1).flatten(-2), None, None


def rotary_pairs(x, cos, sin):
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


class FlashAttention(torch.autograd.Function):
    """Causal, a tile of queries and a tile of keys at a time; of the scores only their logsumexp is kept."""

    @staticmethod
    def forward(ctx, q, k, v, block):
        scale, T = q.shape[-1] ** -0.5, q.shape[-2]
        out, lse = torch.empty_like(q), q.new_empty(q.shape[:-1])
        for i in range(0, T, block):
            qi = q[..., i : i + block, :] * scale
            m = q.new_full(qi.shape[:-1], float("-inf"))
            total, acc = torch.zeros_like(m), torch.zeros_like(qi)
            for j in range(0, i + block, block):
                s = qi @ k[..., j : j + block, :].transpose(-1, -2)
                s = s.masked_fill(later(i, j, s), float("-inf"))
                m_new = torch.maximum(m, s.amax(-1))
                p, alpha = torch.exp(s - m_new[..., None]), torch.exp(m - m_new)
                total = total * alpha + p.sum(-1)
                acc = acc * alpha[..., None] + p @ v[..., j : j + block, :]
                m = m_new
            out[..., i : i + block, :] = acc / total[..., None]
            lse[..., i : i + block] = m + total.log()
        ctx.save_for_backward(q, k, v, out, lse)
        ctx.block, ctx.scale = block, scale
        return out

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, lse = ctx.saved_tensors
        B, T = ctx.block, q.shape[-2]
        delta = (do * o).sum(-1, keepdim=True)
        dq, dk, dv = torch.zeros_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for start in range(0, T, B):
            keys = slice(start, start + B)
            for i in range(start, T, B):
                rows = slice(i, i + B)
                s = q[..., rows, :] @ k[..., keys, :].mT * ctx.scale
                p = torch.exp(s - lse[..., rows, None]).masked_fill(later(i, start, s), 0)
                dv[..., keys, :] += p.mT @ do[..., rows, :]
                ds = p * (do[..., rows, :] @ v[..., keys, :].mT - delta[..., rows, :]) * ctx.scale
                dq[..., rows, :] += ds @ k[..., keys, :]
                dk[..., keys, :] += ds.mT @ q[..., rows, :]
        return dq, dk, dv, None


def later(i, j, s):
    rows, columns = torch.arange(s.shape[-2]) + i, torch.arange(s.shape[-1]) + j
    return columns[None, :] > rows[:, None]


class LinearAttention(torch.autograd.Function):
    """With elu + 1 as the feature map, every query seeing every key."""

    @staticmethod
    def forward(ctx, q, k, v):
        fq, fk = F.elu(q) + 1, F.elu(k) + 1
        kv, ksum = fk.mT @ v, fk.sum(-2, keepdim=True)
        z = (fq * ksum).sum(-1, keepdim=True)
        out = fq @ kv / z
        ctx.save_for_backward(q, k, v, kv, ksum, z, out)
        return out

    @staticmethod
    def backward(ctx, grad):
        q, k, v, kv, ksum, z, out = ctx.saved_tensors
        fq, fk = F.elu(q) + 1, F.elu(k) + 1
        dnum = grad / z
        dz = -(grad * out).sum(-1, keepdim=True) / z
        dkv = fq.mT @ dnum
        dfq = dnum @ kv.mT + dz * ksum
        dfk = v @ dkv.mT + (dz * fq).sum(-2, keepdim=True)
        return dfq * slope(q), dfk * slope(k), fk @ dkv


def slope(x):
    return torch.where(x > 0, torch.ones_like(x), x.exp())


def linear_attention(q, k, v):
    weights = (F.elu(q) + 1) @ (F.elu(k) + 1).transpose(-1, -2)
    return weights / weights.sum(-1, keepdim=True) @ v


class AlibiSoftmax(torch.autograd.Function):
    """Scores less a learnt slope of their head times the distance."""

    @staticmethod
    def forward(ctx, scores, slopes):
        t = torch.arange(scores.shape[-1], device=scores.device)
        distance = (t[:, None] - t[None, :]).abs().to(scores.dtype)
        probs = torch.softmax(scores - slopes[:, None, None] * distance, dim=-1)
        ctx.save_for_backward(probs, distance)
        return probs

    @staticmethod
    def backward(ctx, dprobs):
        probs, distance = ctx.saved_tensors
        dscores = probs * (dprobs - (dprobs * probs).sum(-1, keepdim=True))
        dslopes = -(dscores * distance).sum((0, 2, 3))
        return dscores, dslopes


def alibi_softmax(scores, slopes):
    n = scores.shape[-1]
    distance = torch.tensor([[abs(i - j) for j in range(n)] for i in range(n)], dtype=scores.dtype)
    return F.softmax(scores - torch.einsum("h,ij->hij", slopes, distance), dim=-1)


class GroupedQueryScores(torch.autograd.Function):
    """Several heads of queries share one head of keys."""

    @staticmethod
    def forward(ctx, q, k):
        ctx.save_for_backward(q, k)
        rep = q.shape[1] // k.shape[1]
        return q @ k.repeat_interleave(rep, dim=1).transpose(-2, -1)

    @staticmethod
    def backward(ctx, ds):
        q, k = ctx.saved_tensors
        b, kv_heads, t, d = k.shape
        rep = q.shape[1] // kv_heads
        dq = ds @ k.repeat_interleave(rep, dim=1)
        dk_full = ds.transpose(-2, -1) @ q
        dk = dk_full.reshape(b, kv_heads, rep, t, d).sum(2)
        return dq, dk


def grouped_query_scores(q, k):
    groups = q.unflatten(1, (k.shape[1], -1))
    return torch.einsum("bgrqd,bgkd->bgrqk", groups, k).flatten(1, 2)


WILD = [
    Function(
        "rope of two halves",
        RotaryHalves,
        rotary_halves,
        lambda n=5: (normal(0, 2, n, 6), *angles(n, 3)),
        Fault("dx1 = dy1 * cos + dy2 * sin", "dx1 = dy1 * cos - dy2 * sin", "x", "F13"),
        {"grad_inputs": ["x"]},
    ),
    Function(
        "rope of pairs",
        RotaryPairs,
        rotary_pairs,
        lambda n=5: (normal(0, 2, n, 8), *angles(n, 4)),
        Fault(
            "return torch.stack((d_even, d_odd), dim=-1).flatten(-2), None, None",
            "return torch.cat((d_even, d_odd), dim=-1), None, None",
            "x",
            "F10",
        ),
        {"grad_inputs": ["x"]},
    ),
    Function(
        "flash attention",
        FlashAttention,
        lambda q, k, v, block: F.scaled_dot_product_attention(q, k, v, is_causal=True),
        lambda: (normal(0, 1, 5, 2), normal(1, 1, 5, 2), normal(2, 1, 5, 2), 4),
        Fault("for start in range(0, T, B):", "for start in range(0, T - B + 1, B):", "q k v", "F7"),
    ),
    Function(
        "linear attention",
        LinearAttention,
        linear_attention,
        lambda: (normal(0, 2, 5, 3), normal(1, 2, 5, 3), normal(2, 2, 5, 3)),
        Fault("dfk = v @ dkv.mT + (dz * fq).sum(-2, keepdim=True)", "dfk = v @ dkv.mT", "k", "F6"),
    ),
    Function(
        "alibi softmax",
        AlibiSoftmax,
        alibi_softmax,
        lambda n=5: (normal(0, 2, 3, n, n), torch.tensor([0.5, 0.25, 0.125])),
        Fault(
            "dslopes = -(dscores * distance).sum((0, 2, 3))",
            "dslopes = -(dprobs * distance).sum((0, 2, 3))",
            "slopes",
            "F15 F16",
        ),
    ),
    Function(
        "grouped queries",
        GroupedQueryScores,
        grouped_query_scores,
        lambda n=5: (normal(0, 2, 6, n, 4), normal(1, 2, 3, n, 4)),
        Fault(
            "dk = dk_full.reshape(b, kv_heads, rep, t, d).sum(2)",
            "dk = dk_full.reshape(b, rep, kv_heads, t, d).sum(1)",
            "k",
            "F9 F10",
        ),
    ),
]
