"""What commands print with: plain lines, and a live bar where a person watches."""

from __future__ import annotations

import os
import re
import shutil
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from errno import EPIPE
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from backproof.proof.report.rows import Row
    from backproof.text import Corpus
    from backproof.training.loop import Plan, Progress


# What a terminal obeys instead of showing it, and what turns the order of what it shows; tabs and line ends may stay.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text`, which may come from a file of anybody's, with `\\x1b` and the like for what would steer a terminal."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


class _Console(Console):
    def render_str(self, text: str, *given: Any, **options: Any) -> Text:
        """All text goes through here; what is not ours may hold anything."""
        return super().render_str(printable(text), *given, **options)

    def on_broken_pipe(self) -> None:
        """Rich would end the program on the spot, whatever is still to be saved."""
        raise BrokenPipeError(EPIPE, os.strerror(EPIPE))


def _console(stderr: bool = False) -> Console:
    plain = _Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    plain.soft_wrap = not plain.is_terminal  # lines are broken for a person, and left whole for a program
    return plain


console, _errors = _console(), _console(stderr=True)
_PLAIN_INTERVAL = 10_000
_SMOOTHED_OVER = 1000
_SECONDS_UNSEEN = 1.0  # of work; what is shorter would only flicker


def complain(message: str, exit_code: int) -> int:
    """Print an error and hand back the exit code that goes with it."""
    _errors.print(f"backproof: {message}", style="red")
    return exit_code


def heading(text: str) -> None:
    """Begin a part of the output."""
    console.print(f"\n{text}", style="bold")


def print_corpus(corpus: Corpus) -> None:
    """Say what was read, and what was tidied away on the way."""
    console.print(f"{len(corpus.words):,} words from {corpus.source}.")
    if str(corpus.cleaning):
        console.print(f"Left out: {corpus.cleaning}.")


def print_rows(rows: Sequence[Row]) -> None:
    """The notebooks' table, a line a gradient."""
    for row in rows:
        console.print(str(row), style="green" if row.exact else "" if row.ok else "red")
    if rounded := [row.name for row in rows if row.ok and not row.approximate]:
        names = ", ".join(rounded)
        console.print(f"{names}: beyond the tolerance of allclose, but the lines are right: rounding.", style="dim")


def this_command() -> str:
    """How the user can call us again: by name where the shell finds it, else by the path that was called."""
    return "backproof" if shutil.which("backproof") else os.path.relpath(sys.argv[0])


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show a person, once it takes longer than a second, what is being done and for how long; nothing else sees it.

    It stands where errors do, so that a program may read the output meanwhile.
    """
    if not _errors.is_terminal:
        yield
        return
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    shown = Progress(*columns, console=_errors, transient=True, redirect_stdout=False, redirect_stderr=False)
    shown.add_task(what, total=None)
    late = threading.Timer(_SECONDS_UNSEEN, shown.start)
    late.daemon = True
    late.start()
    try:
        yield
    finally:
        late.cancel()
        late.join()  # it may just be starting it
        shown.stop()


@contextmanager
def training_display(settings: Plan) -> Iterator[Callable[[Progress], None]]:
    """A bar on a terminal; elsewhere the published lines, every 10,000 steps and at least ten a run.

    When the output cannot be written any more, as in `backproof train | head -3`, the training goes on unseen: what
    is printed after it fails as well, and then there is a run to speak of.
    """
    if not console.is_terminal:
        yield _as_long_as_it_can(_plain_lines(settings))
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        BarColumn(bar_width=None),
        TaskProgressColumn(),
        TextColumn("{task.fields[text]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, expand=True) as bar:
        task = bar.add_task("training", total=settings.steps, text="")

        def show(progress: Progress) -> None:  # type: ignore[valid-type]
            smoothed = progress.losses[-_SMOOTHED_OVER:].mean()
            speed = progress.steps_done / max(progress.seconds, 1e-9)
            text = (
                f"step {progress.steps_done:,}  loss {smoothed:.4f}  lr {progress.learning_rate:g}  "
                f"{speed:,.0f} steps/s"
            )
            if progress.steps_done == progress.steps:
                text += "  measuring"  # which takes a while as well
            bar.update(task, completed=progress.steps_done, text=text)

        yield _as_long_as_it_can(show)


def _as_long_as_it_can(show: Callable[[Progress], None]) -> Callable[[Progress], None]:
    failed = False

    def try_to_show(progress: Progress) -> None:
        nonlocal failed
        if failed:
            return
        try:
            show(progress)
        except OSError:
            failed = True

    return try_to_show


def _plain_lines(settings: Plan) -> Callable[[Progress], None]:
    interval = min(_PLAIN_INTERVAL, max(1, settings.steps // 10))
    printed = 0

    def show(progress: Progress) -> None:
        nonlocal printed
        while printed < progress.steps_done:
            console.print(f"{printed:7d}/{progress.steps:7d}: {progress.losses[printed]:.4f}")
            printed += interval

    return show
