"""The published network, unbiased variance: its gradients in the order in which they are walked back."""

LINES = {
    "dlogprobs[range(n), s.Yb] = -dloss / n": [
        ("F8", "dlogprobs[range(n), s.Yb] = -dloss"),
        ("F8", "dlogprobs[range(n), s.Yb] = -dloss / n / n"),
        ("F8", "dlogprobs[range(n), s.Yb] = -dloss / (n - 1)"),
        ("F13", "dlogprobs[range(n), s.Yb] = dloss / n"),
        ("F7", "dlogprobs[range(n - 1), s.Yb[:-1]] = -dloss / n"),
    ],
    "dprobs = dlogprobs / s.probs": [
        ("F16", "dprobs = dlogprobs.clone()"),
        ("F14 | F16", "dprobs = dlogprobs * s.probs"),
        ("F13", "dprobs = -dlogprobs / s.probs"),
    ],
    "dcounts_sum_inv = (s.counts * dprobs).sum(1, keepdim=True)": [
        ("F9", "dcounts_sum_inv = s.counts * dprobs"),
        ("F9", "dcounts_sum_inv = (s.counts * dprobs).sum(0, keepdim=True)"),
        ("F16", "dcounts_sum_inv = dprobs.sum(1, keepdim=True)"),
        ("F15", "dcounts_sum_inv = (dlogprobs * dprobs).sum(1, keepdim=True)"),
    ],
    "dcounts_sum = -(s.counts_sum**-2) * dcounts_sum_inv": [
        ("F13", "dcounts_sum = s.counts_sum**-2 * dcounts_sum_inv"),
        ("F14", "dcounts_sum = -(s.counts_sum**-1) * dcounts_sum_inv"),
        ("F16", "dcounts_sum = -dcounts_sum_inv"),
        ("F12", "dcounts_sum = -2 * s.counts_sum**-2 * dcounts_sum_inv"),
    ],
    "dcounts = s.counts_sum_inv * dprobs + dcounts_sum": [
        ("F6", "dcounts = s.counts_sum_inv * dprobs"),
        ("F6", "dcounts = torch.ones_like(s.counts) * dcounts_sum"),
        ("F6", "dcounts = s.counts_sum_inv * dprobs + dcounts_sum + dcounts_sum"),
        ("F13", "dcounts = s.counts_sum_inv * dprobs - dcounts_sum"),
        ("F15", "dcounts = s.counts_sum_inv * dlogprobs + dcounts_sum"),
        ("F16", "dcounts = dprobs + dcounts_sum"),
    ],
    "dnorm_logits = s.counts * dcounts": [
        ("F16", "dnorm_logits = dcounts.clone()"),
        ("F15", "dnorm_logits = s.counts * dprobs"),
        ("F14", "dnorm_logits = s.norm_logits * dcounts"),
    ],
    "dlogit_maxes = -dnorm_logits.sum(1, keepdim=True)": [
        ("F9", "dlogit_maxes = -dnorm_logits"),
        ("F15", "dlogit_maxes = -dcounts.sum(1, keepdim=True)"),
        ("F15", "dlogit_maxes = -dlogprobs.sum(1, keepdim=True)"),
    ],
    "dlogits = dnorm_logits + at_max * dlogit_maxes": [
        # logit_maxes gives nothing but rounding back, so that twice one share is twice the whole
        ("F6 | F12", "dlogits = dnorm_logits + dnorm_logits + at_max * dlogit_maxes"),
        ("F13", "dlogits = -dnorm_logits - at_max * dlogit_maxes"),
        ("F8", "dlogits = (dnorm_logits + at_max * dlogit_maxes) / n"),
    ],
    "dh = dlogits @ s.W2.T": [
        ("F12", "dh = 0.5 * dlogits @ s.W2.T"),
        ("F13", "dh = -dlogits @ s.W2.T"),
        ("F5", "dh = (dlogits.bfloat16() @ s.W2.T.bfloat16()).to(dlogits.dtype)"),
        ("F7", "dh = torch.zeros_like(s.h); dh[:-1] = dlogits[:-1] @ s.W2.T"),
    ],
    "dW2 = s.h.T @ dlogits": [
        ("F10", "dW2 = dlogits.T @ s.h"),
        ("F14", "dW2 = s.hpreact.T @ dlogits"),
        ("F8", "dW2 = s.h.T @ dlogits / n"),
        ("F4", "dW2 = None"),
        ("F7", "dW2 = s.h[:-1].T @ dlogits[:-1]"),
        ("F15", "dW2 = s.h.T @ dcounts"),
    ],
    "db2 = dlogits.sum(0)": [
        ("F8", "db2 = dlogits.mean(0)"),
        ("F9", "db2 = dlogits.sum(0, keepdim=True)"),
        ("F9", "db2 = dlogits.sum(1)"),
        ("F15", "db2 = dlogprobs.sum(0)"),
        ("F5", "db2 = dlogits.bfloat16().sum(0).to(dlogits.dtype)"),
        ("F4 | F6", "db2 = torch.zeros_like(s.b2)"),
    ],
    "dhpreact = (1 - s.h**2) * dh": [
        ("F14", "dhpreact = (1 - s.h) * dh"),
        ("F14", "dhpreact = (1 - s.hpreact**2) * dh"),
        ("F14", "dhpreact = s.h * (1 - s.h) * dh"),
        ("F16", "dhpreact = dh.clone()"),
        ("F15", "dhpreact = (1 - dh**2) * dh"),
        ("F13", "dhpreact = (s.h**2 - 1) * dh"),
    ],
    "dbngain = (s.bnraw * dhpreact).sum(0, keepdim=True)": [
        ("F9", "dbngain = (s.bnraw * dhpreact).sum(0)"),
        ("F8", "dbngain = (s.bnraw * dhpreact).mean(0, keepdim=True)"),
        ("F10 | F16", "dbngain = dhpreact.sum(0, keepdim=True)"),  # dbnbias, and equally bnraw left out
        ("F15", "dbngain = (s.bnraw * dh).sum(0, keepdim=True)"),
        ("F14", "dbngain = (s.hprebn * dhpreact).sum(0, keepdim=True)"),
    ],
    "dbnbias = dhpreact.sum(0, keepdim=True)": [
        ("F9", "dbnbias = dhpreact.sum(0)"),
        ("F9", "dbnbias = dhpreact.clone()"),
        ("F10", "dbnbias = (s.bnraw * dhpreact).sum(0, keepdim=True)"),
        ("F15", "dbnbias = dh.sum(0, keepdim=True)"),
    ],
    "dbnraw = s.bngain * dhpreact": [
        ("F16", "dbnraw = dhpreact.clone()"),
        ("F15", "dbnraw = dbngain * dhpreact"),
        ("F15", "dbnraw = s.bngain * dh"),
    ],
    "dbnvar_inv = (s.bndiff * dbnraw).sum(0, keepdim=True)": [
        ("F9", "dbnvar_inv = s.bndiff * dbnraw"),
        ("F16", "dbnvar_inv = dbnraw.sum(0, keepdim=True)"),
        ("F8", "dbnvar_inv = (s.bndiff * dbnraw).mean(0, keepdim=True)"),
        ("F7", "dbnvar_inv = (s.bndiff * dbnraw)[: n // 12 * 12].sum(0, keepdim=True)"),
    ],
    "dbnvar = -0.5 * (s.bnvar + EPSILON) ** -1.5 * dbnvar_inv": [
        ("F14", "dbnvar = -0.5 * (s.bnvar + EPSILON) ** -0.5 * dbnvar_inv"),
        ("F13", "dbnvar = 0.5 * (s.bnvar + EPSILON) ** -1.5 * dbnvar_inv"),
        ("F12", "dbnvar = -((s.bnvar + EPSILON) ** -1.5) * dbnvar_inv"),
    ],
    "dbndiff2 = 1 / (n - 1) * torch.ones_like(s.bndiff2) * dbnvar": [
        ("F8 | F14", "dbndiff2 = 1 / n * torch.ones_like(s.bndiff2) * dbnvar"),
        ("F8", "dbndiff2 = torch.ones_like(s.bndiff2) * dbnvar"),
        ("F9", "dbndiff2 = 1 / (n - 1) * dbnvar"),
    ],
    "dbndiff = s.bnvar_inv * dbnraw + 2 * s.bndiff * dbndiff2": [
        ("F6", "dbndiff = s.bnvar_inv * dbnraw"),
        ("F6", "dbndiff = 2 * s.bndiff * dbndiff2"),
        ("F15", "dbndiff = dbnvar_inv * dhpreact + 2 * s.bndiff * dbndiff2"),  # as once published
        (
            "F15 | F16",
            "dbndiff = s.bnvar_inv * dhpreact + 2 * s.bndiff * dbndiff2",
        ),  # dhpreact for dbnraw: no bngain
        ("F16", "dbndiff = dbnraw + 2 * s.bndiff * dbndiff2"),
        ("F12", "dbndiff = s.bnvar_inv * dbnraw + s.bndiff * dbndiff2"),
        ("F13", "dbndiff = s.bnvar_inv * dbnraw - 2 * s.bndiff * dbndiff2"),
    ],
    "dbnmeani = -dbndiff.sum(0, keepdim=True)": [
        ("F13", "dbnmeani = dbndiff.sum(0, keepdim=True)"),
        ("F8", "dbnmeani = -dbndiff.mean(0, keepdim=True)"),
        ("F9", "dbnmeani = -dbndiff.sum(0)"),
        ("F15", "dbnmeani = -dbnraw.sum(0, keepdim=True)"),
    ],
    "dhprebn = dbndiff + 1 / n * dbnmeani": [
        ("F6", "dhprebn = dbndiff.clone()"),
        ("F6", "dhprebn = dbndiff + 2 / n * dbnmeani"),
        ("F8", "dhprebn = dbndiff + dbnmeani"),
        ("F8", "dhprebn = dbndiff + 1 / (n - 1) * dbnmeani"),
        ("F13", "dhprebn = dbndiff - 1 / n * dbnmeani"),
    ],
    "dembcat = dhprebn @ s.W1.T": [
        ("F15", "dembcat = dbndiff @ s.W1.T"),
        ("F12", "dembcat = 2 * dhprebn @ s.W1.T"),
        ("F5", "dembcat = (dhprebn.half() @ s.W1.T.half()).to(dhprebn.dtype)"),
    ],
    "dW1 = s.embcat.T @ dhprebn": [
        ("F10", "dW1 = dhprebn.T @ s.embcat"),
        ("F15", "dW1 = s.embcat.T @ dhpreact"),
        ("F8", "dW1 = s.embcat.T @ dhprebn / n"),
        ("F4", "dW1 = None"),
        ("F3", "dW1 = s.embcat.T @ dhprebn.div_(n)", "W1 | hprebn"),  # dembcat has used it already
    ],
    "db1 = dhprebn.sum(0)": [
        ("F15", "db1 = dbndiff.sum(0)"),
        ("F9", "db1 = dhprebn.sum(0, keepdim=True)"),
        ("F9", "db1 = dhprebn.sum(1)"),
    ],
    "demb = dembcat.view(s.emb.shape)": [
        ("F10", "demb = dembcat.view(n, 10, 3).mT"),
    ],
    "dC = torch.zeros_like(s.C).index_put((s.Xb,), demb, accumulate=True)": [
        ("F11", "dC = torch.zeros_like(s.C).index_put((s.Xb,), demb)"),
        ("F11", "dC = torch.zeros_like(s.C); dC[s.Xb] += demb"),
        ("F7", "dC = torch.zeros_like(s.C).index_put((s.Xb[:, :2],), demb[:, :2], accumulate=True)"),
        ("F8", "dC = torch.zeros_like(s.C).index_put((s.Xb,), demb / n, accumulate=True)"),
    ],
}

PAIRS = [
    ("dcounts = s.counts_sum_inv * dprobs", "dbndiff = s.bnvar_inv * dbnraw"),
    ("dhpreact = (1 - s.h) * dh", "dC = torch.zeros_like(s.C).index_put((s.Xb,), demb)"),
    ("dlogprobs[range(n), s.Yb] = -dloss", "db2 = dlogits.sum(0, keepdim=True)"),
    ("dbnbias = dhpreact.sum(0)", "dbngain = (s.bnraw * dhpreact).sum(0)"),
    ("dbnvar = 0.5 * (s.bnvar + EPSILON) ** -1.5 * dbnvar_inv", "dhprebn = dbndiff.clone()"),
    ("dprobs = -dlogprobs / s.probs", "dhpreact = (1 - s.h) * dh"),
]

DOUBLES = {
    "dW2 = s.h.T @ dlogits": [
        ("F5", "dW2 = (s.h.T.float() @ dlogits.float()).to(dlogits.dtype)"),
    ],
}

FUNCTIONS = {
    "dlogprobs[range(n), s.Yb] = -dloss / n": [
        ("F1", "dlogprobs[range(n), s.Yb] = -1 / n"),
    ],
    "dh = dlogits @ s.W2.T": [
        ("F7", "dh = torch.zeros_like(s.h); dh[: n // 4 * 4] = dlogits[: n // 4 * 4] @ s.W2.T"),
    ],
    "dhpreact = (1 - s.h**2) * dh": [
        ("F3", "dhpreact = (1 - s.h.pow_(2)) * dh", "hpreact | h"),
    ],
    "dbngain = (s.bnraw * dhpreact).sum(0, keepdim=True)": [
        ("F3", "dbngain = s.bnraw.mul_(dhpreact).sum(0, keepdim=True)", "bngain | bnraw"),
    ],
    "dbnvar = -0.5 * (s.bnvar + EPSILON) ** -1.5 * dbnvar_inv": [
        ("F14", "dbnvar = -0.5 * s.bnvar**-1.5 * dbnvar_inv"),
    ],
}
