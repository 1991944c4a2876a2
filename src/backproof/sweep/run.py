"""One sweep from a plan to its folder: claims the folder, trains, and keeps `sweep.json` up to date."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter

from backproof.sweep.plan import Plan
from backproof.sweep.pool import Ended, Event, Started, team_size, train_all
from backproof.sweep.records import End, Sweep, write_record
from backproof.sweep.worker import Job
from backproof.text import Corpus, split_words, vocabulary_of
from backproof.training.folder import FolderError, claim_folder, remove_empty
from backproof.training.interrupt import deferred_interrupt


def run_sweep(
    plan: Plan,
    corpus: Corpus,
    folder: Path,
    workers: int | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
) -> Sweep:
    """Train all runs of `plan` in `workers` processes (None: one a core), into a folder that is new or empty.

    A run that fails is recorded and stops no other. Ctrl-C saves the runs at hand and begins no more; the sweep's
    status then is "interrupted". A second Ctrl-C raises KeyboardInterrupt and keeps the runs that were over.
    Raises SweepError, CorpusError or FolderError, before any run begins, for what cannot be done.
    An `on_event` that raises is not called again, and costs no run: its error is raised when the sweep is over.
    `corpus.source` has to be what `read_corpus` reads: every worker reads it again.
    """
    size = team_size(workers, len(plan.members))
    vocabulary_of(corpus.words)
    split_words(corpus.words, plan.members[0].settings.split_seed)
    created = claim_folder(folder)
    sweep = Sweep(plan, folder, corpus.source, corpus.sha256, size)
    began = perf_counter()
    broken: list[Exception] = []

    def note(event: Event) -> None:
        if isinstance(event, Ended):
            sweep.outcomes[event.member.name] = event.outcome
        if isinstance(event, Started | Ended):
            sweep.seconds = perf_counter() - began
            with suppress(FolderError):  # a full disk: the last write reports it, and the runs each their own
                write_record(sweep)
        if not broken:
            try:
                on_event(event)
            except Exception as error:  # as when nobody reads the output any more
                broken.append(error)

    job = Job(corpus.source, corpus.sha256, plan.members[0].settings.engine)
    try:
        with deferred_interrupt() as interrupted:
            try:
                train_all(plan.members, folder, job, sweep.workers, interrupted, note)
                cut_short = any(sweep.outcome(m).end in (End.INTERRUPTED, End.NOT_STARTED) for m in plan.members)
                sweep.status = "interrupted" if interrupted() and cut_short else "finished"
            except BaseException:  # a second Ctrl-C; whatever it is, a record must not say for ever that it goes on
                sweep.status = "interrupted"
                raise
            finally:
                sweep.seconds = perf_counter() - began
                if any(folder.iterdir()):
                    write_record(sweep)
    finally:
        remove_empty(created)  # nothing had begun
    if broken:
        raise broken[0]
    return sweep
