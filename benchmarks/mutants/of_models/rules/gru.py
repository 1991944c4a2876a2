"""The gated recurrent layer."""

LINES = {
    "dh[t] = dy[:, t] + onward": [
        ("F6", "dh[t] = dy[:, t].clone()"),
        ("F6", "dh[t] = onward.clone()"),
        ("F13", "dh[t] = dy[:, t] - onward"),
    ],
    "dhbar[t] = s.z[t] * dh[t]": [
        ("F14", "dhbar[t] = (1 - s.z[t]) * dh[t]"),
        ("F16", "dhbar[t] = dh[t].clone()"),
        ("F10", "dhbar[t] = s.r[t] * dh[t]"),
    ],
    "dz[t] = (s.hbar[t] - last) * dh[t]": [
        ("F6", "dz[t] = s.hbar[t] * dh[t]"),
        ("F13", "dz[t] = (last - s.hbar[t]) * dh[t]"),
        ("F14", "dz[t] = (s.hbar[t] - s.h[t]) * dh[t]"),
    ],
    "da_h = (1 - s.hbar[t] ** 2) * dhbar[t]": [
        ("F16", "da_h = dhbar[t].clone()", "xr Wh bh"),
    ],
    "dxr[t] = da_h @ s.Wh.T": [
        ("F15", "dxr[t] = dhbar[t] @ s.Wh.T"),
        ("F10", "dxr[t] = da_h @ s.Wr.T"),
        ("F13", "dxr[t] = -da_h @ s.Wh.T"),
    ],
    "dr[t] = last * dxr[t][:, inputs:]": [
        ("F16", "dr[t] = dxr[t][:, inputs:].clone()"),
        ("F14", "dr[t] = s.h[t] * dxr[t][:, inputs:]"),
        ("F10", "dr[t] = last * dxr[t][:, : last.shape[1]]"),
    ],
    "da_r = s.r[t] * (1 - s.r[t]) * dr[t]": [
        ("F14", "da_r = (1 - s.r[t] ** 2) * dr[t]", "xh Wr br"),
    ],
    "da_z = s.z[t] * (1 - s.z[t]) * dz[t]": [
        ("F14", "da_z = s.r[t] * (1 - s.r[t]) * dz[t]", "xh Wz bz"),
    ],
    "dxh[t] = da_r @ s.Wr.T + da_z @ s.Wz.T": [
        ("F6", "dxh[t] = da_z @ s.Wz.T"),
        ("F6", "dxh[t] = da_r @ s.Wr.T"),
        ("F13", "dxh[t] = da_r @ s.Wr.T - da_z @ s.Wz.T"),
        ("F10", "dxh[t] = da_r @ s.Wz.T + da_z @ s.Wr.T"),
    ],
    "dWr += s.xh[t].T @ da_r": [
        ("F11", "dWr = s.xh[t].T @ da_r"),
        ("F14", "dWr += s.xr[t].T @ da_r"),
    ],
    "dWz += s.xh[t].T @ da_z": [
        ("F10", "dWz += s.xh[t].T @ da_r"),
        ("F8", "dWz += s.xh[t].T @ da_z / len(dy)"),
    ],
    "dWh += s.xr[t].T @ da_h": [
        ("F14", "dWh += s.xh[t].T @ da_h"),  # without r
        ("F7", "dWh += bool(t) * s.xr[t].T @ da_h"),
    ],
    "dbr += da_r.sum(0)": [
        ("F11", "dbr = da_r.sum(0)"),
    ],
    "dbz += da_z.sum(0)": [
        ("F8", "dbz += da_z.mean(0)"),
    ],
    "dbh += da_h.sum(0)": [
        ("F15", "dbh += dhbar[t].sum(0)"),
        ("F10", "dbh += da_z.sum(0)"),
    ],
    "dx[:, t] = dxh[t][:, :inputs] + dxr[t][:, :inputs]": [
        ("F6", "dx[:, t] = dxh[t][:, :inputs]"),
        ("F6", "dx[:, t] = dxr[t][:, :inputs]"),
        ("F13", "dx[:, t] = dxh[t][:, :inputs] - dxr[t][:, :inputs]"),
    ],
    "onward = (1 - s.z[t]) * dh[t] + s.r[t] * dxr[t][:, inputs:] + dxh[t][:, inputs:]": [
        ("F6", "onward = s.r[t] * dxr[t][:, inputs:] + dxh[t][:, inputs:]", "h start"),
        ("F6", "onward = (1 - s.z[t]) * dh[t] + dxh[t][:, inputs:]", "h start"),
        ("F6", "onward = (1 - s.z[t]) * dh[t] + s.r[t] * dxr[t][:, inputs:]", "h start"),
        ("F16", "onward = (1 - s.z[t]) * dh[t] + dxr[t][:, inputs:] + dxh[t][:, inputs:]", "h start"),
        ("F14", "onward = s.z[t] * dh[t] + s.r[t] * dxr[t][:, inputs:] + dxh[t][:, inputs:]", "h start"),
    ],
    "dstart = onward.sum(0, keepdim=True)": [
        ("F9", "dstart = onward"),
        ("F8", "dstart = onward.mean(0, keepdim=True)"),
        ("F13", "dstart = -onward.sum(0, keepdim=True)"),
    ],
}

FUNCTIONS = {
    "dx[:, t] = dxh[t][:, :inputs] + dxr[t][:, :inputs]": [
        ("F7", "dx[:4, t] = (dxh[t][:, :inputs] + dxr[t][:, :inputs])[:4]"),
    ],
}
