"""The published network, biased variance."""

LINES = {
    "dlogprobs[range(n), s.Yb] = -dloss / n": [
        ("F8", "dlogprobs[range(n), s.Yb] = -dloss"),
        ("F7", "dlogprobs[range(n // 5 * 5), s.Yb[: n // 5 * 5]] = -dloss / n"),
    ],
    "dcounts_sum_inv = (s.counts * dprobs).sum(1, keepdim=True)": [
        ("F9", "dcounts_sum_inv = (s.counts * dprobs).sum(0, keepdim=True)"),
    ],
    "dcounts = s.counts_sum_inv * dprobs + dcounts_sum": [
        ("F6", "dcounts = s.counts_sum_inv * dprobs"),
        ("F15", "dcounts = s.counts_sum_inv * dprobs + dcounts_sum_inv"),
    ],
    "dnorm_logits = s.counts * dcounts": [
        ("F15", "dnorm_logits = s.counts * dlogprobs"),
    ],
    "dh = dlogits @ s.W2.T": [
        ("F8", "dh = dlogits @ s.W2.T / n"),
    ],
    "dW2 = s.h.T @ dlogits": [
        ("F10", "dW2 = (s.h.T @ dlogits).T"),
        ("F13", "dW2 = -s.h.T @ dlogits"),
        ("F5", "dW2 = (s.h.T.bfloat16() @ dlogits.bfloat16()).to(dlogits.dtype)"),
    ],
    "db2 = dlogits.sum(0)": [
        ("F7", "db2 = dlogits[: n // 5 * 5].sum(0)"),
        ("F4", "db2 = None"),
    ],
    "dhpreact = (1 - s.h**2) * dh": [
        ("F14", "dhpreact = (1 - s.h) * dh"),
        ("F12", "dhpreact = 2 * (1 - s.h**2) * dh"),
    ],
    "dbngain = (s.bnraw * dhpreact).sum(0, keepdim=True)": [
        ("F9", "dbngain = (s.bnraw * dhpreact).sum(0)"),
        ("F10 | F16", "dbngain = dhpreact.sum(0, keepdim=True)"),  # dbnbias, and equally bnraw left out
    ],
    "dbnbias = dhpreact.sum(0, keepdim=True)": [
        ("F10", "dbnbias = (s.bnraw * dhpreact).sum(0, keepdim=True)"),
        ("F8", "dbnbias = dhpreact.mean(0, keepdim=True)"),
    ],
    "dbnraw = s.bngain * dhpreact": [
        ("F16", "dbnraw = dhpreact.clone()"),
    ],
    "dbnvar = -0.5 * (s.bnvar + EPSILON) ** -1.5 * dbnvar_inv": [
        ("F14", "dbnvar = -0.5 * (s.bnvar + EPSILON) ** -0.5 * dbnvar_inv"),
        ("F16", "dbnvar = -0.5 * dbnvar_inv"),
    ],
    "dbndiff2 = 1 / n * torch.ones_like(s.bndiff2) * dbnvar": [
        ("F8 | F14", "dbndiff2 = 1 / (n - 1) * torch.ones_like(s.bndiff2) * dbnvar"),
        ("F8", "dbndiff2 = torch.ones_like(s.bndiff2) * dbnvar"),
    ],
    "dbndiff = s.bnvar_inv * dbnraw + 2 * s.bndiff * dbndiff2": [
        ("F15", "dbndiff = dbnvar_inv * dhpreact + 2 * s.bndiff * dbndiff2"),  # as once published
        ("F6", "dbndiff = s.bnvar_inv * dbnraw"),
        ("F6", "dbndiff = 2 * s.bnvar_inv * dbnraw + 2 * s.bndiff * dbndiff2"),
    ],
    "dhprebn = dbndiff + 1 / n * dbnmeani": [
        ("F6", "dhprebn = dbndiff.clone()"),
        ("F13", "dhprebn = dbndiff - 1 / n * dbnmeani"),
    ],
    "dW1 = s.embcat.T @ dhprebn": [
        ("F15", "dW1 = s.embcat.T @ dbndiff"),
        ("F12", "dW1 = 0.5 * s.embcat.T @ dhprebn"),
    ],
    "dC = torch.zeros_like(s.C).index_put((s.Xb,), demb, accumulate=True)": [
        ("F11", "dC = torch.zeros_like(s.C); dC[s.Xb] = demb"),
        ("F13", "dC = torch.zeros_like(s.C).index_put((s.Xb,), -demb, accumulate=True)"),
    ],
}

PAIRS = [
    ("dbndiff = s.bnvar_inv * dbnraw", "dhprebn = dbndiff.clone()"),
    ("dcounts = s.counts_sum_inv * dprobs", "dC = torch.zeros_like(s.C); dC[s.Xb] = demb"),
    ("dbnraw = dhpreact.clone()", "db2 = None"),
]

DOUBLES = {
    "db2 = dlogits.sum(0)": [
        ("F5", "db2 = dlogits.float().sum(0).to(dlogits.dtype)"),
    ],
}

FUNCTIONS = {
    "dlogprobs[range(n), s.Yb] = -dloss / n": [
        ("F1", "dlogprobs[range(n), s.Yb] = torch.full_like(dloss, -1 / n)"),
    ],
    "dbnvar = -0.5 * (s.bnvar + EPSILON) ** -1.5 * dbnvar_inv": [
        (
            "F14 | F17",
            "dbnvar = -0.5 * s.bnvar**-1.5 * dbnvar_inv",
        ),  # a different power, and 0 · inf for one row
    ],
    "dbndiff = s.bnvar_inv * dbnraw + 2 * s.bndiff * dbndiff2": [
        ("F3", "dbndiff = s.bnvar_inv * dbnraw + s.bndiff.mul_(2) * dbndiff2", "bndiff"),
    ],
    "dembcat = dhprebn @ s.W1.T": [
        (
            "F7",
            "dembcat = torch.zeros_like(s.embcat); dembcat[: n // 8 * 8] = dhprebn[: n // 8 * 8] @ s.W1.T",
        ),
    ],
}
