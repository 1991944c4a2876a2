"""A run that outlives its process: its state is saved in its folder as it goes, and it goes on from there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from backproof import experiment, word_experiment
from backproof.engines import chosen, words
from backproof.experiment import Result
from backproof.text import Corpus, vocabulary_of
from backproof.training.checkpoint import About, Checkpoint, Checkpoints
from backproof.training.folder import FolderError
from backproof.training.loop import Keep, Progress, State
from backproof.training.settings import Settings
from backproof.training.watch import Measured
from backproof.training.word_model import WordModel
from backproof.word_experiment import WordResult

if TYPE_CHECKING:
    from backproof.training.kinds import AnySettings


class Resumable:
    """The run of a folder that its process owns (`training.checkpoint.owned`), from its beginning or from a state.

    `settings` may ask more of the run than the state's do (`training.resume`), `engine` is the one that does the work.
    Raises FolderError where its words are others than those it was begun on, or nothing can be written there, and
    EngineError.
    """

    def __init__(self, folder: Path, corpus: Corpus, settings: AnySettings, begun: Checkpoint | None) -> None:
        if begun is not None and corpus.sha256 != begun.about.data_sha256:
            raise FolderError(
                f"The run in {folder} was begun on other words than {corpus.source} holds; give them with --data."
            )
        self.settings = settings
        wanted = settings.engine if begun is None else begun.about.engine
        if isinstance(settings, Settings):
            self.engine = chosen(wanted)
        else:
            self.engine = words.chosen(wanted, settings.model, settings.options, settings.make_steps())
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
        on_measured: Callable[[Measured, WordModel], object] = lambda measured, model: None,
        on_interrupt: Callable[[], None] = lambda: None,
        on_failure: Callable[[OSError], None] = lambda error: None,
    ) -> Result | WordResult:
        """`train` of `experiment` or `word_experiment`, with the state saved as it goes, on signals and at the end.

        Where it cannot be saved the training goes on all the same: `on_failure` hears of it, once until one is saved.
        """
        keep = Keep(self._tried(on_failure), every, on_interrupt)
        settings, corpus = replace(self.settings, engine=self.engine), self._corpus
        if isinstance(settings, Settings):
            train = partial(experiment.train, corpus, settings)
        else:
            train = partial(word_experiment.train, corpus, settings, on_measured=on_measured)
        result = train(on_progress, begun=self._begun, keep=keep, until=until, threads=threads)
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
