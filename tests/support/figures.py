"""Holding a report against the page that shows it: the words exactly, the figures as far as processors agree on them.

How a sum is rounded depends on the processor: on how many numbers it adds at once, and whether it fuses a
multiplication with an addition. So a right gradient may be exact on one machine and off by its rounding on another.
"""

from __future__ import annotations

import re
from math import isclose

WITHIN = 0.01  # reports show three digits: it is one unit in the last of them
ROUNDING = 1e-5  # float32 rounds numbers of order one, and short sums of them, by less

_RIGHT = re.compile(r"^(  \S+) +(?:exact +0|rounding +(\S+))$", re.MULTILINE)
_EXACT_GIVEN = re.compile(
    r"[\w, .\[\]'\"]+(\.\.\. \(\d+ gradients\))?: exact, given the rounding of the gradients above\."
)
_FUSED = re.compile(r"\w+ differs by a fused multiply-add: .*")
_NUMBER = re.compile(r"(?<![\w.])(-?\d+(?:\.\d+)?(?:e[+-]\d+)?)(?!\w)")


def differences(report: str, shown: str) -> list[str]:
    """The lines in which the two tell different things, as `report` says them and as they are `shown`.

    Alike are figures within one per cent of each other, and the verdicts `exact` and `rounding` of a right gradient.
    Whole numbers (places, counts) are words.
    """
    ours, theirs = _settled(report), _settled(shown)
    if len(ours) != len(theirs):
        missing, new = ([line for line in a if line not in b] for a, b in ((theirs, ours), (ours, theirs)))
        return [f"{len(ours)} lines, shown are {len(theirs)}; missing: {missing}; new: {new}"]
    return [f"{ours[i]}  |  shown: {theirs[i]}" for i in range(len(ours)) if not _alike(ours[i], theirs[i])]


def _settled(text: str) -> list[str]:
    """The lines, without what is the processor's: whether a right gradient is exact or rounded, and why."""
    text = _RIGHT.sub(lambda row: row[0] if row[2] and float(row[2]) > ROUNDING else f"{row[1]} right", text)
    paragraphs = text.split("\n\n")
    kept = [paragraph for paragraph in paragraphs if not _processors_own(" ".join(paragraph.split()))]
    return "\n\n".join(kept).splitlines()


def _processors_own(paragraph: str) -> bool:
    return bool(_EXACT_GIVEN.fullmatch(paragraph) or _FUSED.fullmatch(paragraph))


def _alike(ours: str, theirs: str) -> bool:
    pieces = zip(*map(_NUMBER.split, (ours, theirs)), strict=False)
    same = [a == b or (i % 2 == 1 and _close(a, b)) for i, (a, b) in enumerate(pieces)]
    return len(_NUMBER.split(ours)) == len(_NUMBER.split(theirs)) and all(same)


def _close(ours: str, theirs: str) -> bool:
    figures = all("." in number or "e" in number for number in (ours, theirs))
    return figures and isclose(float(ours), float(theirs), rel_tol=WITHIN)
