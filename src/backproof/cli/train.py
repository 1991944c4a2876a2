"""`backproof train`: train with the hand-written backward pass, calibrate, measure, sample, save."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import tyro

from backproof.cli.console import (
    complain,
    console,
    heading,
    print_corpus,
    print_rows,
    this_command,
    training_display,
    working,
)
from backproof.cli.meanwhile import import_meanwhile
from backproof.limits import cores
from backproof.models.registry import NAMES
from backproof.training.settings import Settings, SettingsError

if TYPE_CHECKING:
    from backproof.experiment import Losses, Result
    from backproof.proof.report.rows import Row
    from backproof.resumable import Resumable
    from backproof.text import Corpus
    from backproof.training.checkpoint import Checkpoint
    from backproof.training.kinds import AnySettings
    from backproof.training.watch import Measured
    from backproof.training.word_model import WordModel
    from backproof.word_experiment import WordResult

EXERCISE = "mlp"
"""The model that all options are of where none is named: the network of the exercise."""
Models = Annotated[str, tyro.conf.arg(metavar=f"{{{','.join((EXERCISE, *NAMES))}}}")]
_FAILED, _INTERRUPTED = 1, 130
_MOST_ROWS = 10  # are read by somebody; of more it is said how many there are
_SIGNAL = 128  # what a shell adds to a signal's number for the exit code of whom it ended


@dataclass(frozen=True)
class Train:
    """Train a model of words with gradients derived by hand, and save it in a folder of its own.

    The defaults are the published run. Ctrl-C saves what is there, and --resume goes on with it.

    Example: backproof train --data makemore --steps 20000 --out runs/first
    """

    data: str = "embedded"
    """Words: embedded, makemore, or a UTF-8 file with one word a line."""
    model: Models = EXERCISE
    """Which network; --help behind it shows its own options."""
    settings: Settings = field(default_factory=Settings)
    out: Annotated[Path | None, tyro.conf.arg(metavar="DIR")] = None
    """Folder of the run; without it, runs/ and the time."""
    overwrite: bool = False
    """Replace the run that is in the folder."""
    resume: Annotated[str | None, tyro.conf.arg(metavar="DIR|auto")] = None
    """Go on with the run in this folder; auto: with the one in --out if there is one, else begin it."""
    save_every: float = 30.0
    """Seconds after which the run's state is saved again."""
    threads: Annotated[int | Literal["auto"], tyro.conf.arg(metavar="INT|auto")] = "auto"
    """At most so many for a step, auto: one a core; how many make it faster is measured. The result is the same."""

    @property
    def wanted(self) -> AnySettings:
        """The settings that the command asks for."""
        return self.settings

    def run(self) -> int:
        from backproof.training.folder import FolderError, check_folder, default_folder, recover, unfinished

        if not self.save_every >= 0:
            raise FolderError(f"--save-every is {self.save_every}; it has to be at least 0 seconds.")
        if self.resume and self.overwrite:
            raise FolderError("--resume goes on with a run and --overwrite begins it again; give one of them.")
        if self.threads != "auto" and not 1 <= self.threads <= cores():
            raise SettingsError(f"--threads is {self.threads}; this process can have 1 to {cores()}.")
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
        if goes_on:
            console.print(f"Going on with the run in {folder}.")
        corpus = None if goes_on else _words(self.data)
        from backproof.training.checkpoint import owned  # with PyTorch, which takes seconds: somebody waits for words

        with owned(folder):  # before its state is read: whoever had it until now may just have gone on
            return self._train(folder, corpus, self._begun(folder) if goes_on else None)

    def _finished(self, folder: Path) -> int | None:
        """The exit code where the run in the folder is this one, and over."""
        from backproof.runs import load_run
        from backproof.training.folder import MARKER, unfinished

        if unfinished(folder) or not (folder / MARKER).is_file():
            return None
        run = load_run(folder)
        if run.settings != self.wanted or run.data_source != self.data:
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
        return continued(found, self.wanted, folder, anew=self.resume == "auto")

    def _train(self, folder: Path, corpus: Corpus | None, begun: Checkpoint | None) -> int:
        from backproof.resumable import Resumable

        if corpus is None:
            corpus = _words(self.data if begun is None or self.data != "embedded" else begun.about.data_source)
        run = Resumable(folder, corpus, self.wanted if begun is None else begun.about.settings, begun)
        heading(f"Training: {run.settings.steps:,} steps with the engine {run.engine}")
        if run.saved:
            console.print(f"Going on from step {run.saved:,}.")
        import_meanwhile()
        return _run(run, folder, self)


def _words(source: str) -> Corpus:
    from backproof.text import read_corpus

    with working("reading the words"):
        corpus = read_corpus(source)
    print_corpus(corpus)
    return corpus


def _run(run: Resumable, folder: Path, command: Train) -> int:
    """Train and save; whatever ends it, what is kept is said."""
    from backproof.runs import save_run
    from backproof.training.folder import FolderError
    from backproof.training.interrupt import ENDING, deferred_interrupt
    from backproof.training.status import Status

    number = signal.SIGINT

    def kept() -> str:
        return f"the state after step {run.saved:,} is kept; go on with --resume {folder}" if run.saved else ""

    def not_saved(error: OSError) -> None:
        reason = f"The state of the run could not be saved ({error.strerror}), which will be tried again"
        complain(f"{reason}; the last one is of step {run.saved:,}.", _FAILED)

    try:
        with deferred_interrupt(*ENDING) as interrupted:
            try:
                with training_display(run.settings) as display:
                    result = run.train(
                        display,
                        every=command.save_every,
                        threads=None if command.threads == "auto" else command.threads,
                        on_measured=_print_measured,
                        on_interrupt=_say_that_it_is_saved,
                        on_failure=not_saved,
                    )
                if result.status is Status.INTERRUPTED and not len(result.step_losses):
                    raise KeyboardInterrupt  # there is nothing yet that would be worth a folder
                folder = save_run(result, folder, command.overwrite, owned=True)
            finally:
                number = interrupted() or number
    except KeyboardInterrupt:
        return complain(f"Interrupted; {kept() or 'nothing was saved'}.", _SIGNAL + number)
    except FolderError as error:
        raise FolderError(f"{str(error)[:-1]}; {kept()}." if run.saved else str(error)) from None
    try:
        _print_result(result)
        heading(f"The run is in {folder}")
        pictures = [str(folder / name) for name in ("loss.png", "dlogits.png") if (folder / name).exists()]
        console.print(f"Its picture{'s' if len(pictures) > 1 else ''}: {' and '.join(pictures)}.")
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


def print_losses(losses: Losses) -> None:
    """One line a split."""
    for name in ("train", "validation", "test"):
        console.print(f"{name:>12}  {getattr(losses, name):.4f}")


def _print_measured(measured: Measured, model: WordModel) -> None:
    from backproof.training.sampling import SamplingError, sample

    words = ""
    with suppress(SamplingError, RuntimeError):  # of a model that has just diverged
        words = f"   {', '.join(sample(model, 3, measured.steps))}"
    console.print(
        f"{measured.steps:9,}  train {measured.train:.4f}  validation {measured.validation:.4f}{words}", soft_wrap=True
    )


def _print_result(result: Result | WordResult) -> None:
    steps = len(result.step_losses)
    console.print(
        f"{steps:,} steps in {result.seconds:.1f} s, {steps / max(result.seconds, 1e-9):,.0f} steps a second."
    )
    if result.proof:
        heading("Gradients of the trained parameters, against automatic differentiation")
        _print_proof(result.proof)
    heading(_which_losses(result))
    print_losses(result.losses)
    if result.samples:
        heading(f"{len(result.samples)} new words")
        console.print("\n".join(result.samples))
    if (seen := getattr(result, "novelty", None)) is not None:
        new = seen.sampled - seen.in_train - seen.in_test
        console.print(
            f"\nOf {seen.sampled:,} words, {seen.in_train:,} are in the training list, {seen.in_test:,} in the test "
            f"list alone, {new:,} in neither.",
            soft_wrap=True,
        )


def _print_proof(rows: Sequence[Row]) -> None:
    proved, worst = sum(row.ok for row in rows), max(row.max_difference or 0.0 for row in rows)
    if len(rows) <= _MOST_ROWS or proved < len(rows):
        print_rows(rows)
    else:
        console.print(f"All {proved} proved; the largest difference is {worst:.2g}.")


def _which_losses(result: Result | WordResult) -> str:
    best = getattr(result, "best", None)
    if best is not None:
        return f"Loss of the best parameters on the validation split, those of step {best.steps:,} (nats per symbol)"
    calibrated = " after calibration on the training split" if hasattr(result.model, "statistics") else ""
    return f"Loss{calibrated} (nats per symbol)"


def _divergence(result: Result | WordResult) -> str:
    sentence = result.divergence
    return f"{sentence[0].upper()}{sentence[1:]}; the last finite state is saved. Try again with a smaller --lr."
