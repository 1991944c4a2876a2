"""Numbers, lists of names and paragraphs as messages write them."""

from __future__ import annotations

import textwrap

WIDTH = 80  # columns of a plain terminal


def number(x: float | None) -> str:
    """Three significant digits; zero and whole numbers plainly."""
    if x is None:
        return "-"
    return "0" if x == 0 else f"{x:.2e}"


def apart(a: float, b: float) -> tuple[str, str]:
    """Two numbers with as many digits as it takes to see that they differ."""
    digits = next((n for n in range(2, 17) if a == b or f"{a:.{n}e}" != f"{b:.{n}e}"), 17)
    return ("0" if a == 0 else f"{a:.{digits}e}", "0" if b == 0 else f"{b:.{digits}e}")


def wrapped(text: str, width: int = WIDTH) -> str:
    """Every line of `text` within `width` columns; what is carried over is indented by two more."""
    lines = []
    for line in text.splitlines():
        indent = line[: len(line) - len(line.lstrip())]
        lines += textwrap.wrap(
            line.strip(),
            width,
            initial_indent=indent,
            subsequent_indent=indent + "  ",
            break_on_hyphens=False,
        ) or [""]
    return "\n".join(lines)


def listed(names: list[str] | tuple[str, ...], most: int = 4) -> str:
    """`a`, `a and b`, `a, b and c`, and past `most` names `a, b, c, ... (6 gradients)`."""
    if len(names) > most:
        return f"{', '.join(names[: most - 1])}, ... ({len(names)} gradients)"
    return " and ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else "".join(names)
