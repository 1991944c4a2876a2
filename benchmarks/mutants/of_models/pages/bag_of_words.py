"""The bag of words: its table, read wrongly on the way back."""

LINES = {
    'link(residual, "last", "mid", "out"),': [
        ("F6", 'link(residual, "last", "x", "out"),', "mid x"),
    ],
}
