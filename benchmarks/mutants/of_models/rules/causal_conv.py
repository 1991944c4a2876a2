"""Causal convolution."""

LINES = {
    "db = dy.flatten(0, 1).sum(0)": [
        ("F9", "db = dy.sum(0)"),
        ("F8", "db = dy.flatten(0, 1).mean(0)"),
        ("F7", "db = dy[:, 1:].flatten(0, 1).sum(0)"),
        ("F12", "db = len(s.W) * dy.flatten(0, 1).sum(0)"),
    ],
    "first = back - k * dilation": [
        ("F10 | F14", "first = k * dilation", "W padded"),  # the kernel from the other end
    ],
    "dW[k] = s.padded[:, first : first + t].flatten(0, 1).T @ dy.flatten(0, 1)": [
        ("F14", "dW[k] = s.padded[:, back:].flatten(0, 1).T @ dy.flatten(0, 1)"),  # never shifted
        ("F10", "dW[-1 - k] = s.padded[:, first : first + t].flatten(0, 1).T @ dy.flatten(0, 1)"),
        ("F10", "dW[k] = dy.flatten(0, 1).T @ s.padded[:, first : first + t].flatten(0, 1)"),
        ("F8", "dW[k] = s.padded[:, first : first + t].flatten(0, 1).T @ dy.flatten(0, 1) / len(dy)"),
        ("F7 | F11", "dW[0] = s.padded[:, first : first + t].flatten(0, 1).T @ dy.flatten(0, 1)"),
        ("F7", "dW[k] = s.padded[:, first + 1 : first + t].flatten(0, 1).T @ dy[:, 1:].flatten(0, 1)"),
        ("F13", "dW[k] = -s.padded[:, first : first + t].flatten(0, 1).T @ dy.flatten(0, 1)"),
    ],
    "dpadded[:, first : first + t] += dy @ s.W[k].T": [
        ("F11", "dpadded[:, first : first + t] = dy @ s.W[k].T"),
        ("F10", "dpadded[:, first : first + t] += dy @ s.W[k]"),
        ("F10", "dpadded[:, first : first + t] += dy @ s.W[-1 - k].T"),
        ("F13", "dpadded[:, first : first + t] -= dy @ s.W[k].T"),
        ("F14", "dpadded[:, back:] += dy @ s.W[k].T"),
        ("F7", "dpadded[:-1, first : first + t] += dy[:-1] @ s.W[k].T"),
    ],
    "dx = dpadded[:, back:]": [
        ("F10 | F14", "dx = dpadded[:, :t]"),
        ("F13", "dx = -dpadded[:, back:]"),
        ("F4 | F6", "dx = torch.zeros_like(s.x)"),
        ("F6 | F14", "dx = dy @ s.W[0].T"),  # of the cell at hand alone
    ],
}

FUNCTIONS = {
    "db = dy.flatten(0, 1).sum(0)": [
        ("F7", "db = dy[:4].flatten(0, 1).sum(0)"),
    ],
}
