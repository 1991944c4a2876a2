"""One sweep from a plan to its folder: claims the folder, trains what is missing, and keeps `sweep.json` up to date."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter

from backproof.limits import cores
from backproof.sweep.cluster import cluster_crew
from backproof.sweep.events import Ended, Event, Found, Paused, Started
from backproof.sweep.folder import claimed, outcome_of, outcomes_in
from backproof.sweep.halving import PARTS, better_half, is_due, rung_of
from backproof.sweep.member import Task
from backproof.sweep.plan import Member, Plan
from backproof.sweep.pool import Crew, local_crew, team_size
from backproof.sweep.records import FILE, End, Outcome, Sweep, write_record
from backproof.sweep.worker import Job
from backproof.text import Corpus, split_words, vocabulary_of
from backproof.training.folder import FolderError
from backproof.training.interrupt import deferred_interrupt


@dataclass(frozen=True)
class Cluster:
    """A Dask cluster that trains the runs: its scheduler's address, and whether it sees the sweep's folder."""

    address: str
    shared: bool = False


def run_sweep(
    plan: Plan,
    corpus: Corpus,
    folder: Path,
    workers: int | None = None,
    on_event: Callable[[Event], None] = lambda event: None,
    *,
    halving: bool = False,
    cluster: Cluster | None = None,
    save_every: float = 30.0,
) -> Sweep:
    """Train the runs of `plan` that are not finished, in a folder that is new, empty, or holds this very sweep.

    They are trained in `workers` processes (None: one a core), or on a `cluster`. With `halving` the worse half of the
    runs is stopped at each rung. The state of each is saved every `save_every` seconds.

    A run that fails is recorded and stops no other. Ctrl-C saves the runs at hand and begins no more; the sweep's
    status then is "interrupted". A second Ctrl-C raises KeyboardInterrupt; what was saved until then is kept.
    Raises SweepError, CorpusError or FolderError, before any run begins, for what cannot be done.
    An `on_event` that raises is not called again, and costs no run: its error is raised when the sweep is over.
    `corpus.source` has to be what `read_corpus` reads: every worker process reads it again.
    """
    size = team_size(workers, len(plan.members))
    vocabulary_of(corpus.words)
    split_words(corpus.words, plan.members[0].settings.split_seed)
    with claimed(folder):
        found = outcomes_in(folder, plan, corpus.sha256)
        engine = plan.members[0].settings.engine
        if cluster is None:
            sweep = Sweep(plan, folder, corpus.source, corpus.sha256, size, None, halving, found)
            crew = local_crew(Job(corpus.source, corpus.sha256, engine), size)
        else:
            sweep = Sweep(plan, folder, corpus.source, corpus.sha256, None, cluster.address, halving, found)
            crew = cluster_crew(cluster.address, corpus, engine, cluster.shared)
        return _Course(sweep, save_every, on_event).run(crew)


@dataclass
class _Course:
    """A sweep on its way."""

    sweep: Sweep
    save_every: float
    on_event: Callable[[Event], None]
    began: float = field(default_factory=perf_counter)
    broken: list[Exception] = field(default_factory=list)

    def run(self, crew: AbstractContextManager[Crew]) -> Sweep:
        sweep = self.sweep
        write_record(sweep)  # before a run begins: by it the next command knows the folder
        self._tell(Found(dict(sweep.outcomes)))
        with deferred_interrupt() as interrupted:
            try:
                with crew as hands:
                    self._train(hands, interrupted)
                cut_short = any(sweep.outcome(m).end in (End.INTERRUPTED, End.NOT_STARTED) for m in sweep.plan.members)
                sweep.status = "interrupted" if interrupted() and cut_short else "finished"
            except BaseException:  # a second Ctrl-C; whatever it is, a record must not say for ever that it goes on
                sweep.status = "interrupted"
                raise
            finally:
                if any((sweep.folder / member.name).exists() for member in sweep.plan.members):
                    self._record()
                else:
                    (sweep.folder / FILE).unlink()
        if self.broken:
            raise self.broken[0]
        return sweep

    def _train(self, crew: Crew, interrupted: Callable[[], int]) -> None:
        outcomes, members = self.sweep.outcomes, list(self.sweep.plan.members)
        for part in (*PARTS, None) if self.sweep.halving else (None,):
            due = [member for member in members if is_due(member, outcomes.get(member.name), part)]
            if due:
                threads = self._threads(len(due))
                crew.train([self._task(member, part, threads) for member in due], interrupted, self._note)
            if interrupted():
                return
            if part is not None:
                kept = better_half(members, outcomes, part)
                self._stop([member for member in members if member not in kept])
                members = kept

    def _threads(self, runs: int) -> int:
        """The cores that each of so many runs can have for itself; on a cluster one."""
        workers = self.sweep.workers
        return 1 if workers is None else max(1, cores() // min(workers, runs))

    def _task(self, member: Member, part: float | None, threads: int) -> Task:
        until = None if part is None else rung_of(member.settings, part)
        rungs = self.sweep.outcome(member).rungs
        return Task(member, self.sweep.folder / member.name, until, rungs, self.save_every, threads)

    def _stop(self, members: Sequence[Member]) -> None:
        for member in members:
            outcome = self.sweep.outcome(member)
            if outcome.end is End.INTERRUPTED:
                reason = f"stopped early after step {outcome.steps:,}"
                self.sweep.outcomes[member.name] = replace(outcome, end=End.STOPPED, reason=reason)
                self._tell(Ended(member, self.sweep.outcomes[member.name]))

    def _note(self, event: Event) -> None:
        if isinstance(event, Ended):
            event = self._come_to(event.member, event.outcome)
        if isinstance(event, Started | Paused | Ended):
            with suppress(FolderError):  # a full disk: the last write reports it, and the runs each their own
                self._record()
        self._tell(event)

    def _come_to(self, member: Member, said: Outcome) -> Paused | Ended:
        """What a run has come to stands in its folder; only what broke is told otherwise."""
        outcome = said
        if said.end is not End.FAILED:
            try:
                outcome = outcome_of(self.sweep.folder, member, self.sweep.data_sha256) or said
            except FolderError as error:
                outcome = Outcome(End.FAILED, reason=str(error))
        if outcome.end is not End.NOT_STARTED:
            self.sweep.outcomes[member.name] = outcome
        paused = outcome.end is End.INTERRUPTED and outcome.steps in dict(outcome.rungs)
        return Paused(member, outcome) if paused and self.sweep.halving else Ended(member, outcome)

    def _record(self) -> None:
        self.sweep.seconds = perf_counter() - self.began
        write_record(self.sweep)

    def _tell(self, event: Event) -> None:
        if self.broken:
            return
        try:
            self.on_event(event)
        except Exception as error:  # as when nobody reads the output any more
            self.broken.append(error)
