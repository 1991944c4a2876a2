"""Generative models: a variational autoencoder, a GAN's two losses, a denoiser with time steps, a coupling layer."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Pair, Pass, normal


def variational_autoencoder():
    n, x = 6, normal(0, 6, 5).sigmoid()
    w_mu, w_lv = (normal(1, 5, 3) * 0.5).requires_grad_(), (normal(2, 5, 3) * 0.5).requires_grad_()
    w_dec = (normal(3, 3, 5) * 0.5).requires_grad_()
    eps = normal(4, n, 3)
    mu = x @ w_mu
    logvar = x @ w_lv
    std = torch.exp(0.5 * logvar)
    z = mu + eps * std
    out = z @ w_dec
    bce = F.binary_cross_entropy_with_logits(out, x, reduction="sum")
    kl = -0.5 * (1 + logvar - mu**2 - logvar.exp()).sum()
    loss = (bce + kl) / n

    with torch.no_grad():
        dloss_dout = (out.sigmoid() - x) / n
        dloss_dw_dec = z.T @ dloss_dout
        dloss_dz = dloss_dout @ w_dec.T
        dloss_dstd = dloss_dz * eps
        dloss_dmu = dloss_dz + mu / n
        dloss_dlogvar = 0.5 * dloss_dstd * std + 0.5 * (logvar.exp() - 1) / n
        dloss_dw_mu, dloss_dw_lv = x.T @ dloss_dmu, x.T @ dloss_dlogvar
    return locals()


def discriminator_of_a_gan():
    m, real, noise = 7, normal(0, 7, 2), normal(1, 7, 3)
    G = (normal(2, 3, 2) * 0.7).requires_grad_()
    D1, D2 = (normal(3, 2, 6) * 0.6).requires_grad_(), (normal(4, 6, 1) * 0.6).requires_grad_()
    fake = noise @ G
    h_real = F.leaky_relu(real @ D1, 0.2)
    h_fake = F.leaky_relu(fake.detach() @ D1, 0.2)
    s_real, s_fake = h_real @ D2, h_fake @ D2
    loss = F.softplus(-s_real).mean() + F.softplus(s_fake).mean()

    grads = {}
    with torch.no_grad():
        grad_s_real = -(1 - torch.sigmoid(s_real)) / m
        grad_s_fake = torch.sigmoid(s_fake) / m
        grads["D2"] = h_real.t().mm(grad_s_real) + h_fake.t().mm(grad_s_fake)
        grad_h_real, grad_h_fake = grad_s_real @ D2.t(), grad_s_fake @ D2.t()
        slope_real, slope_fake = torch.where(h_real > 0, 1.0, 0.2), torch.where(h_fake > 0, 1.0, 0.2)
        grads["D1"] = real.t().mm(grad_h_real * slope_real) + fake.t().mm(grad_h_fake * slope_fake)
    return locals()


def denoiser_with_time_steps():
    x0, noise = normal(0, 8, 4), normal(1, 8, 4)
    t = torch.tensor([0, 3, 1, 3, 2, 0, 3, 1])
    alpha_bar = torch.tensor([0.95, 0.8, 0.5, 0.2])[t].unsqueeze(1)
    xt = alpha_bar.sqrt() * x0 + (1 - alpha_bar).sqrt() * noise
    temb = (normal(2, 4, 10) * 0.5).requires_grad_()
    w_in, w_out = (normal(3, 4, 10) * 0.5).requires_grad_(), (normal(4, 10, 4) * 0.3).requires_grad_()
    pre = xt @ w_in + temb[t]
    act = pre * torch.sigmoid(pre)
    pred = act @ w_out
    loss = F.mse_loss(pred, noise)

    pred_bar = (pred - noise) * 2 / pred.numel()
    w_out_bar = act.T @ pred_bar
    act_bar = pred_bar @ w_out.T
    sig = torch.sigmoid(pre)
    pre_bar = act_bar * sig * (1 + pre * (1 - sig))
    w_in_bar = xt.T @ pre_bar
    temb_bar = torch.zeros_like(temb)
    temb_bar.index_add_(0, t, pre_bar)
    return locals()


def affine_coupling():
    x = normal(0, 6, 4).requires_grad_()
    ws, wt = (normal(1, 2, 2) * 0.5).requires_grad_(), (normal(2, 2, 2) * 0.5).requires_grad_()
    xa, xb = x[:, :2], x[:, 2:]
    s = torch.tanh(xa @ ws)
    t = xa @ wt
    yb = xb * torch.exp(s) + t
    logdet = s.sum(1)
    nll = 0.5 * (xa**2).sum(1) + 0.5 * (yb**2).sum(1) - logdet
    loss = nll.mean()

    gyb = yb / 6
    gxb = gyb * torch.exp(s)
    gs = gyb * xb * torch.exp(s) - 1 / 6
    gt = gyb
    gpre = gs * (1 - s**2)
    gxa = xa / 6 + gpre @ ws.T + gt @ wt.T
    gws, gwt = xa.T @ gpre, xa.T @ gt
    gx = torch.cat([gxa, gxb], 1)
    return locals()


def autoencoder_in_numpy():
    x = normal(0, 9, 6)
    W, b = (normal(1, 6, 3) * 0.5).requires_grad_(), torch.zeros(3, requires_grad=True)
    c = torch.zeros(6, requires_grad=True)
    code = torch.sigmoid(x @ W + b)
    recon = code @ W.T + c
    loss = ((recon - x) ** 2).sum(1).mean() + 0.01 * code.abs().sum()

    xn, Wn, hn, rn = (v.detach().numpy() for v in (x, W, code, recon))
    drecon = 2 * (rn - xn) / xn.shape[0]
    dcode = drecon @ Wn + 0.01 * np.sign(hn)
    dpre = dcode * hn * (1 - hn)
    dW = xn.T @ dpre + drecon.T @ hn
    db, dc = dpre.sum(0), drecon.sum(0)
    return locals()


def mixture_inputs(n: int = 7):
    return {"x": normal(0, n), "mean": normal(1, 4), "log_scale": normal(2, 4) * 0.3, "logit": normal(3, 4)}


def mixture_forward(x, mean, log_scale, logit):
    u = (x[:, None] - mean) * torch.exp(-log_scale)
    logp = -0.5 * u**2 - log_scale - 0.5 * math.log(2 * math.pi) + torch.log_softmax(logit, 0)
    nll = -torch.logsumexp(logp, 1)
    return {"x": x, "mean": mean, "log_scale": log_scale, "logit": logit, "u": u, "logp": logp, "nll": nll}


def mixture_backward(values, dnll):
    u, scale = values["u"], torch.exp(values["log_scale"])
    resp = torch.softmax(values["logp"], 1)
    dlogp = -dnll[:, None] * resp
    du = -u * dlogp
    dlogit = dlogp.sum(0) - torch.softmax(values["logit"], 0) * dlogp.sum()
    dlog_scale = -(dlogp + du * u).sum(0)
    dmean = -(du / scale).sum(0)
    return {
        "logp": dlogp,
        "u": du,
        "logit": dlogit,
        "log_scale": dlog_scale,
        "mean": dmean,
        "x": (du / scale).sum(1),
    }


WILD = [
    Pass(
        "variational autoencoder",
        variational_autoencoder,
        Fault("dloss_dmu = dloss_dz + mu / n", "dloss_dmu = dloss_dz", "mu", "F6"),
        "dloss_dmu",
        "mu",
    ),
    Pass(
        "discriminator of a gan",
        discriminator_of_a_gan,
        Fault(
            "grad_s_real = -(1 - torch.sigmoid(s_real)) / m",
            "grad_s_real = (1 - torch.sigmoid(s_real)) / m",
            "s_real",
            "F13",
        ),
        "grad_s_real",
        "s_real",
    ),
    Pass(
        "denoiser with time steps",
        denoiser_with_time_steps,
        Fault("temb_bar.index_add_(0, t, pre_bar)", "temb_bar[t] += pre_bar", "temb", "F11"),
        "temb_bar",
        "temb",
    ),
    Pass(
        "affine coupling",
        affine_coupling,
        Fault("gs = gyb * xb * torch.exp(s) - 1 / 6", "gs = gyb * xb - 1 / 6", "s", "F16"),
        "gs",
        "s",
    ),
    Pass(
        "autoencoder in numpy",
        autoencoder_in_numpy,
        Fault("dW = xn.T @ dpre + drecon.T @ hn", "dW = xn.T @ dpre", "W", "F6"),
        "torch.as_tensor(dW)",
        "W",
    ),
    Pair(
        "mixture of gaussians",
        mixture_forward,
        mixture_backward,
        mixture_inputs,
        Fault("dlogp = -dnll[:, None] * resp", "dlogp = -resp", "logp", "F1"),
    ),
]
