"""Causal self-attention."""

LINES = {
    "scale = s.q.shape[-1] ** -0.5": [
        ("F12 | F16", "scale = 1", "q k"),
        ("F12", "scale = dy.shape[-1] ** -0.5", "q k"),  # of the whole width
    ],
    "dmixed = dy.unflatten(2, (heads, -1)).transpose(1, 2)": [
        ("F10", "dmixed = dy.unflatten(2, (-1, heads)).permute(0, 3, 1, 2)"),
        ("F13", "dmixed = -dy.unflatten(2, (heads, -1)).transpose(1, 2)"),
    ],
    "dweights = dmixed @ s.v.mT": [
        ("F12", "dweights = 2 * dmixed @ s.v.mT"),
        ("F10", "dweights = s.v @ dmixed.mT"),
        ("F14", "dweights = dmixed @ s.k.mT"),
    ],
    "dv = s.weights.mT @ dmixed": [
        ("F10", "dv = s.weights @ dmixed"),
        ("F16", "dv = dmixed.clone()"),
        ("F4 | F6", "dv = torch.zeros_like(s.v)"),
    ],
    "dmasked = s.weights * (dweights - (dweights * s.weights).sum(-1, keepdim=True))": [
        ("F6", "dmasked = s.weights * dweights"),
        ("F9", "dmasked = s.weights * (dweights - (dweights * s.weights).sum(-2, keepdim=True))"),
        ("F16", "dmasked = dweights - (dweights * s.weights).sum(-1, keepdim=True)"),
        ("F14", "dmasked = s.weights * (1 - s.weights) * dweights"),
    ],
    "dscores = dmasked.tril()": [
        ("F10", "dscores = dmasked.mT.tril()"),
        ("F7 | F14", "dscores = dmasked.tril(-1)"),
        ("F17", "dscores = dmasked * s.masked / s.scores"),
    ],
    "dq = scale * dscores @ s.k": [
        ("F12 | F16", "dq = dscores @ s.k"),
        ("F10", "dq = scale * dscores.mT @ s.k"),
        ("F15", "dq = scale * dweights @ s.k"),  # without the softmax and the mask
    ],
    "dk = scale * dscores.mT @ s.q": [
        ("F10", "dk = scale * dscores @ s.q"),
        ("F12", "dk = scale**2 * dscores.mT @ s.q"),
        ("F10", "dk = scale * dscores @ s.k"),
    ],
    "dqkv = torch.cat([third.transpose(1, 2).flatten(2) for third in (dq, dk, dv)], 2)": [
        ("F10", "dqkv = torch.cat([third.transpose(1, 2).flatten(2) for third in (dk, dq, dv)], 2)"),
        ("F10", "dqkv = torch.cat([third.reshape(dy.shape) for third in (dq, dk, dv)], 2)"),
        ("F6", "dqkv = torch.cat([third.transpose(1, 2).flatten(2) for third in (dq, dk, 0 * dv)], 2)"),
    ],
}

FUNCTIONS = {
    "dv = s.weights.mT @ dmixed": [
        ("F7", "dv = torch.zeros_like(s.v); dv[:4] = s.weights[:4].mT @ dmixed[:4]"),
    ],
}
