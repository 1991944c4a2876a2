"""`backproof fetch`: the published corpus, into the user's cache."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import tyro

from backproof.cli.console import console


@dataclass(frozen=True)
class Fetch:
    """Download the 32,033 published names once; then --data makemore means them.

    Example: backproof fetch names
    """

    what: tyro.conf.Positional[Literal["names"]]
    """What to fetch."""

    def run(self) -> int:
        from backproof.text import fetch_names

        path = fetch_names()
        console.print(f"The published names are in {path}; use them with --data makemore.")
        return 0
