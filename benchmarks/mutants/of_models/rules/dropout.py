"""Dropout, its mask given."""

LINES = {
    "return Steps(dy * kept / (1 - rate), dy)": [
        ("F12", "return Steps(dy * kept, dy)", "x"),
        ("F16", "return Steps(dy / (1 - rate), dy)", "x"),  # no mask
        ("F12", "return Steps(dy * kept / rate, dy)", "x"),
        ("F12", "return Steps(dy * kept * (1 - rate), dy)", "x"),
        ("F14", "return Steps(dy * ~kept / (1 - rate), dy)", "x"),
        ("F13", "return Steps(-dy * kept / (1 - rate), dy)", "x"),
        ("F14 | F16", "return Steps(dy.clone(), dy)", "x"),
        ("F1", "return Steps(torch.ones_like(dy) * kept / (1 - rate), dy)", "x"),
    ],
}

FUNCTIONS = {
    "return Steps(dy * kept / (1 - rate), dy)": [
        ("F7", "dx = dy * kept / (1 - rate); dx[4:] = 0; return Steps(dx, dy)", "x"),
    ],
}
