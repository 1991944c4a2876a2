"""Linear layer. A lost sign of dx is none of them: two linear layers in a row would make it good again."""

LINES = {
    "dx = dy @ s.W.T": [
        ("F12", "dx = 0.5 * dy @ s.W.T"),
        ("F1", "dx = torch.ones_like(dy) @ s.W.T"),
        ("F7", "dx = torch.zeros_like(s.x); dx[:, 1:] = dy[:, 1:] @ s.W.T"),
        ("F16", "dx = dy @ s.W.T * s.x"),
    ],
    "dW = s.x.flatten(0, -2).T @ dy.flatten(0, -2)": [
        ("F9", "dW = s.x.mT @ dy"),
        ("F8", "dW = s.x.flatten(0, -2).T @ dy.flatten(0, -2) / len(s.x)"),
        ("F10", "dW = dy.flatten(0, -2).T @ s.x.flatten(0, -2)"),
        ("F7", "dW = s.x[:-1].flatten(0, -2).T @ dy[:-1].flatten(0, -2)"),
        ("F7", "dW = s.x[:, 1:].flatten(0, -2).T @ dy[:, 1:].flatten(0, -2)"),
        ("F11", "dW = s.x[:, -1].T @ dy[:, -1]"),
        ("F13", "dW = -s.x.flatten(0, -2).T @ dy.flatten(0, -2)"),
        ("F1", "dW = s.x.flatten(0, -2).T @ torch.ones_like(dy).flatten(0, -2)"),
        ("F4", "dW = None"),
    ],
    "db = dy.flatten(0, -2).sum(0)": [
        ("F9", "db = dy.flatten(0, -2).sum(0, keepdim=True)"),
        ("F9", "db = dy.sum(0)"),
        ("F9", "db = dy.clone()"),
        ("F8", "db = dy.flatten(0, -2).mean(0)"),
        ("F8", "db = dy.mean(0).sum(0)"),
        ("F7", "db = dy[:-1].flatten(0, -2).sum(0)"),
        ("F11", "db = dy[:, -1].sum(0)"),
        ("F1", "db = torch.full_like(s.b, dy[..., 0].numel())"),
        ("F4", "db = None"),
    ],
}

FUNCTIONS = {
    "dW = s.x.flatten(0, -2).T @ dy.flatten(0, -2)": [
        ("F7", "dW = s.x[:4].flatten(0, -2).T @ dy[:4].flatten(0, -2)"),
    ],
}
