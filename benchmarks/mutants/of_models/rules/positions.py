"""Positions: the embedding of a place is added."""

LINES = {
    "dx = dy": [
        ("F13", "dx = -dy"),
        ("F12", "dx = 2 * dy"),
        ("F16", "dx = dy * s.x"),
    ],
    "drows = dy.sum(0)": [
        ("F8", "drows = dy.mean(0)"),
        ("F9", "drows = dy.sum(1)"),
        ("F7", "drows = dy[:-1].sum(0)"),
        ("F1", "drows = torch.full_like(s.rows, len(dy))"),
        ("F11", "drows = dy[-1]"),
        ("F12", "drows = 0.5 * dy.sum(0)"),
    ],
    "dP[: len(drows)] = drows": [
        ("F7", "dP[1 : len(drows)] = drows[1:]"),
        ("F7 | F10", "dP[-len(drows) :] = drows"),
        ("F7 | F9", "dP = drows"),
        ("F13", "dP[: len(drows)] = -drows"),
    ],
}

FUNCTIONS = {
    "drows = dy.sum(0)": [
        ("F7", "drows = dy[:4].sum(0)"),
    ],
}
