"""The recurrent layer."""

LINES = {
    "dh[t] = dy[:, t] + onward": [
        ("F6", "dh[t] = dy[:, t].clone()"),
        ("F6", "dh[t] = onward.clone()"),
        ("F13", "dh[t] = dy[:, t] - onward"),
        ("F10", "dh[t] = dy[:, t - 1] + onward"),
    ],
    "da[t] = (1 - s.h[t] ** 2) * dh[t]": [
        ("F14", "da[t] = (1 - s.h[t]) * dh[t]"),
        ("F14", "da[t] = (1 - s.a[t] ** 2) * dh[t]"),
        ("F14", "da[t] = (1 - s.h[t - 1] ** 2) * dh[t]"),
        ("F16", "da[t] = dh[t].clone()"),
        ("F6 | F15", "da[t] = (1 - s.h[t] ** 2) * dy[:, t]"),
        ("F1", "da[t] = 1 - s.h[t] ** 2"),
    ],
    "dxh[t] = da[t] @ s.W.T": [
        ("F15", "dxh[t] = dh[t] @ s.W.T"),
        ("F15", "dxh[t] = da[-1] @ s.W.T"),
        ("F13", "dxh[t] = -da[t] @ s.W.T"),
    ],
    "dW += s.xh[t].T @ da[t]": [
        ("F11", "dW = s.xh[t].T @ da[t]"),
        ("F15", "dW += s.xh[t].T @ dh[t]"),
        ("F8", "dW += s.xh[t].T @ da[t] / len(dy)"),
        ("F14", "dW += s.xh[t - 1].T @ da[t]"),
        ("F7", "dW += bool(t) * s.xh[t].T @ da[t]"),
    ],
    "db += da[t].sum(0)": [
        ("F11", "db = da[t].sum(0)"),
        ("F8", "db += da[t].mean(0)"),
        ("F15", "db += dh[t].sum(0)"),
        ("F7", "db += da[t][:-1].sum(0)"),
        ("F9", "db = db + da[t].sum(0, keepdim=True)"),
    ],
    "dx[:, t] = dxh[t][:, :inputs]": [
        ("F10", "dx[:, t] = dxh[t][:, -inputs:]"),
        ("F7", "dx[:, t] = bool(t) * dxh[t][:, :inputs]"),
        ("F15", "dx[:, t] = dxh[-1][:, :inputs]"),
        ("F10", "dx[:, -1 - t] = dxh[t][:, :inputs]"),
    ],
    "onward = dxh[t][:, inputs:]": [
        ("F13", "onward = -dxh[t][:, inputs:]", "h start"),
        ("F10", "onward = dxh[t][:, : onward.shape[1]]", "h start"),
        ("F16", "onward = da[t].clone()", "h start"),
    ],
    "return Steps(dx, onward.sum(0, keepdim=True), dW, db, dxh, da, dh, dy)": [
        ("F9", "return Steps(dx, onward, dW, db, dxh, da, dh, dy)", "start"),
        ("F8", "return Steps(dx, onward.mean(0, keepdim=True), dW, db, dxh, da, dh, dy)", "start"),
        ("F11", "return Steps(dx, onward[-1:], dW, db, dxh, da, dh, dy)", "start"),
    ],
}

FUNCTIONS = {
    "dx[:, t] = dxh[t][:, :inputs]": [
        ("F7", "dx[:4, t] = dxh[t][:4, :inputs]"),
    ],
}
