"""A one-dimensional convolution and a ReLU."""

LINES = {
    "da = dy * (s.a > 0)": [
        ("F1", "da = (s.a > 0).to(dy.dtype)"),
        ("F16", "da = dy.clone()"),
        ("F14", "da = dy * torch.where(s.a > 0, 1.0, 0.1).to(dy.dtype)"),
        ("F14 | F16", "da = dy * (s.a > 0) * s.a"),  # of a square, or with a factor a too many
        ("F13", "da = -dy * (s.a > 0)"),
        ("F7", "da = dy * (s.a > 0); da[-1] = 0"),
    ],
    "dbias = da.sum((0, 2)).unsqueeze(1)": [
        ("F9", "dbias = da.sum((0, 2))"),
        ("F9", "dbias = da.sum(0)"),
        ("F15", "dbias = dy.sum((0, 2)).unsqueeze(1)"),
        ("F8", "dbias = da.mean((0, 2)).unsqueeze(1)"),
        ("F8", "dbias = da.sum(2).mean(0).unsqueeze(1)"),
        ("F5", "dbias = da.bfloat16().sum((0, 2)).unsqueeze(1).to(dy.dtype)"),
    ],
    'dweight = torch.einsum("not,nitk->oik", da, s.windows)': [
        ("F10", 'dweight = torch.einsum("not,nitk->oki", da, s.windows)'),
        (
            "F14 | F10",
            'dweight = torch.einsum("not,nitk->oik", da, s.windows).flip(-1)',
        ),  # a true convolution's
        ("F15", 'dweight = torch.einsum("not,nitk->oik", dy, s.windows)'),
        ("F8", 'dweight = torch.einsum("not,nitk->oik", da, s.windows) / len(dy)'),
        ("F7", 'dweight = torch.einsum("not,nitk->oik", da[:-1], s.windows[:-1])'),
        ("F4", "dweight = None"),
    ],
    'dwindows = torch.einsum("not,oik->nitk", da, s.weight)': [
        ("F10", 'dwindows = torch.einsum("not,oki->nitk", da, s.weight)'),
        ("F14 | F10", 'dwindows = torch.einsum("not,oik->nitk", da, s.weight.flip(-1))'),
        ("F15", 'dwindows = torch.einsum("not,oik->nitk", dy, s.weight)'),
    ],
    "for k in range(taps):": [
        ("F6 | F7", "for k in range(taps - 1):", "padded"),  # one tap of each window left out
    ],
    "dpadded[..., k : k + length] += dwindows[..., k]": [
        ("F11", "dpadded[..., k : k + length] = dwindows[..., k]"),
        ("F14 | F10", "dpadded[..., taps - 1 - k : taps - 1 - k + length] += dwindows[..., k]"),
    ],
    "dx = dpadded[..., taps // 2 : taps // 2 + length]": [
        ("F8 | F12", "dx = dpadded[..., taps // 2 : taps // 2 + length] / taps"),
        ("F13", "dx = -dpadded[..., taps // 2 : taps // 2 + length]"),
        ("F9", "dx = dpadded.clone()"),
    ],
}

PAIRS = [
    ("da = dy.clone()", "dbias = da.sum((0, 2))"),
    (
        'dweight = torch.einsum("not,nitk->oki", da, s.windows)',
        "dpadded[..., k : k + length] = dwindows[..., k]",
    ),
]

DOUBLES = {
    'dweight = torch.einsum("not,nitk->oik", da, s.windows)': [
        ("F5", 'dweight = torch.einsum("not,nitk->oik", da.float(), s.windows.float()).to(dy.dtype)'),
    ],
}

FUNCTIONS = {
    "da = dy * (s.a > 0)": [
        ("F2", "da = dy.as_strided(dy.shape, (dy[0].numel(), dy.shape[2], 1)) * (s.a > 0)"),
        ("F2", "da = (dy.view(-1) * (s.a > 0).flatten()).view_as(s.a)"),
        ("F3", "da = dy.mul_(s.a > 0)", "a | y"),
    ],
    'dweight = torch.einsum("not,nitk->oik", da, s.windows)': [
        (
            "F7",
            'dweight = torch.einsum("not,nitk->oik", da[: len(dy) // 5 * 5], s.windows[: len(dy) // 5 * 5])',
        ),
    ],
}
