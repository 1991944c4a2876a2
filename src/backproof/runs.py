"""Runs on disk: what `backproof train` leaves behind, and how it is read back.

run.json             configuration, vocabulary, data and its checksum, versions, figures
model.safetensors    parameters and calibrated statistics
losses.npy           log10 of every step's loss, float32
loss.png             the losses, drawn
dlogits.png          the gradient of the logits on one minibatch, drawn (the exercise's network)
samples.txt          20 words that the model made up
"""

from __future__ import annotations

import hashlib
import json
import math
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from backproof import plots
from backproof.experiment import Result, log10_losses, network_shape
from backproof.models import mlp
from backproof.record import MODEL, Rung, RunRecord, format_of, read_record
from backproof.rules import cross_entropy
from backproof.text import Vocabulary
from backproof.training import checkpoint, word_model
from backproof.training import model as model_file
from backproof.training.errors import ModelFileError
from backproof.training.folder import MARKER, write_folder
from backproof.training.model import TrainedModel
from backproof.training.settings import Settings
from backproof.training.status import Status
from backproof.training.word_model import WordModel
from backproof.word_experiment import WordResult

if TYPE_CHECKING:
    from backproof.proof.report.rows import Row
    from backproof.training.kinds import AnySettings


@dataclass(frozen=True)
class Run:
    """A run read back from its folder. `data_source` and `data_sha256` say what it was trained on."""

    model: TrainedModel | WordModel
    settings: AnySettings
    data_source: str
    data_sha256: str

    @property
    def vocabulary(self) -> Vocabulary:
        return Vocabulary(self.model.symbols)


def save_run(
    result: Result | WordResult,
    folder: Path | str,
    overwrite: bool = False,
    owned: bool = False,
    rungs: Sequence[Rung] = (),
) -> Path:
    """Write a run's folder whole; return its path, a free one like it if the folder is taken.

    `owned` says that the run's own state is there (`training.checkpoint`): it gives way to the run, or goes along with
    it where the run was interrupted. `rungs` are what it was measured by on its way.

    Raises FolderError when it cannot be written.
    """
    exercise = isinstance(result, Result)
    model = model_file.to_bytes(result.model) if exercise else word_model.to_bytes(result.model)
    losses = log10_losses(result)
    files = {
        MARKER: json.dumps(_description(result, model, rungs), indent=2, ensure_ascii=False, allow_nan=False).encode(),
        MODEL: model,
        "losses.npy": _npy(losses),
        "samples.txt": "".join(f"{word}\n" for word in result.samples).encode(),
    }
    if exercise:
        files["dlogits.png"] = _draw_dlogits(result)
        picture = plots.loss_png(losses, result.settings.drop_step) if len(losses) else None
    else:
        picture = plots.curve_png(result.step_losses, result.curve) if len(losses) else None
    if picture:
        files["loss.png"] = picture
    besides = checkpoint.copy if owned and result.status is Status.INTERRUPTED else None
    return write_folder(Path(folder), files, overwrite, owned, besides)


def load_run(folder: Path | str, record: RunRecord | None = None) -> Run:
    """Read a run and check all that it says; raises ModelFileError naming the file that is not as it was written.

    `record` is what its run.json says, where that has been read already.
    """
    folder = Path(folder)
    record = record or read_record(folder)
    if not isinstance(record.settings, Settings):
        name, options = record.settings.model, record.settings.options
        words = word_model.from_file(folder / MODEL, name, options, record.symbols, record.model_sha256)
        return Run(words, record.settings, record.data_source, record.data_sha256)
    shape = network_shape(record.settings, Vocabulary(record.symbols))
    most = model_file.most_bytes(sum(map(math.prod, model_file.tensor_shapes(shape).values())))
    model = model_file.from_file(folder / MODEL, record.symbols, record.model_sha256, most)
    if model.shape != shape:
        path = folder / MARKER
        raise ModelFileError(f"{path} and {folder / MODEL} tell of different networks; restore the run's own files.")
    return Run(model, record.settings, record.data_source, record.data_sha256)


def _description(result: Result | WordResult, model: bytes, rungs: Sequence[Rung]) -> dict[str, Any]:
    corpus, splits = result.corpus, result.splits
    return {
        "format": format_of(result.settings),
        "status": result.status.value,
        "settings": asdict(result.settings),
        "vocabulary": list(result.model.symbols),
        "data": {
            "source": corpus.source,
            "sha256": corpus.sha256,
            "words": len(corpus.words),
            "cleaning": asdict(corpus.cleaning),
            "examples": {name: len(split) for name, split in splits._asdict().items()},
        },
        "files": {MODEL: hashlib.sha256(model).hexdigest()},
        "versions": {name: version(name) for name in ("backproof", "torch", "numpy")}
        | {"python": platform.python_version()},
        "machine": platform.platform(),
        "figures": {
            "steps": len(result.step_losses),
            "seconds": round(result.seconds, 3),
            "engine": result.engine,
            "losses": {name: _number(value) for name, value in asdict(result.losses).items()},
            "rungs": [[rung.steps, _number(rung.loss)] for rung in rungs],
            "proof": [_proved(row) for row in result.proof],
            **({} if isinstance(result, Result) else _on_the_way(result)),
        },
    }


def _on_the_way(result: WordResult) -> dict[str, Any]:
    return {
        "best_step": result.best and result.best.steps,
        "curve": [[steps, _number(train), _number(loss)] for steps, train, loss in result.curve],
        "novelty": result.novelty and asdict(result.novelty),
    }


def _proved(row: Row) -> dict[str, Any]:
    return {
        "name": row.name,
        "verdict": row.verdict.value,
        "exact": row.exact,
        "approximate": row.approximate,
        "max_difference": _number(row.max_difference),
    }


def _number(value: Any) -> Any:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _npy(array: np.ndarray) -> bytes:
    buffer = BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _draw_dlogits(result: Result) -> bytes:
    batch, model = result.last_batch, result.model
    _, saved = mlp.forward(model.parameters, batch.contexts, batch.targets, model.shape.correction)
    dlogits = cross_entropy.backward(saved.logprobs, batch.targets)
    decode = Vocabulary(model.symbols).decode
    pairs = zip(batch.contexts.tolist(), batch.targets.tolist(), strict=True)
    rows = [f"{decode(context)} → {decode([target])}" for context, target in pairs]
    return plots.dlogits_png(dlogits.numpy(), rows, list(model.symbols))
