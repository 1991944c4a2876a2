"""The Transformer: its table, read wrongly on the way back. Layer 0 and layer 1, each with two branches."""

LINES = {
    'chain.append(link(residual, f"{at}_mid", x, dropped(f"{at}_proj", f"{at}_attn_kept")))': [
        (
            "F14 | F16",
            'chain.append(link(residual, f"{at}_mid", x, dropped(f"{at}_proj", f"{at}_ff_kept")))',
            "layer0_proj layer1_proj",
        ),
    ],
    'chain.append(link(residual, f"{at}_x", f"{at}_mid", dropped(f"{at}_out", f"{at}_ff_kept")))': [
        (
            "F6",
            'chain.append(link(residual, f"{at}_x", x, dropped(f"{at}_out", f"{at}_ff_kept")))',
            "x_dropped layer0_mid layer0_x layer1_mid",
        ),
        (
            "F14 | F16",
            'chain.append(link(residual, f"{at}_x", f"{at}_mid", dropped(f"{at}_out", "kept")))',
            "layer0_out layer1_out",
        ),
    ],
    'x = dropped("x", "kept")': [
        ("F14 | F16", 'x = dropped("x", "layer0_attn_kept")', "x"),
    ],
}
