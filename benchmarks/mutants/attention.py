"""Causal self-attention."""

LINES = {
    "dmixed = dy @ s.Wo.T": [
        ("F1", "dmixed = torch.ones_like(dy) @ s.Wo.T"),
        ("F13", "dmixed = -dy @ s.Wo.T"),
        ("F7", "dmixed = torch.zeros_like(s.mixed); dmixed[:, :-1] = dy[:, :-1] @ s.Wo.T"),
    ],
    "dWo = (s.mixed.mT @ dy).sum(0)": [
        ("F9", "dWo = s.mixed.mT @ dy"),
        ("F8", "dWo = (s.mixed.mT @ dy).mean(0)"),
        ("F10", "dWo = (dy.mT @ s.mixed).sum(0)"),
        ("F7", "dWo = (s.mixed.mT @ dy)[:-1].sum(0)"),
    ],
    "dweights = dmixed @ s.v.mT": [
        ("F12", "dweights = 2 * dmixed @ s.v.mT"),
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
        ("F17", "dscores = dmasked * s.masked / s.scores"),
    ],
    "dq = scale * dscores @ s.k": [
        ("F12 | F16", "dq = dscores @ s.k"),
        ("F10", "dq = scale * dscores.mT @ s.k"),
        ("F15", "dq = scale * dweights @ s.k"),
    ],
    "dk = scale * dscores.mT @ s.q": [
        ("F10", "dk = scale * dscores @ s.q"),
        ("F12", "dk = scale**2 * dscores.mT @ s.q"),
        ("F10", "dk = scale * dscores @ s.k"),  # dq
    ],
    "dWq = (s.x.mT @ dq).sum(0)": [
        ("F9", "dWq = s.x.mT @ dq"),
        ("F8", "dWq = (s.x.mT @ dq).mean(0)"),
        ("F10 | F15", "dWq = (s.x.mT @ dk).sum(0)"),  # dWk, and so made from dk
        ("F5", "dWq = (s.x.mT.half() @ dq.half()).sum(0).to(dy.dtype)"),
    ],
    "dWv = (s.x.mT @ dv).sum(0)": [
        ("F15", "dWv = (s.x.mT @ dmixed).sum(0)"),
        ("F4", "dWv = None"),
    ],
    "dx = dq @ s.Wq.T + dk @ s.Wk.T + dv @ s.Wv.T": [
        ("F6", "dx = dk @ s.Wk.T + dv @ s.Wv.T"),
        ("F6", "dx = dq @ s.Wq.T + dv @ s.Wv.T"),
        ("F6", "dx = dv @ s.Wv.T"),
        ("F6", "dx = dq @ s.Wq.T + 2 * dk @ s.Wk.T + dv @ s.Wv.T"),
        ("F13", "dx = dq @ s.Wq.T - dk @ s.Wk.T + dv @ s.Wv.T"),
        ("F10", "dx = dq @ s.Wk.T + dk @ s.Wq.T + dv @ s.Wv.T"),
    ],
}

PAIRS = [
    ("dv = s.weights @ dmixed", "dx = dk @ s.Wk.T + dv @ s.Wv.T"),
    ("dq = dscores @ s.k", "dWo = s.mixed.mT @ dy"),
    ("dmasked = s.weights * (1 - s.weights) * dweights", "dWv = None"),
]

DOUBLES = {
    "dWo = (s.mixed.mT @ dy).sum(0)": [
        ("F5", "dWo = (s.mixed.mT.float() @ dy.float()).sum(0).to(dy.dtype)"),
    ],
}

FUNCTIONS = {
    "dmixed = dy @ s.Wo.T": [
        ("F2", "dmixed = (dy.view(-1, dy.shape[-1]) @ s.Wo.T).view_as(s.mixed)"),
        ("F2", "dmixed = dy.as_strided(dy.shape, (dy[0].numel(), dy.shape[2], 1)) @ s.Wo.T"),
    ],
    "dmasked = s.weights * (dweights - (dweights * s.weights).sum(-1, keepdim=True))": [
        (
            "F3",
            "dmasked = s.weights.mul_(dweights - (dweights * s.weights).sum(-1, keepdim=True))",
            "masked | weights",
        ),
    ],
    "dv = s.weights.mT @ dmixed": [
        (
            "F7",
            "dv = torch.zeros_like(s.v); t = dv.shape[1] // 7 * 7; dv[:, :t] = s.weights.mT[:, :t] @ dmixed",
            "v",
        ),
    ],
}
