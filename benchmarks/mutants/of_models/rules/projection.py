"""Projection: a linear layer without a bias."""

LINES = {
    "dx = dy @ s.W.T": [
        ("F13", "dx = -dy @ s.W.T"),
        ("F12", "dx = 0.5 * dy @ s.W.T"),
        ("F1", "dx = torch.ones_like(dy) @ s.W.T"),
        ("F7", "dx = torch.zeros_like(s.x); dx[:, 1:] = dy[:, 1:] @ s.W.T"),
        ("F16", "dx = dy.sum(-1, keepdim=True).expand_as(s.x)"),
    ],
    "dW = s.x.flatten(0, -2).T @ dy.flatten(0, -2)": [
        ("F9", "dW = s.x.mT @ dy"),
        ("F8", "dW = s.x.flatten(0, -2).T @ dy.flatten(0, -2) / len(s.x)"),
        ("F10", "dW = dy.flatten(0, -2).T @ s.x.flatten(0, -2)"),
        ("F7", "dW = s.x[:, :-1].flatten(0, -2).T @ dy[:, :-1].flatten(0, -2)"),
        ("F11", "dW = s.x[-1].T @ dy[-1]"),
        ("F4", "dW = None"),
    ],
}

FUNCTIONS = {
    "dx = dy @ s.W.T": [
        ("F7", "dx = torch.zeros_like(s.x); dx[:4] = dy[:4] @ s.W.T"),
    ],
}
