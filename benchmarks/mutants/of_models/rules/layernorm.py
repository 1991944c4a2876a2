"""Layer normalisation."""

LINES = {
    "dbias = dy.flatten(0, -2).sum(0)": [
        ("F9", "dbias = dy.sum(0)"),
        ("F8", "dbias = dy.flatten(0, -2).mean(0)"),
        ("F10", "dbias = (s.xhat * dy).flatten(0, -2).sum(0)"),
        ("F4", "dbias = None"),
    ],
    "dgain = (s.xhat * dy).flatten(0, -2).sum(0)": [
        ("F1", "dgain = s.xhat.flatten(0, -2).sum(0)"),
        ("F9", "dgain = (s.xhat * dy).sum(0)"),
        ("F7", "dgain = (s.xhat * dy)[:, 1:].flatten(0, -2).sum(0)"),
        ("F14", "dgain = (s.x * dy).flatten(0, -2).sum(0)"),
    ],
    "dxhat = s.gain * dy": [
        ("F16", "dxhat = dy.clone()"),
        ("F15", "dxhat = dgain * dy"),
        ("F13", "dxhat = -s.gain * dy"),
    ],
    "drstd = (s.diff * dxhat).sum(-1, keepdim=True)": [
        ("F9", "drstd = s.diff * dxhat"),
        ("F15", "drstd = (s.diff * dy).sum(-1, keepdim=True)"),
        ("F14", "drstd = (s.x * dxhat).sum(-1, keepdim=True)"),
        ("F8", "drstd = (s.diff * dxhat).mean(-1, keepdim=True)"),
    ],
    "dvar = (-0.5 * (s.var + EPSILON) ** -1.5) * drstd": [
        ("F12", "dvar = -((s.var + EPSILON) ** -1.5) * drstd"),
        ("F13", "dvar = (0.5 * (s.var + EPSILON) ** -1.5) * drstd"),
        ("F14", "dvar = (-0.5 * (s.var + EPSILON) ** -0.5) * drstd"),
    ],
    "dsq = 1 / f * (torch.ones_like(s.sq) * dvar)": [
        ("F8", "dsq = torch.ones_like(s.sq) * dvar"),
        ("F8", "dsq = 1 / (f - 1) * (torch.ones_like(s.sq) * dvar)"),
        ("F8", "dsq = 1 / len(dy) * (torch.ones_like(s.sq) * dvar)"),
    ],
    "ddiff = s.rstd * dxhat + (2 * s.diff) * dsq": [
        ("F6", "ddiff = s.rstd * dxhat"),
        ("F6", "ddiff = (2 * s.diff) * dsq"),
        ("F12", "ddiff = s.rstd * dxhat + s.diff * dsq"),
        ("F13", "ddiff = s.rstd * dxhat - (2 * s.diff) * dsq"),
        ("F16", "ddiff = dxhat + (2 * s.diff) * dsq"),
    ],
    "dmean = (-ddiff).sum(-1, keepdim=True)": [
        ("F13", "dmean = ddiff.sum(-1, keepdim=True)"),
        ("F8", "dmean = (-ddiff).mean(-1, keepdim=True)"),
        ("F9", "dmean = -ddiff"),
    ],
    "dx = ddiff + 1 / f * (torch.ones_like(s.x) * dmean)": [
        ("F6", "dx = ddiff.clone()"),
        ("F8", "dx = ddiff + torch.ones_like(s.x) * dmean"),
        ("F6", "dx = ddiff + 2 / f * (torch.ones_like(s.x) * dmean)"),
    ],
}

FUNCTIONS = {
    "dxhat = s.gain * dy": [
        ("F7", "dxhat = s.gain * dy; dxhat[4:] = 0"),
    ],
}
