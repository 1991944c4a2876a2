"""Dropout: in training, some numbers are left out at random, and the others made larger by as much.

    y = x · kept / (1 − rate)

element by element; kept is 1 where a number stays and 0 where it is left out, which happens to a share `rate` of them.
Dividing by 1 − rate leaves the expected value of y at x, so that nothing needs to change where nothing is left out.

Backward. kept and rate are constants, so that what was left out receives nothing and the rest as much more:

    dx = dy · kept / (1 − rate)

The mask is an argument, and not drawn here: both passes have to leave out the same numbers, a proof runs the forward
pass again under other conditions and has to find the same function, and a run that goes on replays its random numbers.
Source: N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting", JMLR 15, 2014,
sections 4 and 10, where the expected value is kept by scaling.
"""

from typing import NamedTuple

from backproof.shapes import Kept, RowsF


class Steps(NamedTuple):
    """Every named value of the forward pass, or every gradient, and its shape."""

    x: RowsF
    y: RowsF


def forward_steps(x: RowsF, kept: Kept, rate: float) -> Steps:
    """The values; `y` is the result. `rate` is below 1."""
    return Steps(x, x * kept / (1 - rate))


def backward_steps(s: Steps, kept: Kept, rate: float, dy: RowsF) -> Steps:
    """The gradient of every value, given the gradient of the result."""
    return Steps(dy * kept / (1 - rate), dy)


def forward(x: RowsF, kept: Kept, rate: float) -> RowsF:
    """The result alone."""
    return (x * kept).div_(1 - rate)


def backward(kept: Kept, rate: float, dy: RowsF) -> RowsF:
    """dx in one step."""
    return (dy * kept).div_(1 - rate)
