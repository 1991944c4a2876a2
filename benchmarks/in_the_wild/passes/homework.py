"""Course homework: layers as forward and backward functions with a cache between, and a dictionary of gradients."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from in_the_wild.entry import Fault, Pair, Pass, integers, normal, uniform


def affine_forward(x, w, b):
    out = x.reshape(x.shape[0], -1) @ w + b
    return out, (x, w, b)


def affine_backward(dout, cache):
    x, w, _ = cache
    return (dout @ w.T).reshape(x.shape), x.reshape(x.shape[0], -1).T @ dout, dout.sum(0)


def relu_forward(x):
    return torch.clamp(x, min=0), x


def relu_backward(dout, cache):
    x = cache
    dx = dout * (x > 0)
    return dx


def softmax_loss(scores, y):
    n = scores.shape[0]
    logp = scores - torch.logsumexp(scores, 1, keepdim=True)
    dscores = logp.exp()
    dscores[torch.arange(n), y] -= 1
    return -logp[torch.arange(n), y].sum() / n, dscores / n


def layers_with_caches():
    x, y = normal(0, 6, 2, 3), integers(1, 4, 6)
    w1, b1 = normal(2, 6, 8).requires_grad_(), torch.zeros(8, requires_grad=True)
    w2, b2 = normal(3, 8, 4).requires_grad_(), torch.zeros(4, requires_grad=True)
    a1, cache1 = affine_forward(x, w1, b1)
    h1, cache_relu = relu_forward(a1)
    scores, cache2 = affine_forward(h1, w2, b2)
    loss, dscores = softmax_loss(scores, y)
    dh1, dw2, db2 = affine_backward(dscores, cache2)
    da1 = relu_backward(dh1, cache_relu)
    _, dw1, db1 = affine_backward(da1, cache1)
    return locals()


def two_layer_net():
    X, y, reg = normal(0, 10, 4), integers(1, 3, 10), 0.05
    params = {"W1": normal(2, 4, 7) * 0.5, "b1": torch.zeros(7), "W2": normal(3, 7, 3) * 0.5, "b2": torch.zeros(3)}
    for p in params.values():
        p.requires_grad_()
    N = X.shape[0]
    hidden = (X @ params["W1"] + params["b1"]).clamp(min=0)
    scores = hidden @ params["W2"] + params["b2"]
    data_loss = F.cross_entropy(scores, y)
    loss = data_loss + 0.5 * reg * ((params["W1"] ** 2).sum() + (params["W2"] ** 2).sum())
    grads = {}
    with torch.no_grad():
        dscores = scores.softmax(1)
        dscores[range(N), y] -= 1
        dscores /= N
        grads["W2"] = hidden.T @ dscores + reg * params["W2"]
        grads["b2"] = dscores.sum(0)
        dhidden = dscores @ params["W2"].T
        dhidden[hidden <= 0] = 0
        grads["W1"] = X.T @ dhidden + reg * params["W1"]
        grads["b1"] = dhidden.sum(0)
    return locals()


def hinge_of_many_classes():
    N, X, y = 8, normal(0, 8, 5), integers(1, 4, 8)
    W = normal(2, 5, 4).requires_grad_()
    scores = X @ W
    correct = scores[torch.arange(N), y].unsqueeze(1)
    margins = (scores - correct + 1.0).clamp(min=0)
    loss = (margins.sum() - N) / N
    with torch.no_grad():
        dscores = (margins > 0).float()
        dscores[torch.arange(N), y] -= (margins > 0).sum(1)
        dscores /= N
        dW = X.T @ dscores
    return locals()


def conv_with_columns():
    x, w = normal(0, 2, 2, 5, 5).requires_grad_(), normal(1, 3, 2, 3, 3).requires_grad_()
    b = normal(2, 3).requires_grad_()
    N, C, H, W = x.shape
    cols = F.unfold(x, 3)
    w_row = w.view(3, -1)
    out = (w_row @ cols + b.view(1, -1, 1)).view(N, 3, H - 2, W - 2)
    loss = (out * normal(3, *out.shape)).sum()
    dout = normal(3, *out.shape)
    db = dout.sum((0, 2, 3))
    dmat = dout.reshape(N, 3, -1)
    dw = torch.einsum("nfl,nkl->fk", dmat, cols.detach()).view(w.shape)
    dcols = w_row.detach().T @ dmat
    dx = torch.zeros_like(x)
    patches = dcols.view(N, C, 3, 3, H - 2, W - 2)
    for i in range(H - 2):
        for j in range(W - 2):
            dx[:, :, i : i + 3, j : j + 3] += patches[:, :, :, :, i, j]
    return locals()


def max_pool_in_loops():
    x, size, stride = normal(0, 2, 3, 6, 6).requires_grad_(), 2, 2
    w = normal(1, 27, 4).requires_grad_()
    N, C, H, W = x.shape
    pooled = torch.stack(
        [x[:, :, i : i + size, j : j + size].amax((2, 3)) for i in range(0, H, stride) for j in range(0, W, stride)], 2
    )
    scores = pooled.reshape(N, -1) @ w
    loss = (scores**2).sum() / N
    with torch.no_grad():
        dscores = 2 * scores / N
        dw = pooled.reshape(N, -1).T @ dscores
        dpooled = (dscores @ w.T).view(pooled.shape)
        dx = torch.zeros_like(x)
        k = 0
        for i in range(0, H, stride):
            for j in range(0, W, stride):
                window = x[:, :, i : i + size, j : j + size]
                mask = window == window.amax((2, 3), keepdim=True)
                dx[:, :, i : i + size, j : j + size] += mask * dpooled[:, :, k, None, None]
                k += 1
    return locals()


def inverted_dropout():
    p, x = 0.4, normal(0, 7, 5).requires_grad_()
    w = normal(1, 5, 3).requires_grad_()
    mask = (uniform(2, 7, 5) > p).float()
    dropped = x * mask / (1 - p)
    out = dropped @ w
    loss = out.pow(2).mean()
    dout = out.detach() * 2 / out.numel()
    dw = dropped.detach().T @ dout
    ddropped = dout @ w.detach().T
    dx = ddropped * mask / (1 - p)
    return locals()


def layernorm_inputs(n: int = 8, features: int = 6):
    return {"x": normal(0, n, features) * 2, "gamma": normal(1, features) * 0.4 + 1, "beta": normal(2, features)}


def layernorm_forward(x, gamma, beta):
    mu = x.mean(1, keepdim=True)
    xc = x - mu
    var = (xc**2).mean(1, keepdim=True)
    std = torch.sqrt(var + 1e-5)
    xhat = xc / std
    return {"x": x, "gamma": gamma, "beta": beta, "std": std, "xhat": xhat, "out": gamma * xhat + beta}


def layernorm_backward(cache, dout):
    xhat, gamma, std = cache["xhat"], cache["gamma"], cache["std"]
    D = xhat.shape[1]
    dbeta = dout.sum(0)
    dgamma = (dout * xhat).sum(0)
    dxhat = dout * gamma
    dx = (D * dxhat - dxhat.sum(1, keepdim=True) - xhat * (dxhat * xhat).sum(1, keepdim=True)) / (D * std)
    return {"x": dx, "gamma": dgamma, "beta": dbeta, "xhat": dxhat}


WILD = [
    Pass(
        "layers with caches",
        layers_with_caches,
        Fault("dx = dout * (x > 0)", "dx = dout * (dout > 0)", "a1", "F15 F14"),
        "da1",
        "a1",
    ),
    Pass(
        "two-layer net",
        two_layer_net,
        Fault(
            'grads["W2"] = hidden.T @ dscores + reg * params["W2"]',
            'grads["W2"] = hidden.T @ dscores',
            "params['W2']",
            "F6",
        ),
        "grads['W2']",
        "params['W2']",
    ),
    Pass(
        "hinge of many classes",
        hinge_of_many_classes,
        Fault(
            "dscores[torch.arange(N), y] -= (margins > 0).sum(1)",
            "dscores[torch.arange(N), y] -= 1",
            "scores",
            "F14 F6",
        ),
        "dscores",
        "scores",
    ),
    Pass(
        "convolution with columns",
        conv_with_columns,
        Fault(
            "dx[:, :, i : i + 3, j : j + 3] += patches[:, :, :, :, i, j]",
            "dx[:, :, i : i + 3, j : j + 3] = patches[:, :, :, :, i, j]",
            "x",
            "F11",
        ),
        "dx",
        "x",
    ),
    Pass(
        "max pool in loops",
        max_pool_in_loops,
        Fault(
            "dx[:, :, i : i + size, j : j + size] += mask * dpooled[:, :, k, None, None]",
            "dx[:, :, i : i + size, j : j + size] += dpooled[:, :, k, None, None]",
            "x",
            "F16 F14",
        ),
        "dx",
        "x",
    ),
    Pass(
        "inverted dropout",
        inverted_dropout,
        Fault("dx = ddropped * mask / (1 - p)", "dx = ddropped * mask", "x", "F12"),
        "dx",
        "x",
    ),
    Pair(
        "layer norm with a cache",
        layernorm_forward,
        layernorm_backward,
        layernorm_inputs,
        Fault("dxhat = dout * gamma", "dxhat = dout.mul_(gamma)", "xhat", "F3"),
    ),
]
