"""`backproof train`: train with the hand-written backward pass, calibrate, measure, sample, save."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
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
    from backproof.text import Corpus
    from backproof.training.checkpoint import About, Checkpoint, Checkpoints
    from backproof.training.loop import State

_FAILED, _INTERRUPTED = 1, 130
_SIGNAL = 128  # what a shell adds to a signal's number for the exit code of whom it ended
_ENDING = tuple(number for name in ("SIGTERM", "SIGHUP") if (number := getattr(signal, name, 0)))


@dataclass(frozen=True)
class Train:
    """Train a model of words with gradients derived by hand, and save it in a folder of its own.

    The defaults are the published run. Ctrl-C saves what is there, and --resume goes on with it.

    Example: backproof train --data makemore --steps 20000 --out runs/first
    """

    data: str = "embedded"
    """Words: embedded, makemore, or a UTF-8 file with one word a line."""
    settings: Settings = field(default_factory=Settings)
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the run; without it, runs/ and the time."""
    overwrite: bool = False
    """Replace the run that is in the folder."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="DIR|auto")] = None
    """Go on with the run in this folder; auto: with the one in --out if there is one, else begin it."""
    save_every: float = 30.0
    """Seconds after which the run's state is saved again."""

    def run(self) -> int:
        from backproof.training.checkpoint import owned
        from backproof.training.folder import FolderError, check_folder, default_folder, recover, unfinished

        if not self.save_every >= 0:
            raise FolderError(f"--save-every is {self.save_every}; it has to be at least 0 seconds.")
        if self.resume and self.overwrite:
            raise FolderError("--resume goes on with a run and --overwrite begins it again; give one of them.")
        auto = self.resume == "auto"
        if auto and self.out is None:
            raise FolderError("--resume auto goes on with the run in a folder; name it with --out.")
        if self.resume and not auto and self.out is not None:
            raise FolderError("--resume names the folder already; leave --out away.")
        folder = Path(self.resume) if self.resume and not auto else self.out or default_folder()
        recover(folder)
        if auto and (finished := self._finished(folder)) is not None:
            return finished
        goes_on = self.resume is not None and unfinished(folder)
        if self.resume and not auto and not goes_on:
            raise FolderError(f"{folder} holds no run that is not over; begin one with --out {folder}.")
        check_folder(folder, self.overwrite or goes_on)
        with owned(folder):  # before its state is read: whoever had it until now may just have gone on
            return self._train(folder, self._begun(folder) if goes_on else None)

    def _finished(self, folder: Path) -> int | None:
        """The exit code where the run in the folder is this one, and over."""
        from backproof.runs import load_run
        from backproof.training.folder import MARKER, unfinished

        if unfinished(folder) or not (folder / MARKER).is_file():
            return None
        run = load_run(folder)
        if run.settings != self.settings or run.data_source != self.data:
            return None
        console.print(f"The run in {folder} is finished; there is nothing left to do.")
        return 0

    def _begun(self, folder: Path) -> Checkpoint:
        """The state to go on from; raises FolderError where it is another run's, or where its run is over by now."""
        from backproof.training import checkpoint
        from backproof.training.folder import FolderError
        from backproof.training.resume import continued

        found = checkpoint.last(folder)
        if found is None:
            raise FolderError(
                f"The run in {folder} has just been ended by another process; look at it before you go on."
            )
        return continued(found, self.settings, folder, anew=self.resume == "auto")

    def _train(self, folder: Path, begun: Checkpoint | None) -> int:
        from backproof import text
        from backproof.engines import chosen
        from backproof.training.checkpoint import About, Checkpoints
        from backproof.training.folder import FolderError

        source = self.data if begun is None or self.data != "embedded" else begun.about.data_source
        corpus = text.read_corpus(source)
        if begun is not None and corpus.sha256 != begun.about.data_sha256:
            raise FolderError(
                f"The run in {folder} was begun on other words than {source} holds; give them with --data."
            )
        print_corpus(corpus)
        settings = self.settings if begun is None else begun.about.settings
        engine = chosen(settings.engine if begun is None else begun.about.engine)
        heading(f"Training: {settings.steps:,} steps with the engine {engine}")
        if begun is not None:
            console.print(f"Going on from step {len(begun.state.losses):,}.")
        symbols = len(text.vocabulary_of(corpus.words))
        about = About(settings, engine, symbols, corpus.source, corpus.sha256)
        try:
            saved = Checkpoints(folder, about, begun and begun.state)
        except OSError as error:
            reason = f"{folder} cannot be written ({error.strerror})"
            raise FolderError(f"{reason}; choose another folder with --out.") from None
        return _run(corpus, about, saved, begun and begun.state, folder, self)


def _run(corpus: Corpus, about: About, saved: Checkpoints, begun: State | None, folder: Path, command: Train) -> int:
    """Train and save; whatever ends it, what is kept is said."""
    from backproof import experiment
    from backproof.runs import save_run
    from backproof.training.folder import FolderError
    from backproof.training.interrupt import deferred_interrupt
    from backproof.training.loop import Keep, Status

    settings, number = about.settings, signal.SIGINT

    def kept() -> str:
        return f"the state after step {saved.steps:,} is kept; go on with --resume {folder}" if saved.steps else ""

    try:
        with deferred_interrupt(*_ENDING) as interrupted:
            try:
                with training_display(settings) as display:
                    keep = Keep(_tried(saved), command.save_every, _say_that_it_is_saved)
                    result = experiment.train(
                        corpus, replace(settings, engine=about.engine), display, begun=begun, keep=keep
                    )
                if result.status is Status.INTERRUPTED and not len(result.step_losses):
                    raise KeyboardInterrupt  # there is nothing yet that would be worth a folder
                folder = save_run(replace(result, settings=settings), folder, command.overwrite, owned=True)
            finally:
                number = interrupted() or number
    except KeyboardInterrupt:
        return complain(f"Interrupted; {kept() or 'nothing was saved'}.", _SIGNAL + number)
    except FolderError as error:
        raise FolderError(f"{str(error)[:-1]}; {kept()}." if saved.steps else str(error)) from None
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
        steps = f"Interrupted after step {len(result.step_losses):,}; what was there is saved."
        return complain(f"{steps} Go on with --resume {folder}.", _SIGNAL + number)
    if result.status is Status.DIVERGED:
        return complain(_divergence(result), _FAILED)
    return 0


def _say_that_it_is_saved() -> None:
    with suppress(OSError):
        console.print("Saving; press Ctrl-C again only to lose what came since the last save.")


def _tried(saved: Checkpoints) -> Callable[[State], None]:
    """Saves a run's state; where that fails, the training goes on all the same, and it is said once."""
    failed = False

    def save(state: State) -> None:
        nonlocal failed
        try:
            saved.save(state)
            failed = False
        except OSError as error:
            if not failed:
                reason = f"The state of the run could not be saved ({error.strerror}), which will be tried again"
                complain(f"{reason}; the last one is of step {saved.steps:,}.", _FAILED)
            failed = True

    return save


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
