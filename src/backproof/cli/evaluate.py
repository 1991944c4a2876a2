"""`backproof evaluate`: the losses of a saved model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from backproof.cli.console import complain, heading, print_corpus, working
from backproof.cli.train import print_losses

_UNUSABLE = 2


@dataclass(frozen=True)
class Evaluate:
    """Measure a saved model on the training, validation and test split.

    Example: backproof evaluate runs/first
    """

    folder: tyro.conf.Positional[Path]
    """Folder of the run."""
    data: Annotated[str | None, tyro.conf.arg(metavar="STR")] = None
    """Other words to measure on, split in the same way; without it, what the model was trained on."""

    def run(self) -> int:
        from backproof import text
        from backproof.record import read_record

        record = read_record(self.folder)
        with working("reading the words"):
            corpus = text.read_corpus(record.data_source if self.data is None else self.data)
        if self.data is None and corpus.sha256 != record.data_sha256:
            return complain(
                f"{record.data_source} has changed since the model was trained on it; give the words to measure on "
                "with --data.",
                _UNUSABLE,
            )
        print_corpus(corpus)
        from backproof import experiment, word_experiment  # with PyTorch, which takes long: somebody waits for words
        from backproof.runs import load_run
        from backproof.training.word_model import WordModel

        run, settings = load_run(self.folder, record), record.settings
        heading("Loss (nats per symbol)")
        with working("measuring"):
            given = corpus.words, run.vocabulary, settings.block_size, settings.split_seed
            if isinstance(run.model, WordModel):
                losses = word_experiment.evaluate(run.model, text.split_whole_words(*given))
            else:
                losses = experiment.evaluate(run.model, text.split_examples(*given))
        print_losses(losses)
        return 0
