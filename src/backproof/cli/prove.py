"""`backproof prove`: find the wrong lines of a hand-written backward pass, the user's or the network's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from backproof.cli.console import console, heading, print_corpus, print_rows, working
from backproof.cli.train import EXERCISE, Models
from backproof.files import check_file

if TYPE_CHECKING:
    from backproof.proof.report.report import Report
    from backproof.text import Corpus

_FAILED = 1


class PageError(ValueError):
    """A page that cannot be written where it should be."""


@dataclass(frozen=True)
class Prove:
    """Prove every gradient of a backward pass written by hand, and say which line is wrong and why.

    FILE.py defines forward, backward and inputs. Without a file it is this project's network that is proved.
    Exits with 0 when all is proved, with 1 when not, with 2 when it cannot be run.

    Example: backproof prove examples/layernorm.py --html report.html
    """

    file: Annotated[tyro.conf.Positional[Path | None], tyro.conf.arg(metavar="[FILE.py]")] = None
    """What to prove; without it, the network."""
    json: bool = False
    """Print the report as JSON."""
    html: Annotated[Path | None, tyro.conf.arg(metavar="PATH")] = None
    """Save the report as a page that needs no network."""
    model: Models = EXERCISE
    """Network: which; --help behind it shows its own options."""
    data: str = "embedded"
    """Network: words; embedded, makemore, or a UTF-8 file with one word a line."""
    hidden: int = 64
    """Network: neurons of the hidden layer."""
    grain: Literal["steps", "fused", "both"] = "steps"
    """Network: the 26 gradients step by step, the fused ones, or both."""
    correction: Literal[1, 0] = 1
    """Network: variance of batch normalisation, divided by n - 1 (published) or by n (0)."""
    batch_size: int = 32
    """Network: examples of the minibatch."""
    seed: int = 2147483647
    """Network: seed of the parameters and of the minibatch."""

    def run(self) -> int:
        if self.html is not None:
            with _refused(self.html):
                check_file(self.html)
        if self.file is not None:
            return self._prove_file(self.file)
        if self.html is not None and self.grain == "both":
            raise PageError("--html shows one report; add --grain steps or --grain fused.")
        return self._prove_network()

    def _prove_file(self, file: Path) -> int:
        from backproof.proof.file import prove_file

        # what the file prints must not get between the lines of a program's input
        with redirect_stdout(sys.stderr) if self.json else nullcontext(), working(f"proving {file}"):
            report = prove_file(file)
        self._save_page(report)
        console.print(report.to_json() if self.json else str(report))
        return 0 if report.ok else _FAILED

    def _save_page(self, report: Report) -> None:
        if self.html is not None:
            with _refused(self.html):
                report.save_html(self.html)

    def _prove_network(self) -> int:
        from backproof.training.settings import Settings

        settings = Settings(hidden=self.hidden, correction=self.correction, batch_size=self.batch_size, seed=self.seed)
        from torch import Generator

        from backproof import experiment, text
        from backproof.models import mlp
        from backproof.proof import network

        with working("reading the words"):
            corpus = text.read_corpus(self.data)
        vocabulary, splits = experiment.prepare(corpus, settings)
        generator = Generator().manual_seed(self.seed)
        shape = experiment.network_shape(settings, vocabulary)
        parameters = mlp.initial_parameters(shape, generator, settings.affine_seed)
        batch = experiment.draw_batch(splits, self.batch_size, generator)
        given = parameters, batch.contexts, batch.targets, self.correction

        reports: dict[str, Report] = {}
        with working("proving the network"):
            if self.grain != "fused":
                reports["steps"] = network.prove_steps(*given)
            if self.grain != "steps":
                reports["fused"] = network.prove_fused(*given)
        count = sum(tensor.numel() for tensor in parameters)
        about = f"One minibatch of {self.batch_size}, {self.hidden} hidden neurons, {count:,} parameters."
        note = network.rounding_note(*given) if "steps" in reports and not self.json else ""
        return self._show(reports, corpus, about, note)

    def _show(self, reports: dict[str, Report], corpus: Corpus, about: str, note: str = "") -> int:
        if self.html is not None:
            self._save_page(reports[self.grain])
        if self.json:
            console.print(json.dumps({grain: json.loads(report.to_json()) for grain, report in reports.items()}))
        else:
            print_corpus(corpus)
            console.print(about)
            _print_network(reports, note)
        return 0 if all(report.ok for report in reports.values()) else _FAILED


@contextmanager
def _refused(page: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise PageError(f"{page} cannot be written ({error.strerror}); choose another path.") from None


_HEADINGS = {
    "steps": "Gradients by hand, step by step, against automatic differentiation",
    "fused": "Fused gradients, against automatic differentiation",
}


def _print_network(reports: dict[str, Report], note: str) -> None:
    for grain, report in reports.items():
        heading(_HEADINGS[grain])
        print_rows(report.rows)
        if grain == "steps" and note:
            console.print(note, style="dim")
        if not report.ok:
            console.print(f"\n{report}")
    rows = [row for report in reports.values() for row in report.rows]
    proved, exact = sum(row.ok for row in rows), sum(row.exact for row in rows)
    console.print(
        f"\n{proved} of {len(rows)} gradients proved, {exact} of them exact to the last bit.",
        style="bold green" if proved == len(rows) else "bold red",
    )
