"""Is there memory enough? Said before the first allocation, since a system that runs out of it kills without a word."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import replace

from backproof.limits import free_memory
from backproof.models.memory import NotEnoughMemoryError
from backproof.training.settings import NUMBERS, Settings, flag

_COPIES = 4  # of the parameters: drawn, the engine's, those before a stretch of steps and those after it
_LAYERS = 3  # of hidden numbers, for each example of a batch: bnraw, h and its gradient
_SIZES = ("batch_size", "hidden", "embedding", "block_size")


def refuse_what_cannot_fit(settings: Settings, symbols: int) -> None:
    """Raise NotEnoughMemoryError, which says what would fit, if training needs more than there is whatever happens."""
    free, needed = free_memory(), least_memory(settings, symbols)
    if needed <= free:
        return
    choices = [f"{flag(name)} up to {most:,}" for name in _SIZES if (most := _most(settings, symbols, name, free))]
    way_out = f"choose {' or '.join(choices)}" if choices else f"choose smaller {', '.join(map(flag, _SIZES))}"
    taken = f"training takes at least {_amount(needed)} and {_amount(int(free))} are free"
    raise NotEnoughMemoryError(f"There is not enough memory: {taken}; {way_out}.")


def least_memory(settings: Settings, symbols: int) -> int:
    """Bytes that training takes whatever the engine; it takes more, up to twice as much."""
    inputs = settings.block_size * settings.embedding
    parameters = symbols * settings.embedding + settings.hidden * (inputs + symbols + 3) + symbols
    return 4 * (_COPIES * parameters + settings.batch_size * (_LAYERS * settings.hidden + symbols))


def _most(settings: Settings, symbols: int, name: str, free: float) -> int | None:
    """The largest value of one size that fits while the others stay what they are, in two digits; None if none does."""
    least = int(NUMBERS[name][1])
    values = range(least, getattr(settings, name))
    fitting = bisect_right(values, free, key=lambda value: least_memory(replace(settings, **{name: value}), symbols))
    return _rounded_down(values[fitting - 1], least) if fitting else None


def _rounded_down(number: int, least: int) -> int:
    unit = 10 ** max(0, len(str(number)) - 2)
    return max(least, number // unit * unit)


def _amount(size: int) -> str:
    return f"{size / 1e9:,.1f} GB" if size < 1e11 else f"{size / 1e9:,.0f} GB"
