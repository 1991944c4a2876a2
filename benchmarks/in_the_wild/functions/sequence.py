"""Recurrences: scans, gated cells, cumulative products, the forward algorithm."""

from __future__ import annotations

import torch

from in_the_wild.entry import Fault, Function, normal, uniform


class SelectiveScan(torch.autograd.Function):
    """The recurrence of Mamba, one step after the other."""

    @staticmethod
    def forward(ctx, u, delta, A, B, C):
        L, D = u.shape
        h = u.new_zeros(D, A.shape[1])
        states, ys = [h], []
        for t in range(L):
            h = torch.exp(delta[t, :, None] * A) * h + (delta[t] * u[t])[:, None] * B[t]
            states.append(h)
            ys.append(h @ C[t])
        ctx.save_for_backward(u, delta, A, B, C, torch.stack(states))
        return torch.stack(ys)

    @staticmethod
    def backward(ctx, dy):
        u, delta, A, B, C, hs = ctx.saved_tensors
        du, ddelta, dA = torch.zeros_like(u), torch.zeros_like(delta), torch.zeros_like(A)
        dB, dC, dh = torch.zeros_like(B), torch.zeros_like(C), torch.zeros_like(A)
        for t in reversed(range(len(u))):
            decay = torch.exp(delta[t, :, None] * A)
            dh = dh + dy[t, :, None] * C[t]
            dC[t] = dy[t] @ hs[t + 1]
            dlog = dh * hs[t] * decay
            dA += dlog * delta[t, :, None]
            through = (dh * B[t]).sum(1)
            ddelta[t] = (dlog * A).sum(1) + through * u[t]
            du[t] = through * delta[t]
            dB[t] = (delta[t] * u[t]) @ dh
            dh = dh * decay
        return du, ddelta, dA, dB, dC


def selective_scan(u, delta, A, B, C):
    """As one weighted sum over all earlier steps."""
    log = torch.einsum("ld,dn->ldn", delta, A).cumsum(0)
    weights = (log[:, None] - log[None, :]).exp() * torch.ones(len(u), len(u), dtype=u.dtype).tril()[:, :, None, None]
    return torch.einsum("tsdn,sd,sd,sn,tn->td", weights, delta, u, B, C)


class LinearRecurrence(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b):
        h, out = torch.zeros_like(b[:, 0]), []
        for t in range(b.shape[1]):
            h = a[:, t] * h + b[:, t]
            out.append(h)
        out = torch.stack(out, dim=1)
        ctx.save_for_backward(a, out)
        return out

    @staticmethod
    def backward(ctx, grad):
        a, out = ctx.saved_tensors
        da, db = torch.zeros_like(a), torch.empty_like(grad)
        carry = torch.zeros_like(grad[:, 0])
        for t in range(grad.shape[1] - 1, -1, -1):
            carry = carry + grad[:, t]
            db[:, t] = carry
            if t > 0:
                da[:, t] = carry * out[:, t - 1]
            carry = carry * a[:, t]
        return da, db


def linear_recurrence(a, b):
    h = [b[:, 0]]
    for step in range(1, b.shape[1]):
        h.append(torch.addcmul(b[:, step], a[:, step], h[-1]))
    return torch.stack(h, 1) + 0 * a[:, :1]


class LSTMPointwise(torch.autograd.Function):
    """What comes after the two matrix products."""

    @staticmethod
    def forward(ctx, gates, c):
        i, f, g, o = gates.chunk(4, dim=1)
        i, f, g, o = i.sigmoid(), f.sigmoid(), g.tanh(), o.sigmoid()
        c_new = f * c + i * g
        tanh_c = c_new.tanh()
        ctx.save_for_backward(i, f, g, o, c, tanh_c)
        return o * tanh_c, c_new

    @staticmethod
    def backward(ctx, dh, dc_new):
        i, f, g, o, c, tanh_c = ctx.saved_tensors
        dc = dc_new + dh * o * (1 - tanh_c**2)
        do = dh * tanh_c * o * (1 - o)
        di = dc * g * i * (1 - i)
        df = dc * c * f * (1 - f)
        dg = dc * i * (1 - g**2)
        return torch.cat((di, df, dg, do), dim=1), dc * f


def lstm_pointwise(gates, c):
    i, f, g, o = gates.reshape(len(gates), 4, -1).unbind(1)
    c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class GRUPointwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gi, gh, h):
        i_r, i_z, i_n = gi.chunk(3, 1)
        h_r, h_z, h_n = gh.chunk(3, 1)
        r, z = torch.sigmoid(i_r + h_r), torch.sigmoid(i_z + h_z)
        n = torch.tanh(i_n + r * h_n)
        ctx.save_for_backward(r, z, n, h_n, h)
        return n + z * (h - n)

    @staticmethod
    def backward(ctx, dout):
        r, z, n, h_n, h = ctx.saved_tensors
        dz = dout * (h - n) * z * (1 - z)
        dn = dout * (1 - z) * (1 - n * n)
        dr = dn * h_n * r * (1 - r)
        dgi = torch.cat((dr, dz, dn), 1)
        dgh = torch.cat((dr, dz, dn * r), 1)
        return dgi, dgh, dout * z


def gru_pointwise(gi, gh, h):
    size = h.shape[1]
    r = (gi[:, :size] + gh[:, :size]).sigmoid()
    z = (gi[:, size : 2 * size] + gh[:, size : 2 * size]).sigmoid()
    n = (gi[:, 2 * size :] + r * gh[:, 2 * size :]).tanh()
    return (1 - z) * n + z * h


class CumProd(torch.autograd.Function):
    """Of numbers that are not zero, as transmittances along a ray are."""

    @staticmethod
    def forward(ctx, x):
        y = x.cumprod(-1)
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx, grad):
        x, y = ctx.saved_tensors
        weighted = grad * y
        suffix = weighted.flip(-1).cumsum(-1).flip(-1)
        return suffix / x


class ForwardAlgorithm(torch.autograd.Function):
    """The log-likelihood of a chain; its gradients are posteriors."""

    @staticmethod
    def forward(ctx, emission, transition):
        alpha = [emission[0]]
        for e in emission[1:]:
            alpha.append(torch.logsumexp(alpha[-1][:, None] + transition, dim=0) + e)
        alpha = torch.stack(alpha)
        total = alpha[-1].logsumexp(0)
        ctx.save_for_backward(emission, transition, alpha, total)
        return total

    @staticmethod
    def backward(ctx, grad):
        emission, transition, alpha, total = ctx.saved_tensors
        beta = torch.zeros_like(alpha)
        dtransition = torch.zeros_like(transition)
        for t in range(len(emission) - 2, -1, -1):
            arrive = emission[t + 1] + beta[t + 1]
            dtransition += torch.exp(alpha[t][:, None] + transition + arrive - total)
            beta[t] = torch.logsumexp(transition + arrive, dim=1)
        demission = torch.exp(alpha + beta - total)
        return grad * demission, grad * dtransition


def log_likelihood(emission, transition):
    """By matrix products of probabilities."""
    weights = emission[0].exp()
    for e in emission[1:]:
        weights = (weights @ transition.exp()) * e.exp()
    return weights.sum().log()


WILD = [
    Function(
        "selective scan",
        SelectiveScan,
        selective_scan,
        lambda n=5: (normal(0, n, 3), uniform(1, n, 3), -0.2 - uniform(2, 3, 2), normal(3, n, 2), normal(4, n, 2)),
        Fault("ddelta[t] = (dlog * A).sum(1) + through * u[t]", "ddelta[t] = through * u[t]", "delta", "F6"),
    ),
    Function(
        "linear recurrence",
        LinearRecurrence,
        linear_recurrence,
        lambda n=6: (uniform(0, 3, n), normal(1, 3, n)),
        Fault("da[:, t] = carry * out[:, t - 1]", "da[:, t] = carry * out[:, t]", "a", "F14 F15"),
    ),
    Function(
        "lstm cell",
        LSTMPointwise,
        lstm_pointwise,
        lambda n=4: (normal(0, n, 12), normal(1, n, 3)),
        Fault("dc = dc_new + dh * o * (1 - tanh_c**2)", "dc = dh * o * (1 - tanh_c**2)", "gates c", "F6"),
    ),
    Function(
        "gru cell",
        GRUPointwise,
        gru_pointwise,
        lambda n=4: (normal(0, n, 9), normal(1, n, 9), normal(2, n, 3)),
        Fault("dgh = torch.cat((dr, dz, dn * r), 1)", "dgh = torch.cat((dr, dz, dn), 1)", "gh", "F10 F14 F16"),
    ),
    Function(
        "cumulative product",
        CumProd,
        lambda x: torch.stack([x[..., : k + 1].prod(-1) for k in range(x.shape[-1])], -1),
        lambda: (0.3 + uniform(0, 2, 4),),
        Fault(
            "suffix = weighted.flip(-1).cumsum(-1).flip(-1)",
            "suffix = weighted.cumsum(-1)",
            "x",
            "F14",
        ),
    ),
    Function(
        "forward algorithm",
        ForwardAlgorithm,
        log_likelihood,
        lambda n=5: (normal(0, n, 3).log_softmax(-1), normal(1, 3, 3).log_softmax(-1)),
        Fault(
            "dtransition += torch.exp(alpha[t][:, None] + transition + arrive - total)",
            "dtransition += torch.exp(alpha[t][:, None] + transition + beta[t + 1] - total)",
            "transition",
            "F16 F14",
        ),
    ),
]
