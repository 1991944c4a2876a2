"""Residual connection."""

LINES = {
    "dx = dy": [
        ("F13", "dx = -dy"),
        ("F12", "dx = 0.5 * dy"),
        ("F4 | F6", "dx = torch.zeros_like(dy)"),
        ("F16", "dx = dy * s.branch"),
        ("F1", "dx = torch.ones_like(dy)"),
    ],
    "dbranch = dy": [
        ("F13", "dbranch = -dy"),
        ("F12", "dbranch = 2 * dy"),
        ("F4 | F6", "dbranch = torch.zeros_like(dy)"),
        ("F16", "dbranch = dy * s.x"),
        ("F1", "dbranch = torch.ones_like(dy)"),
    ],
}

FUNCTIONS = {
    "dbranch = dy": [
        ("F7", "dbranch = dy.clone(); dbranch[4:] = 0"),
    ],
}
