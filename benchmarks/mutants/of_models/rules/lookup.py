"""Look-up: every symbol's row of a table."""

LINES = {
    "dC = torch.zeros_like(s.C).index_add_(0, ix.flatten(), demb.flatten(0, 1))": [
        ("F11", "dC = torch.zeros_like(s.C); dC[ix] = demb"),
        ("F11", "dC = torch.zeros_like(s.C); dC[ix] += demb"),
        ("F13", "dC = -torch.zeros_like(s.C).index_add_(0, ix.flatten(), demb.flatten(0, 1))"),
        ("F12", "dC = torch.zeros_like(s.C).index_add_(0, ix.flatten(), demb.flatten(0, 1), alpha=2)"),
        ("F8", "dC = torch.zeros_like(s.C).index_add_(0, ix.flatten(), demb.flatten(0, 1)) / len(ix)"),
        ("F7", "dC = torch.zeros_like(s.C).index_add_(0, ix[:-1].flatten(), demb[:-1].flatten(0, 1))"),
        ("F7", "dC = torch.zeros_like(s.C).index_add_(0, ix[:, 1:].flatten(), demb[:, 1:].flatten(0, 1))"),
        ("F1", "dC = torch.zeros_like(s.C).index_add_(0, ix.flatten(), torch.ones_like(demb).flatten(0, 1))"),
        ("F10 | F14", "dC = torch.zeros_like(s.C).index_add_(0, ix.T.flatten(), demb.flatten(0, 1))"),
        ("F15", "dC = torch.zeros_like(s.C).index_add_(0, ix.flatten(), s.emb.flatten(0, 1))"),
        ("F4", "dC = None"),
    ],
}

FUNCTIONS = {
    "dC = torch.zeros_like(s.C).index_add_(0, ix.flatten(), demb.flatten(0, 1))": [
        ("F7", "dC = torch.zeros_like(s.C).index_add_(0, ix[:4].flatten(), demb[:4].flatten(0, 1))"),
    ],
}
