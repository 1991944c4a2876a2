"""The convolutional network: its table, read wrongly on the way back."""

LINES = {}

# What x0 lacks comes to emb nevertheless, which has it through x0: that emb has it twice over is not accused.
MISSED = {
    'link(residual, f"x{k}", x, f"act{k}"),': [
        ("F6", 'link(residual, f"x{k}", "emb", f"act{k}"),', "emb x0"),
    ],
}
