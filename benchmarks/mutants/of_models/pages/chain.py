"""The walk back itself: what several links read gets the sum of what they send. The guilty depend on the network."""

LINES = {
    "gradients[name] = gradients[name] + gradient if readers else gradient": [
        ("F11", "gradients[name] = gradient", "several"),
        ("F6 | F11", "gradients[name] = gradients[name] if readers else gradient", "several"),
        ("F13", "gradients[name] = gradients[name] - gradient if readers else gradient", "several"),
        ("F8", "gradients[name] = (gradients[name] + gradient) / 2 if readers else gradient", "several"),
    ],
}
