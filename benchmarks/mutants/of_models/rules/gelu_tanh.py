"""GELU in its tanh form."""

LINES = {
    "dt = 0.5 * s.x * dy": [
        ("F12", "dt = s.x * dy"),
        ("F16", "dt = 0.5 * dy"),
        ("F14", "dt = 0.5 * s.y * dy"),
    ],
    "dinner = (1 - s.t**2) * dt": [
        ("F16", "dinner = dt.clone()"),
        ("F14", "dinner = (1 - s.t) * dt"),
        ("F14", "dinner = (1 - s.inner**2) * dt"),
        ("F15 | F16", "dinner = (1 - s.t**2) * dy"),
    ],
    "dcube = SLOPE * CUBIC * dinner": [
        ("F12", "dcube = CUBIC * dinner"),
        ("F12", "dcube = SLOPE * dinner"),
        ("F15", "dcube = SLOPE * CUBIC * dt"),
        ("F13", "dcube = -SLOPE * CUBIC * dinner"),
    ],
    "dx = 0.5 * (1 + s.t) * dy + SLOPE * dinner + (3 * s.x**2) * dcube": [
        ("F6", "dx = 0.5 * (1 + s.t) * dy + SLOPE * dinner"),
        ("F6", "dx = 0.5 * (1 + s.t) * dy + (3 * s.x**2) * dcube"),
        ("F6", "dx = SLOPE * dinner + (3 * s.x**2) * dcube"),
        ("F12", "dx = 0.5 * (1 + s.t) * dy + SLOPE * dinner + s.x**2 * dcube"),
        ("F12", "dx = 0.5 * (1 + s.t) * dy + dinner + (3 * s.x**2) * dcube"),
        ("F13", "dx = 0.5 * (1 - s.t) * dy + SLOPE * dinner + (3 * s.x**2) * dcube"),
    ],
}

FUNCTIONS = {
    "dt = 0.5 * s.x * dy": [
        ("F7", "dt = 0.5 * s.x * dy; dt[4:] = 0"),
    ],
}
