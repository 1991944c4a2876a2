"""Making every replay in its order, and listing those that could not be made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from backproof.proof.replays.ledger import Ledger
from backproof.proof.report.rows import Row
from backproof.proof.user.calls import CannotProveError
from backproof.proof.user.layouts import LAYOUTS

Replay = Callable[[Any, Ledger], Iterable[Row]]


STRIDES = "index with the strides, or start from upstream.contiguous()"


class SkippedError(Exception):
    """A replay that cannot be made, and why."""


def replay_all(replays: Mapping[str, Replay], proof: Any, ledger: Ledger, skip: Collection[str]) -> None:
    """Makes every replay in its order and takes its rows; those in `skip`, alone or as a group, are left out.

    A string is one name.
    """
    skip = [skip] if isinstance(skip, str) else skip
    groups = {
        "layouts": [name for name in replays if name.partition(" ")[2] in LAYOUTS],
        "sizes": [name for name in replays if name.startswith("size")],
    }
    for name in skip:
        if name not in replays and name not in groups:
            known = ", ".join(dict.fromkeys([*replays, *groups]))
            raise CannotProveError(f"There is no replay {name!r} to skip; there are {known}.")
    left_out = {one for name in skip for one in groups.get(name, [name])}
    for name, replay in replays.items():
        try:
            if name in left_out:
                raise SkippedError("left out as asked")
            ledger.add(replay(proof, ledger), name)
        except SkippedError as reason:
            ledger.skip(name, str(reason))


def _no_sizes(proof: Any, ledger: Ledger) -> list[Row]:
    raise SkippedError("inputs is not a function of a size")


NO_SIZES: dict[str, Replay] = {"sizes": _no_sizes}
