"""Activations and gated units."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Function, normal


class Gelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        cdf = 0.5 * (1 + torch.erf(x / math.sqrt(2)))
        ctx.save_for_backward(x, cdf)
        return x * cdf

    @staticmethod
    def backward(ctx, grad_output):
        x, cdf = ctx.saved_tensors
        pdf = torch.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
        return grad_output * (cdf + x * pdf)


class SwiGLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, gate, up):
        ctx.save_for_backward(gate, up)
        return F.silu(gate) * up

    @staticmethod
    def backward(ctx, dc):
        a, b = ctx.saved_tensors
        sig_a = torch.sigmoid(a.float())
        silu_a = a * sig_a
        db = dc * silu_a
        da = dc * (silu_a * (1 - sig_a) + sig_a) * b
        return da.to(a.dtype), db.to(b.dtype)


class Mish(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.mul(torch.tanh(F.softplus(x)))

    @staticmethod
    def backward(ctx, grad_output):
        x = ctx.saved_tensors[0]
        sigmoid = torch.sigmoid(x)
        tanh_sp = torch.tanh(F.softplus(x))
        return grad_output.mul(tanh_sp + x * sigmoid * (1 - tanh_sp * tanh_sp))


class PReLU(torch.autograd.Function):
    """One slope a channel."""

    @staticmethod
    def forward(ctx, x, weight):
        ctx.save_for_backward(x, weight)
        return torch.where(x > 0, x, weight[None, :, None, None] * x)

    @staticmethod
    def backward(ctx, grad):
        x, weight = ctx.saved_tensors
        positive = x > 0
        dx = torch.where(positive, grad, grad * weight[None, :, None, None])
        dweight = torch.where(positive, torch.zeros_like(x), grad * x).sum((0, 2, 3))
        return dx, dweight


class SquaredReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        y = F.relu(x)
        ctx.save_for_backward(y)
        return y * y

    @staticmethod
    def backward(ctx, dy):
        (y,) = ctx.saved_tensors
        return 2 * y * dy


class GegluTanh(torch.autograd.Function):
    """Both halves in one tensor, as a fused projection leaves them."""

    @staticmethod
    def forward(ctx, x):
        a, b = x.chunk(2, dim=-1)
        ctx.save_for_backward(x)
        return F.gelu(a, approximate="tanh") * b

    @staticmethod
    def backward(ctx, dy):
        a, b = ctx.saved_tensors[0].chunk(2, dim=-1)
        c = math.sqrt(2 / math.pi)
        t = torch.tanh(c * (a + 0.044715 * a**3))
        gelu = 0.5 * a * (1 + t)
        slope = 0.5 * (1 + t) + 0.5 * a * (1 - t * t) * c * (1 + 3 * 0.044715 * a * a)
        return torch.cat([dy * b * slope, dy * gelu], dim=-1)


class SoftplusBeta(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, beta=1.0):
        ctx.beta = beta
        ctx.save_for_backward(x)
        return torch.log1p(torch.exp(-(beta * x).abs())) / beta + x.clamp(min=0)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * torch.sigmoid(ctx.beta * x), None


def prelu(x, weight):
    return F.prelu(x, weight)


WILD = [
    Function(
        "gelu",
        Gelu,
        F.gelu,
        lambda: (normal(0, 4, 7),),
        Fault("return grad_output * (cdf + x * pdf)", "return grad_output * (cdf + pdf)", "x | x0", "F16 F14"),
    ),
    Function(
        "swiglu",
        SwiGLU,
        lambda gate, up: F.silu(gate) * up,
        lambda n=5: (normal(0, n, 6), normal(1, n, 6)),
        Fault("sig_a = torch.sigmoid(a.float())", "sig_a = torch.sigmoid(a.half()).to(a.dtype)", "gate up", "F5"),
    ),
    Function(
        "mish",
        Mish,
        F.mish,
        lambda: (normal(0, 3, 5),),
        Fault(
            "return grad_output.mul(tanh_sp + x * sigmoid * (1 - tanh_sp * tanh_sp))",
            "return grad_output.mul(tanh_sp + x * (1 - tanh_sp * tanh_sp))",
            "input",
            "F14 F16",
        ),
    ),
    Function(
        "prelu",
        PReLU,
        prelu,
        lambda n=3: (normal(0, n, 4, 5, 2), 0.25 * torch.ones(4)),
        Fault(
            "dweight = torch.where(positive, torch.zeros_like(x), grad * x).sum((0, 2, 3))",
            "dweight = torch.where(positive, torch.zeros_like(x), grad * x).mean((0, 2, 3))",
            "weight",
            "F8",
        ),
    ),
    Function(
        "squared relu",
        SquaredReLU,
        lambda x: F.relu(x) ** 2,
        lambda: (normal(0, 6, 5),),
        Fault("return 2 * y * dy", "return y * dy", "x", "F12"),
    ),
    Function(
        "geglu, one tensor",
        GegluTanh,
        lambda x: F.gelu(x[..., : x.shape[-1] // 2], approximate="tanh") * x[..., x.shape[-1] // 2 :],
        lambda: (normal(0, 2, 3, 8),),
        Fault(
            "return torch.cat([dy * b * slope, dy * gelu], dim=-1)",
            "return torch.cat([dy * gelu, dy * b * slope], dim=-1)",
            "x",
            "F10 F15",
        ),
    ),
    Function(
        "softplus with beta",
        SoftplusBeta,
        lambda x, beta=1.0: F.softplus(x, beta=beta),
        lambda: (normal(0, 5, 4), 2.0),
        Fault(
            "return grad * torch.sigmoid(ctx.beta * x), None",
            "return grad * torch.sigmoid(ctx.beta * x) / ctx.beta, None",
            "x",
            "F12",
        ),
    ),
]
