"""`backproof sample`: new words from a saved model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro


@dataclass(frozen=True)
class Sample:
    """Make up new words with a saved model, one a line.

    Example: backproof sample runs/first --count 5 --start ma
    """

    folder: tyro.conf.Positional[Path]
    """Folder of the run."""
    count: int = 20
    """How many words."""
    seed: int = 2147483657
    """Seed of the draws; the same seed gives the same words."""
    start: str = ""
    """What every word begins with."""
    temperature: float = 1.0
    """Below 1: likelier words; above 1: wilder ones."""

    top_k: int = 0
    """Draw among so many likeliest symbols; 0: among all."""

    def run(self) -> int:
        from backproof.cli.console import printable
        from backproof.runs import load_run
        from backproof.training.sampling import sample

        model = load_run(self.folder).model
        for word in sample(model, self.count, self.seed, self.start, self.temperature, self.top_k):
            print(printable(word), flush=True)  # not by the console, which would turn a tab into spaces
        return 0
