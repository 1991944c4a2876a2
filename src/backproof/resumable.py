"""A run that outlives its process: its state is saved in its folder as it goes, and it goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from backproof import experiment
from backproof.engines import chosen
from backproof.experiment import Result
from backproof.text import Corpus, vocabulary_of
from backproof.training.checkpoint import About, Checkpoint, Checkpoints
from backproof.training.folder import FolderError
from backproof.training.loop import Keep, Progress, State
from backproof.training.settings import Settings


class Resumable:
    """The run of a folder that its process owns (`training.checkpoint.owned`), from its beginning or from a state.

    `settings` may ask more of the run than the state's do (`training.resume`), `engine` is the one that does the work.
    Raises FolderError where its words are others than those it was begun on, or nothing can be written there, and
    EngineError.
    """

    def __init__(self, folder: Path, corpus: Corpus, settings: Settings, begun: Checkpoint | None) -> None:
        if begun is not None and corpus.sha256 != begun.about.data_sha256:
            raise FolderError(
                f"The run in {folder} was begun on other words than {corpus.source} holds; give them with --data."
            )
        self.settings = settings
        self.engine = chosen(settings.engine if begun is None else begun.about.engine)
        self._corpus, self._begun = corpus, begun and begun.state
        about = About(settings, self.engine, len(vocabulary_of(corpus.words)), corpus.source, corpus.sha256)
        try:
            self._saved = Checkpoints(folder, about, self._begun)
        except OSError as error:
            reason = f"{folder} cannot be written ({error.strerror})"
            raise FolderError(f"{reason}; choose another folder with --out.") from None

    @property
    def saved(self) -> int:
        """The steps of the last state that was saved, 0 before the first."""
        return self._saved.steps

    def train(
        self,
        on_progress: Callable[[Progress], object] | None = None,
        *,
        every: float = 30.0,
        until: int | None = None,
        threads: int | None = None,
        on_interrupt: Callable[[], None] = lambda: None,
        on_failure: Callable[[OSError], None] = lambda error: None,
    ) -> Result:
        """`experiment.train`, with the state saved after so many seconds, on signals and at the end.

        Where it cannot be saved the training goes on all the same: `on_failure` hears of it, once until one is saved.
        """
        keep = Keep(self._tried(on_failure), every, on_interrupt)
        settings = replace(self.settings, engine=self.engine)
        result = experiment.train(
            self._corpus, settings, on_progress, begun=self._begun, keep=keep, until=until, threads=threads
        )
        return replace(result, settings=self.settings)

    def _tried(self, on_failure: Callable[[OSError], None]) -> Callable[[State], None]:
        failed = False

        def save(state: State) -> None:
            nonlocal failed
            try:
                self._saved.save(state)
                failed = False
            except OSError as error:
                if not failed:
                    on_failure(error)
                failed = True

        return save
