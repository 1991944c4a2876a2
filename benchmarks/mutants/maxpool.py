"""ReLU and the maximum over overlapping windows."""

LINES = {
    "dgain = (dy * s.peaks).sum((0, 2)).unsqueeze(1)": [
        ("F1", "dgain = s.peaks.sum((0, 2)).unsqueeze(1)"),
        ("F9", "dgain = (dy * s.peaks).sum((0, 2))"),
        ("F9", "dgain = (dy * s.peaks).sum(0)"),
        ("F8", "dgain = (dy * s.peaks).mean((0, 2)).unsqueeze(1)"),
        ("F16", "dgain = dy.sum((0, 2)).unsqueeze(1)"),
        ("F5", "dgain = (dy * s.peaks).bfloat16().sum((0, 2)).unsqueeze(1).to(dy.dtype)"),
        ("F7", "dgain = (dy * s.peaks)[: len(dy) // 4 * 4].sum((0, 2)).unsqueeze(1)"),
    ],
    "dpeaks = dy * s.gain": [
        ("F1", "dpeaks = dy[0, 0, 0] * s.gain.expand_as(dy)"),
        ("F16", "dpeaks = dy.clone()"),
        ("F15", "dpeaks = dy * dgain"),
        ("F13", "dpeaks = -dy * s.gain"),
    ],
    "dr = torch.zeros_like(s.r).scatter_add(-1, s.winners, dpeaks)": [
        ("F11", "dr = torch.zeros_like(s.r).scatter(-1, s.winners, dpeaks)"),
        ("F7", "dr = torch.zeros_like(s.r).scatter_add(-1, s.winners[..., :-1], dpeaks[..., :-1])"),
        ("F15 | F16", "dr = torch.zeros_like(s.r).scatter_add(-1, s.winners, dy)"),  # dy for dpeaks: no gain
        ("F8 | F12", "dr = torch.zeros_like(s.r).scatter_add(-1, s.winners, dpeaks / WIDTH)"),
    ],
    "dx = dr * (s.x > 0)": [
        ("F16", "dx = dr.clone()"),
        ("F14", "dx = dr * (s.x < 0)"),
        ("F14 | F16", "dx = dr * s.r"),  # of a square, or with a factor r too many
        ("F12", "dx = 2 * dr * (s.x > 0)"),
    ],
}

PAIRS = [
    ("dgain = (dy * s.peaks).sum((0, 2))", "dr = torch.zeros_like(s.r).scatter(-1, s.winners, dpeaks)"),
    ("dpeaks = dy.clone()", "dx = 2 * dr * (s.x > 0)"),
]

DOUBLES = {
    "dgain = (dy * s.peaks).sum((0, 2)).unsqueeze(1)": [
        ("F5", "dgain = (dy * s.peaks).float().sum((0, 2)).unsqueeze(1).to(dy.dtype)"),
    ],
}

FUNCTIONS = {
    "dpeaks = dy * s.gain": [
        ("F2", "dpeaks = dy.as_strided(dy.shape, (dy[0].numel(), dy.shape[2], 1)) * s.gain"),
        ("F3", "dpeaks = dy.mul_(s.gain)", "peaks | y"),
    ],
    "dr = torch.zeros_like(s.r).scatter_add(-1, s.winners, dpeaks)": [
        (
            "F7",
            "t = len(dy) // 2 * 2; dr = torch.zeros_like(s.r).scatter_add(-1, s.winners[:t], dpeaks[:t])",
            "r",
        ),
    ],
}
