"""How sure a finding is, and how far its advice can be followed."""

from __future__ import annotations

from enum import StrEnum


class Certainty(StrEnum):
    """What a cause rests on."""

    SEEN = "seen"  # no hypothesis: there is no gradient, or it holds NaN
    FITS = "fits to rounding"  # it explains the numbers of one run, and nothing simpler does
    REPLAYED = "shown by a replay"  # a second run under other conditions showed the fault
    ONE_OF_SEVERAL = "one of several"  # several causes explain the numbers alike


class Applicability(StrEnum):
    """What comes of doing just what the advice says."""

    MENDS = "mends it"  # the right gradient, to rounding: it was tried on the numbers of the gradient at hand
    LOOK = "look here"  # the place and the direction are right; what to write there has to be thought about

    @property
    def word(self) -> str:
        """What the advice begins with in a message."""
        return "mend" if self is Applicability.MENDS else "next"
