"""`backproof train`: train with the hand-written backward pass, calibrate, measure, sample, save."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from backproof.cli.console import (
    complain,
    console,
    heading,
    print_corpus,
    print_rows,
    this_command,
    training_display,
)
from backproof.training.settings import Settings

if TYPE_CHECKING:
    from backproof.experiment import Losses, Result

_FAILED, _INTERRUPTED = 1, 130


@dataclass(frozen=True)
class Train:
    """Train a model of words with gradients derived by hand, and save it in a folder of its own.

    The defaults are the published run. Ctrl-C saves what is there.

    Example: backproof train --data makemore --steps 20000 --out runs/first
    """

    data: str = "embedded"
    """Words: embedded, makemore, or a UTF-8 file with one word a line."""
    settings: Settings = field(default_factory=Settings)
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the run; without it, runs/ and the time."""
    overwrite: bool = False
    """Replace the run that is in the folder."""

    def run(self) -> int:
        from backproof.training.folder import check_folder, default_folder
        from backproof.training.interrupt import deferred_interrupt

        folder = self.out or default_folder()
        check_folder(folder, self.overwrite)

        from backproof import experiment, text
        from backproof.engines import chosen
        from backproof.runs import save_run
        from backproof.training.loop import Status

        corpus = text.read_corpus(self.data)
        print_corpus(corpus)
        engine = chosen(self.settings.engine)
        heading(f"Training: {self.settings.steps:,} steps with the engine {engine}")
        with deferred_interrupt():  # a second Ctrl-C gives up; the first never loses what was trained
            with training_display(self.settings) as display:
                result = experiment.train(corpus, self.settings, display)
            if result.status is Status.INTERRUPTED and not len(result.step_losses):
                raise KeyboardInterrupt  # there is nothing yet that would be worth a folder
            folder = save_run(result, folder, self.overwrite)
        try:
            _print_result(result)
            heading(f"The run is in {folder}")
            console.print(f"Its pictures: {folder / 'loss.png'} and {folder / 'dlogits.png'}.")
            console.print(f"Go on with: {this_command()} sample {folder} --start ma")
        except OSError:
            complain(f"The output could not be written; the run is saved in {folder}.", _FAILED)
            raise  # what has become of our output is not for one command to judge
        except KeyboardInterrupt:
            return complain(f"Interrupted; the run is saved in {folder}.", _INTERRUPTED)
        if result.status is Status.INTERRUPTED:
            return complain(
                f"Interrupted after step {len(result.step_losses):,}; what was there is saved.", _INTERRUPTED
            )
        if result.status is Status.DIVERGED:
            return complain(_divergence(result), _FAILED)
        return 0


def print_losses(losses: Losses) -> None:
    """One line a split."""
    for name in ("train", "validation", "test"):
        console.print(f"{name:>12}  {getattr(losses, name):.4f}")


def _print_result(result: Result) -> None:
    steps = len(result.step_losses)
    console.print(
        f"{steps:,} steps in {result.seconds:.1f} s, {steps / max(result.seconds, 1e-9):,.0f} steps a second."
    )
    if result.proof:
        heading("Gradients of the trained parameters, against automatic differentiation")
        print_rows(result.proof)
    heading("Loss after calibration on the training split (nats per symbol)")
    print_losses(result.losses)
    if result.samples:
        heading(f"{len(result.samples)} new words")
        console.print("\n".join(result.samples))


def _divergence(result: Result) -> str:
    sentence = result.divergence
    return f"{sentence[0].upper()}{sentence[1:]}; the last finite state is saved. Try again with a smaller --lr."
