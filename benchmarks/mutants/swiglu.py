"""The gated feed-forward layer."""

LINES = {
    "dprod = dy @ s.Wd.T": [
        ("F1", "dprod = torch.ones_like(dy) @ s.Wd.T"),
        ("F13", "dprod = -dy @ s.Wd.T"),
        (
            "F7",
            "dprod = torch.zeros_like(s.prod); dprod[: len(dy) // 4 * 4] = (dy @ s.Wd.T)[: len(dy) // 4 * 4]",
        ),
    ],
    "dWd = s.prod.T @ dy": [
        ("F14 | F16", "dWd = s.act.T @ dy"),  # of a layer without the factor up
        ("F10", "dWd = dy.T @ s.prod"),
        ("F8", "dWd = s.prod.T @ dy / len(dy)"),
    ],
    "dact = s.up * dprod": [
        ("F16", "dact = dprod.clone()"),
        ("F10", "dact = s.act * dprod"),
    ],
    "dup = s.act * dprod": [
        ("F10", "dup = s.up * dprod"),
        ("F16 | F14", "dup = s.gate * dprod"),  # sig left out: of a layer without it
        ("F16", "dup = dprod.clone()"),
    ],
    "dsig = s.gate * dact": [
        ("F16", "dsig = dact.clone()"),
        ("F15 | F16", "dsig = s.gate * dprod"),  # dprod for dact: no up
        ("F15", "dsig = dact * dact"),
    ],
    "dgate = s.sig * dact + s.sig * (1 - s.sig) * dsig": [
        ("F6", "dgate = s.sig * dact"),
        ("F6", "dgate = s.sig * (1 - s.sig) * dsig"),
        ("F14", "dgate = s.sig * dact + (1 - s.sig**2) * dsig"),
        (
            "F14 | F16",
            "dgate = s.sig * dact + (1 - s.sig) * dsig",
        ),  # the factor sig left out of the sigmoid's slope
        ("F13", "dgate = s.sig * dact - s.sig * (1 - s.sig) * dsig"),
        ("F17", "dgate = s.sig * dact + (-s.gate).exp() / (1 + (-s.gate).exp()) ** 2 * dsig"),
    ],
    "dWg = s.x.T @ dgate": [
        ("F15", "dWg = s.x.T @ dact"),
        ("F10 | F15", "dWg = s.x.T @ dup"),  # dWu, and so made from dup
        ("F4", "dWg = None"),
        ("F5", "dWg = (s.x.T.bfloat16() @ dgate.bfloat16()).to(dy.dtype)"),
    ],
    "dWu = s.x.T @ dup": [
        ("F15", "dWu = s.x.T @ dprod"),
        ("F12", "dWu = 2 * s.x.T @ dup"),
    ],
    "dx = dgate @ s.Wg.T + dup @ s.Wu.T": [
        ("F6", "dx = dup @ s.Wu.T"),
        ("F6", "dx = dgate @ s.Wg.T"),
        ("F10", "dx = dgate @ s.Wu.T + dup @ s.Wg.T"),
        ("F13", "dx = dgate @ s.Wg.T - dup @ s.Wu.T"),
        ("F15", "dx = dact @ s.Wg.T + dup @ s.Wu.T"),
    ],
}

PAIRS = [
    ("dact = s.act * dprod", "dup = s.up * dprod"),  # swapped with each other
    ("dgate = s.sig * dact", "dWd = s.prod.T @ dy / len(dy)"),
    ("dsig = dact.clone()", "dx = dgate @ s.Wg.T"),
]

DOUBLES = {
    "dWd = s.prod.T @ dy": [
        ("F5", "dWd = (s.prod.T.float() @ dy.float()).to(dy.dtype)"),
    ],
}

FUNCTIONS = {
    "dprod = dy @ s.Wd.T": [
        ("F2", "dprod = dy.as_strided(dy.shape, (dy.shape[1], 1)) @ s.Wd.T"),
    ],
    "dup = s.act * dprod": [
        ("F3", "dup = s.act.mul_(dprod)", "up | act"),
    ],
    "dWd = s.prod.T @ dy": [
        ("F7", "dWd = s.prod[: len(dy) // 3 * 3].T @ dy[: len(dy) // 3 * 3]"),
    ],
}
