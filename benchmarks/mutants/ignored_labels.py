"""The tied embedding with ignored labels."""

LINES = {
    "dtotal = -dloss / counted.sum().clamp(min=1)": [
        ("F8", "dtotal = -dloss / len(s.labels)"),
        ("F8", "dtotal = -dloss"),
        ("F13", "dtotal = dloss / counted.sum().clamp(min=1)"),
    ],
    "dpicked = dtotal * counted": [
        (
            "F14 | F16",
            "dpicked = dtotal.expand_as(s.picked)",
        ),  # the mask left out: of a pass that ignores no label
        ("F12", "dpicked = 2 * dtotal * counted"),
        ("F8", "dpicked = dtotal * counted / len(s.labels)"),
    ],
    "dlogprobs = torch.zeros_like(s.logprobs).scatter(1, where, dpicked)": [
        ("F13", "dlogprobs = torch.zeros_like(s.logprobs).scatter(1, where, -dpicked)"),
        ("F7", "dlogprobs = torch.zeros_like(s.logprobs).scatter(1, where[:-1], dpicked[:-1])"),
    ],
    "dnorm = -dlogprobs.sum(1, keepdim=True)": [
        ("F13", "dnorm = dlogprobs.sum(1, keepdim=True)"),
        ("F9", "dnorm = -dlogprobs"),
        ("F9", "dnorm = -dlogprobs.sum(0, keepdim=True)"),
        ("F8", "dnorm = -dlogprobs.mean(1, keepdim=True)"),
    ],
    "dlogits = dlogprobs + s.logprobs.exp() * dnorm": [
        ("F6", "dlogits = dlogprobs.clone()"),
        ("F6", "dlogits = s.logprobs.exp() * dnorm"),
        ("F13", "dlogits = dlogprobs - s.logprobs.exp() * dnorm"),
        ("F16", "dlogits = dlogprobs + dnorm"),
        ("F14", "dlogits = dlogprobs + s.logits.exp() * dnorm"),
        ("F14", "dlogits = dlogprobs + s.logprobs * dnorm"),
    ],
    "dbias = dlogits.sum(0)": [
        ("F8", "dbias = dlogits.mean(0)"),
        ("F9", "dbias = dlogits.sum(0, keepdim=True)"),
        ("F15", "dbias = dlogprobs.sum(0)"),
        ("F5", "dbias = dlogits.bfloat16().sum(0).to(dlogits.dtype)"),
        ("F4", "dbias = None"),
    ],
    "demb = dlogits @ s.table": [
        ("F15", "demb = dlogprobs @ s.table"),
        ("F12", "demb = 0.5 * dlogits @ s.table"),
    ],
    "dtable = (dlogits.T @ s.emb).index_add(0, s.tokens, demb)": [
        ("F6", "dtable = dlogits.T @ s.emb"),
        ("F6", "dtable = torch.zeros_like(s.table).index_add(0, s.tokens, demb)"),
        ("F6", "dtable = (2 * dlogits.T @ s.emb).index_add(0, s.tokens, demb)"),
        ("F11", "dtable = (dlogits.T @ s.emb).index_copy(0, s.tokens, demb)"),
        ("F11", "dtable = dlogits.T @ s.emb; dtable[s.tokens] += demb"),
        ("F13", "dtable = (dlogits.T @ s.emb).index_add(0, s.tokens, -demb)"),
        ("F7", "dtable = (dlogits.T @ s.emb).index_add(0, s.tokens[:-1], demb[:-1])"),
    ],
}

PAIRS = [
    ("dtotal = -dloss / len(s.labels)", "dtable = dlogits.T @ s.emb"),
    ("dlogits = dlogprobs + dnorm", "dbias = dlogits.sum(0, keepdim=True)"),
]

DOUBLES = {
    "demb = dlogits @ s.table": [
        ("F5", "demb = (dlogits.float() @ s.table.float()).to(dlogits.dtype)"),
    ],
}

FUNCTIONS = {
    "dtotal = -dloss / counted.sum().clamp(min=1)": [
        ("F1", "dtotal = -torch.ones_like(dloss) / counted.sum().clamp(min=1)"),
        ("F17", "dtotal = -dloss / counted.sum()"),
    ],
    "dlogits = dlogprobs + s.logprobs.exp() * dnorm": [
        ("F3", "dlogits = dlogprobs + s.logprobs.exp_() * dnorm", "logits | logprobs"),
    ],
}
