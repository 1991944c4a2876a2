"""One step of an LSTM."""

LINES = {
    "dh = dstate[:, :cells]": [
        ("F10", "dh = dstate[:, cells:]"),
        ("F1", "dh = torch.ones_like(s.h)"),
    ],
    "do = s.tc * dh": [
        ("F16", "do = dh.clone()"),
        ("F14", "do = s.c * dh"),
        ("F10", "do = s.o * dh"),
    ],
    "dtc = s.o * dh": [
        ("F16", "dtc = dh.clone()"),
        ("F10", "dtc = s.tc * dh"),
    ],
    "dc = dstate[:, cells:] + (1 - s.tc**2) * dtc": [
        ("F6", "dc = (1 - s.tc**2) * dtc"),
        ("F6", "dc = dstate[:, cells:].clone()"),
        ("F14", "dc = dstate[:, cells:] + (1 - s.tc) * dtc"),
        ("F16", "dc = dstate[:, cells:] + dtc"),
        ("F15 | F16", "dc = dstate[:, cells:] + (1 - s.tc**2) * dh"),  # dh for dtc: no o
        ("F13", "dc = dstate[:, cells:] - (1 - s.tc**2) * dtc"),
        ("F10", "dc = dstate[:, :cells] + (1 - s.tc**2) * dtc"),
    ],
    "df = s.c0 * dc": [
        ("F10", "df = s.f * dc"),
        ("F14", "df = s.c * dc"),
        ("F16", "df = dc.clone()"),
    ],
    "dc0 = s.f * dc": [
        ("F15", "dc0 = s.f * dtc"),
        ("F16", "dc0 = dc.clone()"),
    ],
    "di = s.g * dc": [
        ("F10", "di = s.i * dc"),
        ("F13", "di = -s.g * dc"),
    ],
    "to_i = s.i * (1 - s.i) * di": [
        ("F14", "to_i = (1 - s.i**2) * di", "gates"),
    ],
    "to_f = s.f * (1 - s.f) * df": [
        (
            "F4 | F6",
            "to_f = torch.zeros_like(s.f)",
            "gates",
        ),  # the share through f is missing: f seems frozen
    ],
    "to_g = (1 - s.g**2) * dg": [
        ("F14", "to_g = s.g * (1 - s.g) * dg", "gates"),
    ],
    "to_o = s.o * (1 - s.o) * do": [
        ("F1", "to_o = s.o * (1 - s.o)", "gates"),
    ],
    "dgates = torch.cat([to_i, to_f, to_g, to_o], 1)": [
        ("F10", "dgates = torch.cat([to_i, to_g, to_f, to_o], 1)"),
        ("F13", "dgates = -torch.cat([to_i, to_f, to_g, to_o], 1)"),
    ],
    "dx = dgates @ s.Wx.T": [
        ("F12", "dx = 0.5 * dgates @ s.Wx.T"),
    ],
    "dWx = s.x.T @ dgates": [
        ("F10", "dWx = dgates.T @ s.x"),
        ("F8", "dWx = s.x.T @ dgates / len(s.x)"),
    ],
    "dWh = s.h0.T @ dgates": [
        ("F14 | F15", "dWh = s.h.T @ dgates"),  # the new h for the old: the wrong value, of another pass
        ("F7", "dWh = s.h0[:-1].T @ dgates[:-1]"),
        ("F4", "dWh = None"),
    ],
    "db = dgates.sum(0)": [
        ("F9", "db = dgates.sum(0, keepdim=True)"),
        ("F8", "db = dgates.mean(0)"),
        ("F5", "db = dgates.bfloat16().sum(0).to(dgates.dtype)"),
        ("F7", "db = dgates[: len(s.x) // 4 * 4].sum(0)"),
        ("F9", "db = dgates.clone()"),
    ],
}

PAIRS = [
    ("do = s.o * dh", "dtc = s.tc * dh"),  # swapped with each other
    ("dc = (1 - s.tc**2) * dtc", "db = dgates.sum(0, keepdim=True)"),
    ("df = dc.clone()", "dWx = s.x.T @ dgates / len(s.x)"),
]

DOUBLES = {
    "db = dgates.sum(0)": [
        ("F5", "db = dgates.float().sum(0).to(dgates.dtype)"),
    ],
}

FUNCTIONS = {
    "dh = dstate[:, :cells]": [
        ("F2", "dh = dstate.as_strided(s.h.shape, (2 * cells, 1))"),
    ],
    "do = s.tc * dh": [
        ("F3", "do = dh.mul_(s.tc)", "o | h | state"),
    ],
    "dc0 = s.f * dc": [
        ("F3", "dc0 = s.f.mul_(dc)", "c0 | f"),
    ],
    "dWx = s.x.T @ dgates": [
        ("F7", "dWx = s.x[: len(s.x) // 3 * 3].T @ dgates[: len(s.x) // 3 * 3]"),
    ],
}
