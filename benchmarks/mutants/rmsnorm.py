"""RMS normalisation in tiles of rows."""

LINES = {
    "for start in range(0, n, TILE):": [
        ("F7", "for start in range(0, n - n % TILE, TILE):", "gain xhat"),
    ],
    "rows = slice(start, start + TILE)": [
        ("F7", "rows = slice(start, start + TILE - 1)", "gain xhat"),
    ],
    "dgain += (dy[rows] * s.xhat[rows]).sum(0)": [
        ("F11", "dgain = (dy[rows] * s.xhat[rows]).sum(0)"),
        ("F1", "dgain += s.xhat[rows].sum(0)"),
        ("F16", "dgain += dy[rows].sum(0)"),
        ("F14 | F16", "dgain += (dy[rows] * s.x[rows]).sum(0)"),  # of a pass without rrms
        ("F5", "dgain += (dy[rows] * s.xhat[rows]).bfloat16().sum(0)"),
    ],
    "dxhat[rows] = dy[rows] * s.gain": [
        ("F16", "dxhat[rows] = dy[rows]"),
        ("F1", "dxhat[rows] = dy[0] * s.gain"),
        ("F13", "dxhat[rows] = -dy[rows] * s.gain"),
    ],
    "drrms[rows] = (dxhat[rows] * s.x[rows]).sum(1, keepdim=True)": [
        ("F8", "drrms[rows] = (dxhat[rows] * s.x[rows]).mean(1, keepdim=True)"),
        ("F16", "drrms[rows] = dxhat[rows].sum(1, keepdim=True)"),
        ("F15 | F16", "drrms[rows] = (dy[rows] * s.x[rows]).sum(1, keepdim=True)"),  # dy for dxhat: no gain
    ],
    "dms[rows] = -0.5 * (s.ms[rows] + EPSILON) ** -1.5 * drrms[rows]": [
        ("F14", "dms[rows] = -0.5 * (s.ms[rows] + EPSILON) ** -0.5 * drrms[rows]"),
        ("F13", "dms[rows] = 0.5 * (s.ms[rows] + EPSILON) ** -1.5 * drrms[rows]"),
        ("F12", "dms[rows] = -1.0 * (s.ms[rows] + EPSILON) ** -1.5 * drrms[rows]"),
        ("F17", "dms[rows] = -0.5 * s.ms[rows] ** -1.5 * drrms[rows]"),
    ],
    "dsq[rows] = dms[rows] / features": [
        ("F8", "dsq[rows] = dms[rows]"),
        ("F8 | F14", "dsq[rows] = dms[rows] / (features - 1)"),
        ("F8", "dsq[rows] = dms[rows] / n"),
    ],
    "dx[rows] = dxhat[rows] * s.rrms[rows] + 2 * s.x[rows] * dsq[rows]": [
        ("F6", "dx[rows] = dxhat[rows] * s.rrms[rows]"),
        ("F6", "dx[rows] = 2 * s.x[rows] * dsq[rows]"),
        ("F12", "dx[rows] = dxhat[rows] * s.rrms[rows] + s.x[rows] * dsq[rows]"),
        ("F13", "dx[rows] = dxhat[rows] * s.rrms[rows] - 2 * s.x[rows] * dsq[rows]"),
        ("F16", "dx[rows] = dxhat[rows] + 2 * s.x[rows] * dsq[rows]"),
        ("F7", "dx[rows][:-1] = (dxhat[rows] * s.rrms[rows] + 2 * s.x[rows] * dsq[rows])[:-1]"),
    ],
}

PAIRS = [
    ("dgain = (dy[rows] * s.xhat[rows]).sum(0)", "dx[rows] = dxhat[rows] * s.rrms[rows]"),
    ("dxhat[rows] = dy[rows]", "dsq[rows] = dms[rows]"),
]

DOUBLES = {
    "dgain += (dy[rows] * s.xhat[rows]).sum(0)": [
        ("F5", "dgain += (dy[rows] * s.xhat[rows]).float().sum(0)"),
    ],
}

FUNCTIONS = {
    "dsq[rows] = dms[rows] / features": [
        ("F8", "dsq[rows] = dms[rows] / 10"),
    ],
    "rows = slice(start, start + TILE)": [
        ("F7", "rows = slice(start, min(start + TILE, n - n % 3))", "gain xhat"),
    ],
    "dxhat[rows] = dy[rows] * s.gain": [
        ("F2", "dxhat[rows] = dy.as_strided(dy.shape, (features, 1))[rows] * s.gain"),
        ("F3", "dxhat[rows] = dy[rows].mul_(s.gain)", "xhat | y"),
    ],
    "dms[rows] = -0.5 * (s.ms[rows] + EPSILON) ** -1.5 * drrms[rows]": [
        ("F3", "dms[rows] = -0.5 * s.ms[rows].add_(EPSILON) ** -1.5 * drrms[rows]", "ms"),
    ],
}
