"""Losses that people fuse by hand."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Function, integers, normal, uniform


class FocalLoss(torch.autograd.Function):
    """Of logits and targets of 0 and 1."""

    @staticmethod
    def forward(ctx, logits, targets, gamma=2.0, alpha=0.25):
        p = torch.sigmoid(logits)
        pt = torch.where(targets == 1, p, 1 - p)
        at = torch.where(targets == 1, alpha, 1 - alpha)
        ctx.save_for_backward(pt, at, targets)
        ctx.gamma = gamma
        return (-at * (1 - pt) ** gamma * pt.log()).mean()

    @staticmethod
    def backward(ctx, grad):
        pt, at, targets = ctx.saved_tensors
        g = ctx.gamma
        slope = at * (g * (1 - pt) ** g * pt * pt.log() - (1 - pt) ** (g + 1))
        sign = torch.where(targets == 1, 1.0, -1.0)
        return grad * sign * slope / pt.numel(), None, None, None


def focal_loss(logits, targets, gamma=2.0, alpha=0.25):
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    pt = torch.exp(-bce)
    at = alpha * targets + (1 - alpha) * (1 - targets)
    return (at * (1 - pt) ** gamma * bce).mean()


class SmoothCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target, smoothing, ignore_index):
        logp = logits.log_softmax(-1)
        keep = target != ignore_index
        safe = target.masked_fill(~keep, 0)
        nll = -logp.gather(1, safe[:, None])[:, 0]
        loss = (1 - smoothing) * nll - smoothing * logp.mean(1)
        count = keep.sum()
        ctx.save_for_backward(logp, safe, keep, count)
        ctx.smoothing = smoothing
        return (loss * keep).sum() / count

    @staticmethod
    def backward(ctx, dloss):
        logp, safe, keep, count = ctx.saved_tensors
        V = logp.shape[1]
        dlogits = logp.exp() - ctx.smoothing / V
        dlogits[torch.arange(len(safe)), safe] -= 1 - ctx.smoothing
        dlogits *= keep[:, None] / count
        return dlogits * dloss, None, None, None


class ChunkedLinearCrossEntropy(torch.autograd.Function):
    """The gradients are made in the forward pass, a chunk of rows at a time, and the logits never kept."""

    @staticmethod
    def forward(ctx, x, weight, target, chunk):
        dx, dweight = torch.empty_like(x), torch.zeros_like(weight)
        total = torch.zeros((), dtype=x.dtype)
        for start in range(0, len(x), chunk):
            rows, t = x[start : start + chunk], target[start : start + chunk]
            logits = rows @ weight.t()
            total += F.cross_entropy(logits, t, reduction="sum")
            dlogits = logits.softmax(-1)
            dlogits[torch.arange(len(t)), t] -= 1
            dx[start : start + chunk] = dlogits @ weight
            dweight += dlogits.t() @ rows
        ctx.save_for_backward(dx / len(x), dweight / len(x))
        return total / len(x)

    @staticmethod
    def backward(ctx, grad_output):
        dx, dweight = ctx.saved_tensors
        return dx * grad_output, dweight * grad_output, None, None


class KLDivergence(torch.autograd.Function):
    """Distillation: KL of the teacher's softened probabilities from the student's, times T squared."""

    @staticmethod
    def forward(ctx, student, teacher, T):
        logq, logp = (student / T).log_softmax(-1), (teacher / T).log_softmax(-1)
        ctx.save_for_backward(logq, logp)
        ctx.T = T
        return (logp.exp() * (logp - logq)).sum() / len(student) * T**2

    @staticmethod
    def backward(ctx, grad):
        logq, logp = ctx.saved_tensors
        dstudent = grad * ctx.T * (logq.exp() - logp.exp()) / len(logq)
        return dstudent, None, None


class JSDivergence(torch.autograd.Function):
    """Of probabilities."""

    @staticmethod
    def forward(ctx, p, q):
        m = (p + q) / 2
        ctx.save_for_backward(p, q, m)
        return 0.5 * (p * (p / m).log() + q * (q / m).log()).sum()

    @staticmethod
    def backward(ctx, g):
        p, q, m = ctx.saved_tensors
        dp = 0.5 * g * (p / m).log()
        dq = 0.5 * g * (q / m).log()
        return dp, dq


class MultiClassHinge(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, y):
        n = len(scores)
        margins = (scores - scores[torch.arange(n), y][:, None] + 1).clamp(min=0)
        margins[torch.arange(n), y] = 0
        ctx.save_for_backward(margins, y)
        return margins.sum() / n

    @staticmethod
    def backward(ctx, grad):
        margins, y = ctx.saved_tensors
        n = len(y)
        d = (margins > 0).to(margins.dtype)
        d[torch.arange(n), y] = -d.sum(1)
        return grad * d / n, None


class TripletLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, p, n, margin):
        loss = ((a - p).pow(2).sum(1) - (a - n).pow(2).sum(1) + margin).clamp(min=0)
        ctx.save_for_backward(a, p, n, loss)
        return loss.mean()

    @staticmethod
    def backward(ctx, grad):
        a, p, n, loss = ctx.saved_tensors
        active = (loss > 0).to(a.dtype)[:, None] * grad / len(loss)
        da = 2 * (n - p) * active
        dp = -2 * (a - p) * active
        dn = 2 * (a - n) * active
        return da, dp, dn, None


class InfoNCE(torch.autograd.Function):
    """Symmetric, as CLIP has it; of normalised features."""

    @staticmethod
    def forward(ctx, images, texts, scale):
        logits = scale * images @ texts.t()
        labels = torch.arange(len(images))
        ctx.save_for_backward(images, texts, scale, logits)
        return (F.cross_entropy(logits, labels) + F.cross_entropy(logits.t(), labels)) / 2

    @staticmethod
    def backward(ctx, grad):
        images, texts, scale, logits = ctx.saved_tensors
        eye = torch.eye(len(images), dtype=logits.dtype)
        rows, columns = logits.softmax(1) - eye, logits.softmax(0) - eye
        dlogits = grad * (rows + columns) / (2 * len(images))
        dscale = (dlogits * (images @ texts.t())).sum()
        return scale * dlogits @ texts, scale * dlogits.t() @ images, dscale


class WingLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, pred, target, w=10.0, eps=2.0):
        d = pred - target
        ctx.save_for_backward(d)
        ctx.w, ctx.eps = w, eps
        c = w - w * torch.log1p(torch.tensor(w / eps))
        return torch.where(d.abs() < w, w * torch.log1p(d.abs() / eps), d.abs() - c).mean()

    @staticmethod
    def backward(ctx, grad):
        (d,) = ctx.saved_tensors
        slope = torch.where(d.abs() < ctx.w, ctx.w / (ctx.eps + d.abs()), torch.ones_like(d))
        dpred = grad * slope * d.sign() / d.numel()
        return dpred, -dpred, None, None


def wing_loss(pred, target, w=10.0, eps=2.0):
    d = (pred - target).abs()
    c = w - w * torch.log(torch.tensor(1 + w / eps))
    return torch.where(d < w, w * torch.log(1 + d / eps), d - c).mean()


class DiceLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, probs, target, smooth=1.0):
        inter, total = (probs * target).sum(), probs.sum() + target.sum()
        ctx.save_for_backward(target, inter, total)
        ctx.smooth = smooth
        return 1 - (2 * inter + smooth) / (total + smooth)

    @staticmethod
    def backward(ctx, grad):
        target, inter, total = ctx.saved_tensors
        den = total + ctx.smooth
        dprobs = -(2 * target * den - (2 * inter + ctx.smooth)) / den**2
        return grad * dprobs, None, None


WILD = [
    Function(
        "focal loss",
        FocalLoss,
        focal_loss,
        lambda: (normal(0, 12), integers(1, 2, 12).float()),
        Fault(
            "slope = at * (g * (1 - pt) ** g * pt * pt.log() - (1 - pt) ** (g + 1))",
            "slope = at * -((1 - pt) ** (g + 1))",
            "logits",
            "F6 F14",
        ),
        {"grad_inputs": ["logits"]},
    ),
    Function(
        "label smoothing and ignored labels",
        SmoothCrossEntropy,
        lambda logits, target, smoothing, ignore_index: F.cross_entropy(
            logits, target, label_smoothing=smoothing, ignore_index=ignore_index
        ),
        lambda: (normal(0, 7, 5), torch.tensor([1, 0, -100, 4, 2, -100, 3]), 0.1, -100),
        Fault("dlogits *= keep[:, None] / count", "dlogits *= keep[:, None] / len(keep)", "logits", "F8"),
    ),
    Function(
        "chunked linear cross-entropy",
        ChunkedLinearCrossEntropy,
        lambda x, weight, target, chunk: F.cross_entropy(F.linear(x, weight), target),
        lambda n=7: (normal(0, n, 4), normal(1, 5, 4), integers(2, 5, n), 3),
        Fault("dweight += dlogits.t() @ rows", "dweight = dlogits.t() @ rows", "weight", "F7 F11 F6"),
    ),
    Function(
        "distillation",
        KLDivergence,
        lambda student, teacher, T: (
            F.kl_div((student / T).log_softmax(-1), (teacher / T).softmax(-1), reduction="batchmean") * T**2
        ),
        lambda n=4: (normal(0, n, 5), normal(1, n, 5), 3.0),
        Fault(
            "dstudent = grad * ctx.T * (logq.exp() - logp.exp()) / len(logq)",
            "dstudent = grad * (logq.exp() - logp.exp()) / len(logq)",
            "student",
            "F12",
        ),
        {"grad_inputs": ["student"]},
    ),
    Function(
        "jensen-shannon",
        JSDivergence,
        lambda p, q: (
            (F.kl_div(((p + q) / 2).log(), p, reduction="sum") + F.kl_div(((p + q) / 2).log(), q, reduction="sum")) / 2
        ),
        lambda: (normal(0, 3, 4).softmax(-1), normal(1, 3, 4).softmax(-1)),
        Fault("dq = 0.5 * g * (q / m).log()", "dq = 0.5 * g * (p / m).log()", "q", "F10 F15"),
    ),
    Function(
        "multi-class hinge",
        MultiClassHinge,
        lambda scores, y: F.multi_margin_loss(scores, y) * scores.shape[1],
        lambda n=6: (normal(0, n, 4), integers(1, 4, n)),
        Fault("d[torch.arange(n), y] = -d.sum(1)", "d[torch.arange(n), y] = -1", "scores", "F7 F14 F12"),
    ),
    Function(
        "triplet loss",
        TripletLoss,
        lambda a, p, n, margin: F.relu((a - p).pow(2).sum(1) - (a - n).pow(2).sum(1) + margin).mean(),
        lambda rows=5: (normal(0, rows, 3), normal(1, rows, 3), normal(2, rows, 3), 1.0),
        Fault("dn = 2 * (a - n) * active", "dn = -2 * (a - n) * active", "n", "F13"),
    ),
    Function(
        "contrastive loss of two sides",
        InfoNCE,
        lambda images, texts, scale: (
            (
                (-(scale * images @ texts.T).log_softmax(1).diagonal().mean())
                - (scale * images @ texts.T).log_softmax(0).diagonal().mean()
            )
            / 2
        ),
        lambda: (F.normalize(normal(0, 5, 4)), F.normalize(normal(1, 5, 4)), torch.tensor(3.0)),
        Fault(
            "return scale * dlogits @ texts, scale * dlogits.t() @ images, dscale",
            "return scale * dlogits @ texts, scale * dlogits @ images, dscale",
            "texts",
            "F10",
        ),
    ),
    Function(
        "wing loss",
        WingLoss,
        wing_loss,
        lambda: (8 * normal(0, 6, 2), 8 * normal(1, 6, 2)),
        Fault(
            "slope = torch.where(d.abs() < ctx.w, ctx.w / (ctx.eps + d.abs()), torch.ones_like(d))",
            "slope = torch.where(d.abs() < ctx.w, ctx.w / (1 + d.abs()), torch.ones_like(d))",
            "pred target",
            "F14 F12",
        ),
    ),
    Function(
        "dice loss",
        DiceLoss,
        lambda probs, target, smooth=1.0: (
            1 - (2 * (probs * target).sum() + smooth) / (probs.sum() + target.sum() + smooth)
        ),
        lambda: (uniform(0, 4, 5), integers(1, 2, 4, 5).float()),
        Fault(
            "dprobs = -(2 * target * den - (2 * inter + ctx.smooth)) / den**2",
            "dprobs = -2 * target / den",
            "probs",
            "F6 F14",
        ),
        {"grad_inputs": ["probs"]},
    ),
]
