"""Hyperbolic tangent."""

LINES = {
    "return Steps(backward(s.y, dy), dy)": [
        ("F14", "return Steps(backward(s.x, dy), dy)", "x"),
        ("F14", "return Steps((1 - s.y) * dy, dy)", "x"),
        ("F14", "return Steps(s.y * (1 - s.y) * dy, dy)", "x"),
        ("F13 | F14", "return Steps((1 + s.y**2) * dy, dy)", "x"),
        ("F13", "return Steps(-backward(s.y, dy), dy)", "x"),
        ("F16", "return Steps(dy.clone(), dy)", "x"),
        ("F12", "return Steps(2 * backward(s.y, dy), dy)", "x"),
        ("F1", "return Steps(backward(s.y, torch.ones_like(dy)), dy)", "x"),
    ],
}

FUNCTIONS = {
    "return Steps(backward(s.y, dy), dy)": [
        ("F7", "dx = backward(s.y, dy); dx[4:] = 0; return Steps(dx, dy)", "x"),
    ],
}
