"""Layer normalisation."""

LINES = {
    "dgain = (dy * s.xhat).sum(0)": [
        ("F1", "dgain = s.xhat.sum(0)"),
        ("F1", "dgain = dy[0, 0] * s.xhat.sum(0)"),
        ("F9", "dgain = (dy * s.xhat).sum(0, keepdim=True)"),
        ("F9", "dgain = (dy * s.xhat).sum(1)"),
        ("F8", "dgain = (dy * s.xhat).mean(0)"),
        ("F7", "dgain = (dy * s.xhat)[: len(dy) // 8 * 8].sum(0)"),
        ("F5", "dgain = (dy * s.xhat).bfloat16().sum(0).to(dy.dtype)"),
        ("F14", "dgain = (dy * s.x).sum(0)"),
    ],
    "dbias = dy.sum(0)": [
        ("F1", "dbias = torch.full_like(s.bias, len(dy))"),
        ("F10", "dbias = (dy * s.xhat).sum(0)"),
        ("F9", "dbias = dy.clone()"),
        ("F4", "dbias = None"),
    ],
    "dxhat = dy * s.gain": [
        ("F1", "dxhat = s.gain.expand_as(dy)"),
        ("F16", "dxhat = dy.clone()"),
        ("F15", "dxhat = dy * dgain"),
        ("F13", "dxhat = -dy * s.gain"),
    ],
    "dstd = -(dxhat * s.diff).sum(1, keepdim=True) / s.std**2": [
        ("F13", "dstd = (dxhat * s.diff).sum(1, keepdim=True) / s.std**2"),
        ("F14", "dstd = -(dxhat * s.diff).sum(1, keepdim=True) / s.std"),
        ("F9", "dstd = -(dxhat * s.diff) / s.std**2"),
        ("F16", "dstd = -dxhat.sum(1, keepdim=True) / s.std**2"),
    ],
    "dvar = dstd / (2 * s.std)": [
        ("F12", "dvar = dstd / s.std"),
        ("F14", "dvar = dstd / (2 * s.var + EPSILON)"),
        ("F17", "dvar = dstd / (2 * s.var.sqrt())"),
    ],
    "dsq = (dvar / features).expand_as(s.sq)": [
        ("F8", "dsq = dvar.expand_as(s.sq)"),
        ("F8 | F14", "dsq = (dvar / (features - 1)).expand_as(s.sq)"),
        ("F8", "dsq = (dvar / len(dy)).expand_as(s.sq)"),
        ("F9", "dsq = dvar / features"),
    ],
    "ddiff = dxhat / s.std + 2 * s.diff * dsq": [
        ("F6", "ddiff = dxhat / s.std"),
        ("F6", "ddiff = 2 * s.diff * dsq"),
        ("F12", "ddiff = dxhat / s.std + s.diff * dsq"),
        ("F16", "ddiff = dxhat + 2 * s.diff * dsq"),
        ("F13", "ddiff = dxhat / s.std - 2 * s.diff * dsq"),
    ],
    "dmean = -ddiff.sum(1, keepdim=True)": [
        ("F13", "dmean = ddiff.sum(1, keepdim=True)"),
        ("F9", "dmean = -ddiff.sum(0, keepdim=True)"),
        ("F8", "dmean = -ddiff.mean(1, keepdim=True)"),
    ],
    "dx = ddiff + dmean / features": [
        ("F6", "dx = ddiff.clone()"),
        ("F6", "dx = ddiff + 2 * dmean / features"),
        ("F8", "dx = ddiff + dmean"),
        ("F7", "dx = torch.zeros_like(s.x); t = len(dy) // 8 * 8; dx[:t] = (ddiff + dmean / features)[:t]"),
    ],
}

PAIRS = [
    ("dgain = (dy * s.xhat).sum(0, keepdim=True)", "dx = ddiff.clone()"),
    ("dbias = (dy * s.xhat).sum(0)", "dvar = dstd / s.std"),
    ("ddiff = dxhat / s.std", "dx = ddiff + dmean"),
]

DOUBLES = {
    "dgain = (dy * s.xhat).sum(0)": [
        ("F5", "dgain = (dy * s.xhat).float().sum(0).to(dy.dtype)"),
    ],
}

FUNCTIONS = {
    "dsq = (dvar / features).expand_as(s.sq)": [
        ("F8", "dsq = (dvar / 13).expand_as(s.sq)"),
    ],
    "dgain = (dy * s.xhat).sum(0)": [
        ("F2", "dgain = (dy.as_strided(dy.shape, (dy.shape[1], 1)) * s.xhat).sum(0)"),
        ("F3", "dgain = dy.mul_(s.xhat).sum(0)", "gain | y"),
    ],
    "dbias = dy.sum(0)": [
        ("F2", "dbias = dy.view(-1).view(dy.shape).sum(0)"),
    ],
    "dxhat = dy * s.gain": [
        ("F3", "dxhat = dy.mul_(s.gain)", "xhat | y"),
    ],
    "dx = ddiff + dmean / features": [
        ("F7", "dx = torch.zeros_like(s.x); t = len(dy) // 4 * 4; dx[:t] = (ddiff + dmean / features)[:t]"),
        ("F8", "dx = ddiff + dmean / 13"),
    ],
}
