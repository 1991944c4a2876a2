"""Linear algebra: Sinkhorn, singular values, solves, determinants, complex numbers."""

from __future__ import annotations

import torch

from in_the_wild.entry import Fault, Function, normal


class Sinkhorn(torch.autograd.Function):
    """Rows and columns of the scores normalised in turn, in the log domain."""

    @staticmethod
    def forward(ctx, scores, steps):
        kept = []
        for _ in range(steps):
            rows = scores - scores.logsumexp(1, keepdim=True)
            scores = rows - rows.logsumexp(0, keepdim=True)
            kept += [rows, scores]
        ctx.save_for_backward(*kept)
        return scores.exp()

    @staticmethod
    def backward(ctx, grad):
        kept = ctx.saved_tensors
        g = grad * kept[-1].exp()
        for rows, columns in zip(kept[-2::-2], kept[::-2], strict=True):
            g = g - columns.exp() * g.sum(0, keepdim=True)
            g = g - rows.exp() * g.sum(1, keepdim=True)
        return g, None


def sinkhorn(scores, steps):
    p = scores.softmax(1)
    for step in range(steps):
        p = p if step == 0 else p / p.sum(1, keepdim=True)
        p = p / p.sum(0, keepdim=True)
    return p


class SingularValues(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a):
        U, S, Vh = torch.linalg.svd(a, full_matrices=False)
        ctx.save_for_backward(U, Vh)
        return S

    @staticmethod
    def backward(ctx, dS):
        U, Vh = ctx.saved_tensors
        return (U * dS.unsqueeze(-2)) @ Vh


class TriangularSolve(torch.autograd.Function):
    @staticmethod
    def forward(ctx, L, B):
        X = torch.linalg.solve_triangular(L, B, upper=False)
        ctx.save_for_backward(L, X)
        return X

    @staticmethod
    def backward(ctx, dX):
        L, X = ctx.saved_tensors
        dB = torch.linalg.solve_triangular(L.mT, dX, upper=True)
        dL = -(dB @ X.mT).tril()
        return dL, dB


class CholeskyLogdet(torch.autograd.Function):
    """Of a batch of covariance matrices."""

    @staticmethod
    def forward(ctx, cov):
        L = torch.linalg.cholesky(cov)
        ctx.save_for_backward(L)
        return 2 * L.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    @staticmethod
    def backward(ctx, grad):
        (L,) = ctx.saved_tensors
        inverse = torch.cholesky_inverse(L)
        return grad[..., None, None] * inverse


def covariances(batch, n):
    root = normal(0, batch, n, n + 2)
    return root @ root.mT / n + torch.eye(n)


class ComplexLinear(torch.autograd.Function):
    @staticmethod
    def forward(ctx, z, weight, bias):
        ctx.save_for_backward(z, weight)
        return z @ weight.t() + bias

    @staticmethod
    def backward(ctx, grad):
        z, weight = ctx.saved_tensors
        dz = grad @ weight.conj()
        dweight = grad.t() @ z.conj()
        return dz, dweight, grad.sum(0)


def complex_linear(z, weight, bias):
    real = z.real @ weight.real.t() - z.imag @ weight.imag.t()
    imag = z.real @ weight.imag.t() + z.imag @ weight.real.t()
    return torch.complex(real, imag) + bias


class Modulus(torch.autograd.Function):
    """The absolute value of a spectrum, some of whose bins are empty."""

    @staticmethod
    def forward(ctx, z):
        r = (z.real**2 + z.imag**2).sqrt()
        ctx.save_for_backward(z, r)
        return r

    @staticmethod
    def backward(ctx, dr):
        z, r = ctx.saved_tensors
        return dr * torch.where(r > 0, z / r.clamp(min=1e-30), 0)


def spectrum():
    z = torch.complex(normal(0, 3, 5), normal(1, 3, 5))
    z[1, 2] = z[2, 0] = 0
    return z


def complex_normal(seed, *shape):
    return torch.complex(normal(seed, *shape), normal(seed + 1, *shape))


WILD = [
    Function(
        "sinkhorn",
        Sinkhorn,
        sinkhorn,
        lambda n=4: (normal(0, n, n), 3),
        Fault(
            "g = g - rows.exp() * g.sum(1, keepdim=True)", "g = g - rows.exp() * g.sum(0, keepdim=True)", "scores", "F9"
        ),
    ),
    Function(
        "singular values",
        SingularValues,
        torch.linalg.svdvals,
        lambda n=4: (normal(0, n, n),),
        Fault("return (U * dS.unsqueeze(-2)) @ Vh", "return (U * dS.unsqueeze(-2)) @ Vh.mT", "A | x0", "F10"),
    ),
    Function(
        "triangular solve",
        TriangularSolve,
        lambda L, B: torch.linalg.inv(L.tril()) @ B,
        lambda n=4: (normal(0, n, n).tril(-1) + 2 * torch.eye(n), normal(1, n, 3)),
        Fault("dL = -(dB @ X.mT).tril()", "dL = -(dB @ X.mT)", "L", "F16 F14"),
    ),
    Function(
        "log-determinant by cholesky",
        CholeskyLogdet,
        torch.logdet,
        lambda n=3: (covariances(n, 4),),
        Fault("return grad[..., None, None] * inverse", "return inverse", "input | x0", "F1"),
    ),
    Function(
        "complex linear",
        ComplexLinear,
        complex_linear,
        lambda n=4: (complex_normal(0, n, 3), complex_normal(2, 5, 3), complex_normal(4, 5)),
        Fault("dweight = grad.t() @ z.conj()", "dweight = grad.t() @ z", "weight", "F13 F14 F16"),
    ),
    Function(
        "complex modulus",
        Modulus,
        torch.abs,
        lambda: (spectrum(),),
        Fault("return dr * torch.where(r > 0, z / r.clamp(min=1e-30), 0)", "return dr * z / r", "input | x0", "F17"),
    ),
]
