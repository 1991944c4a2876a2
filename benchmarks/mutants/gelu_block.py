"""The GELU block with its residual connection."""

LINES = {
    "dout = dy.clone()": [
        ("F1", "dout = torch.ones_like(dy)"),
        ("F1", "dout = dy[0, 0].expand_as(dy)"),
        ("F13", "dout = -dy"),
        ("F8", "dout = dy / len(dy)"),
    ],
    "dg = dout @ s.W2.T": [
        ("F12", "dg = 2 * dout @ s.W2.T"),
        ("F5", "dg = (dout.bfloat16() @ s.W2.T.bfloat16()).to(dy.dtype)"),
    ],
    "dW2 = s.g.T @ dout": [
        ("F14", "dW2 = s.a.T @ dout"),
        ("F10", "dW2 = dout.T @ s.g"),
        ("F8", "dW2 = s.g.T @ dout / len(dy)"),
        ("F7", "dW2 = s.g[:-2].T @ dout[:-2]"),
    ],
    "db2 = dout.sum(0)": [
        ("F1", "db2 = torch.full_like(s.b2, len(dy))"),
        ("F9", "db2 = dout.sum(0, keepdim=True)"),
        ("F4", "db2 = None"),
    ],
    "dt = 0.5 * s.a * dg": [
        ("F12", "dt = s.a * dg"),
        ("F16", "dt = 0.5 * dg"),
    ],
    "dinner = (1 - s.t**2) * dt": [
        ("F14", "dinner = (1 - s.t) * dt"),
        ("F16", "dinner = dt.clone()"),
        ("F15", "dinner = (1 - s.t**2) * dg"),
    ],
    "da = 0.5 * (1 + s.t) * dg + SLOPE * (1 + 3 * CUBIC * s.a**2) * dinner": [
        ("F6", "da = 0.5 * (1 + s.t) * dg"),
        ("F6", "da = SLOPE * (1 + 3 * CUBIC * s.a**2) * dinner"),
        ("F6", "da = (1 + s.t) * dg + SLOPE * (1 + 3 * CUBIC * s.a**2) * dinner"),
        ("F13", "da = 0.5 * (1 + s.t) * dg - SLOPE * (1 + 3 * CUBIC * s.a**2) * dinner"),
        ("F12 | F16", "da = 0.5 * (1 + s.t) * dg + (1 + 3 * CUBIC * s.a**2) * dinner"),  # a constant left out
        ("F12 | F14", "da = 0.5 * (1 + s.t) * dg + SLOPE * (1 + CUBIC * s.a**2) * dinner"),  # the 3 of a³
        ("F3", "da = dg.mul_(0.5 * (1 + s.t)) + SLOPE * (1 + 3 * CUBIC * s.a**2) * dinner", "a | g"),
    ],
    "dW1 = s.x.T @ da": [
        ("F15", "dW1 = s.x.T @ dinner"),
        ("F10", "dW1 = (s.x.T @ da).T"),
        ("F8", "dW1 = s.x.T @ da / len(dy)"),
    ],
    "db1 = da.sum(0)": [
        ("F8", "db1 = da.mean(0)"),
        ("F9", "db1 = da.sum(1)"),
        ("F15", "db1 = dinner.sum(0)"),
        ("F7", "db1 = da[: len(dy) // 4 * 4].sum(0)"),
    ],
    "dx = dy + da @ s.W1.T": [
        ("F6", "dx = da @ s.W1.T"),
        ("F6", "dx = dy.clone()"),
        ("F6", "dx = dy + dy + da @ s.W1.T"),
        ("F13", "dx = da @ s.W1.T - dy"),
        ("F15", "dx = dy + dinner @ s.W1.T"),
    ],
}

PAIRS = [
    ("db2 = dout.sum(0, keepdim=True)", "da = 0.5 * (1 + s.t) * dg"),
    ("dt = s.a * dg", "dx = da @ s.W1.T"),
    ("dinner = (1 - s.t) * dt", "dW1 = s.x.T @ da / len(dy)"),
]

DOUBLES = {
    "dW2 = s.g.T @ dout": [
        ("F5", "dW2 = (s.g.T.float() @ dout.float()).to(dy.dtype)"),
    ],
}

FUNCTIONS = {
    "dout = dy.clone()": [
        ("F2", "dout = dy.as_strided(dy.shape, (dy.shape[1], 1)).clone()"),
        ("F2", "dout = dy.view(-1).view_as(s.out)"),
    ],
    "dinner = (1 - s.t**2) * dt": [
        ("F3", "dinner = (1 - s.t.square_()) * dt", "inner | t"),
    ],
    "dg = dout @ s.W2.T": [
        ("F7", "dg = torch.zeros_like(s.g); dg[: len(dy) // 6 * 6] = (dout @ s.W2.T)[: len(dy) // 6 * 6]"),
    ],
}
