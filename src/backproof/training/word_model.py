"""A trained model of whole words as a value, and as a file: tensors in safetensors, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

import torch
from torch import Generator, Tensor

from backproof.models.protocol import Model
from backproof.models.registry import page
from backproof.training.errors import ModelFileError
from backproof.training.model import fingerprint, most_bytes, read_tensors, refuse_other_tensors

FORMAT = "backproof-words-1"


@dataclass(frozen=True)
class WordModel:
    """All that sampling and evaluation need; `symbols[0]` is `.`, `name` one of `models.registry.NAMES`."""

    name: str
    options: Any
    symbols: tuple[str, ...]
    parameters: Mapping[str, Tensor]

    @property
    def page(self) -> Model:
        return page(self.name)


def to_bytes(model: WordModel) -> bytes:
    """The content of `model.safetensors`: float32 tensors, the model's options and the vocabulary's fingerprint."""
    from safetensors.torch import save

    metadata = {
        "format": FORMAT,
        "model": model.name,
        "options": json.dumps(asdict(model.options)),
        "vocabulary_sha256": fingerprint(model.symbols),
    }
    return save({name: tensor.contiguous() for name, tensor in model.parameters.items()}, metadata)


def from_file(path: Path, name: str, options: Any, symbols: tuple[str, ...], checksum: str) -> WordModel:
    """Read a model back and check every tensor; raises ModelFileError for anything that `to_bytes` did not write."""
    wanted = shapes(name, options, len(symbols))
    content, tensors, metadata = read_tensors(path, FORMAT, symbols, most_bytes(sum(map(prod, wanted.values()))))
    if metadata.get("model") != name or metadata.get("options") != json.dumps(asdict(options)):
        raise ModelFileError(f"{path} is another model than run.json tells of; restore the run's own files.")
    refuse_other_tensors(path, tensors, wanted)
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ModelFileError(f"{path} was altered after the run; restore the run's own file.")
    return WordModel(name, options, symbols, {each: tensors[each] for each in wanted})


def shapes(name: str, options: Any, symbols: int) -> dict[str, tuple[int, ...]]:
    """Of the parameters, by their names."""
    with torch.device("meta"):  # nothing is drawn, whatever the size
        return {each: tuple(t.shape) for each, t in page(name).initial(options, symbols, Generator("cpu")).items()}
