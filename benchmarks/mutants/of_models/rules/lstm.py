"""The long short-term memory."""

_OPENED = "opened = [gate * (1 - gate) * dgate for gate, dgate in ((s.i[t], di[t]), (s.f[t], df[t]), (s.o[t], do[t]))]"

LINES = {
    "cell = s.c[t - 1] if t else s.start_c.expand_as(s.c[t])": [
        ("F14", "cell = s.c[t]", "f"),
        ("F14", "cell = s.c[t - 1]", "f"),  # before the first step: the last cell
    ],
    "shown = s.c[t].tanh()": [
        ("F14", "shown = s.c[t]", "o c"),
    ],
    "dh[t] = dy[:, t] + onward": [
        ("F6", "dh[t] = dy[:, t].clone()"),
        ("F6", "dh[t] = onward.clone()"),
        ("F13", "dh[t] = dy[:, t] - onward"),
    ],
    "do[t] = shown * dh[t]": [
        ("F14", "do[t] = s.c[t] * dh[t]"),
        ("F10", "do[t] = s.o[t] * dh[t]"),
        ("F16", "do[t] = dh[t].clone()"),
    ],
    "dc[t] = s.o[t] * (1 - shown**2) * dh[t] + along": [
        ("F6", "dc[t] = s.o[t] * (1 - shown**2) * dh[t]"),
        ("F6", "dc[t] = along.clone()"),
        ("F14", "dc[t] = s.o[t] * (1 - shown) * dh[t] + along"),
        ("F16", "dc[t] = (1 - shown**2) * dh[t] + along"),
        ("F16", "dc[t] = s.o[t] * dh[t] + along"),
        ("F13", "dc[t] = s.o[t] * (1 - shown**2) * dh[t] - along"),
    ],
    "df[t] = cell * dc[t]": [
        ("F10", "df[t] = s.f[t] * dc[t]"),
        ("F16", "df[t] = dc[t].clone()"),
        ("F15", "df[t] = cell * dh[t]"),
    ],
    "di[t] = s.g[t] * dc[t]": [
        ("F10", "di[t] = s.i[t] * dc[t]"),
        ("F13", "di[t] = -s.g[t] * dc[t]"),
    ],
    "dg[t] = s.i[t] * dc[t]": [
        ("F10", "dg[t] = s.g[t] * dc[t]"),
        ("F16", "dg[t] = dc[t].clone()"),
    ],
    _OPENED: [
        ("F14", _OPENED.replace("gate * (1 - gate)", "(1 - gate**2)"), "gates"),
        ("F10", _OPENED.replace("(s.i[t], di[t]), (s.f[t], df[t])", "(s.f[t], df[t]), (s.i[t], di[t])"), "gates"),
        ("F10 | F15", _OPENED.replace("(s.o[t], do[t])", "(s.o[t], di[t])"), "gates"),
    ],
    "dgates[t] = torch.cat([*opened, (1 - s.g[t] ** 2) * dg[t]], 1)": [
        ("F10", "dgates[t] = torch.cat([(1 - s.g[t] ** 2) * dg[t], *opened], 1)"),
        ("F14", "dgates[t] = torch.cat([*opened, s.g[t] * (1 - s.g[t]) * dg[t]], 1)"),
        ("F16", "dgates[t] = torch.cat([*opened, dg[t]], 1)"),
    ],
    "dxh[t] = dgates[t] @ s.W.T": [
        ("F12", "dxh[t] = 0.5 * dgates[t] @ s.W.T"),
        ("F15", "dxh[t] = dgates[-1] @ s.W.T"),
    ],
    "dW += s.xh[t].T @ dgates[t]": [
        ("F11", "dW = s.xh[t].T @ dgates[t]"),
        ("F8", "dW += s.xh[t].T @ dgates[t] / len(dy)"),
        ("F14", "dW += s.xh[t - 1].T @ dgates[t]"),
        ("F7", "dW += bool(t) * s.xh[t].T @ dgates[t]"),
    ],
    "db += dgates[t].sum(0)": [
        ("F11", "db = dgates[t].sum(0)"),
        ("F8", "db += dgates[t].mean(0)"),
        ("F9", "db = db + dgates[t].sum(0, keepdim=True)"),
    ],
    "dx[:, t] = dxh[t][:, :inputs]": [
        ("F10", "dx[:, t] = dxh[t][:, -inputs:]"),
        ("F7", "dx[:, t] = bool(t) * dxh[t][:, :inputs]"),
    ],
    "onward, along = dxh[t][:, inputs:], s.f[t] * dc[t]": [
        ("F13", "onward, along = -dxh[t][:, inputs:], s.f[t] * dc[t]", "h start"),
        ("F16", "onward, along = dxh[t][:, inputs:], dc[t]", "c start_c"),
        ("F14", "onward, along = dxh[t][:, inputs:], s.i[t] * dc[t]", "c start_c"),
    ],
    "dstart, dstart_c = onward.sum(0, keepdim=True), along.sum(0, keepdim=True)": [
        ("F8", "dstart, dstart_c = onward.mean(0, keepdim=True), along.sum(0, keepdim=True)", "start"),
        ("F9", "dstart, dstart_c = onward.sum(0, keepdim=True), along", "start_c"),
        ("F10", "dstart, dstart_c = along.sum(0, keepdim=True), onward.sum(0, keepdim=True)", "start start_c"),
    ],
}

FUNCTIONS = {
    "dx[:, t] = dxh[t][:, :inputs]": [
        ("F7", "dx[:4, t] = dxh[t][:4, :inputs]"),
    ],
}
