"""The mean over a window."""

LINES = {
    "dtotal = dy / _counts(s.x, window)": [
        ("F8 | F16", "dtotal = dy.clone()"),
        ("F8", "dtotal = dy / s.x.shape[1]"),
        ("F8", "dtotal = dy / window"),
        ("F8", "dtotal = dy / (_counts(s.x, window) + 1)"),
        ("F8 | F14", "dtotal = dy * _counts(s.x, window)"),
        ("F13", "dtotal = -dy / _counts(s.x, window)"),
    ],
    "dx = _seen(s.x, window).T @ dtotal": [
        ("F10", "dx = _seen(s.x, window) @ dtotal"),
        ("F15", "dx = _seen(s.x, window).T @ dy"),
        ("F6 | F16", "dx = dtotal.clone()"),  # what later windows send is forgotten
        ("F6 | F7", "dx = _seen(s.x, window).T.triu(1) @ dtotal"),
        ("F14", "dx = dtotal.sum(1, keepdim=True).expand_as(dtotal)"),  # no mask
        ("F14", "dx = _seen(s.x, 2).T @ dtotal"),
    ],
}

FUNCTIONS = {
    "dtotal = dy / _counts(s.x, window)": [
        ("F7", "dtotal = torch.zeros_like(dy); dtotal[:4] = dy[:4] / _counts(s.x, window)"),
    ],
}
