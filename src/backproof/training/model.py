"""A trained model as a value, and as a file: tensors in safetensors, never a pickle."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from backproof.files import read_bytes
from backproof.models.mlp import Parameters, Shape, Statistics
from backproof.training.errors import ModelFileError

_FORMAT = "backproof-mlp-1"
HEADER = 2**20  # bytes: a name and a shape take less than one hundred
_MOST_BYTES = 2**34  # of a model of which nothing is known beforehand


@dataclass(frozen=True)
class TrainedModel:
    """All that sampling and evaluation need; `symbols[0]` is `.`."""

    shape: Shape
    symbols: tuple[str, ...]
    parameters: Parameters
    statistics: Statistics


def to_bytes(model: TrainedModel) -> bytes:
    """The content of `model.safetensors`: nine float32 tensors, the correction and the vocabulary's fingerprint."""
    from safetensors.torch import save

    tensors = {name: tensor.contiguous() for name, tensor in _tensors(model).items()}
    metadata = {
        "format": _FORMAT,
        "block_size": str(model.shape.block_size),
        "correction": str(model.shape.correction),
        "vocabulary_sha256": fingerprint(model.symbols),
    }
    return save(tensors, metadata)


def from_file(
    path: Path, symbols: tuple[str, ...], checksum: str | None = None, most: int = _MOST_BYTES
) -> TrainedModel:
    """Read a model back and check every tensor; raises ModelFileError for anything that `to_bytes` did not write.

    `checksum` is the SHA-256 that the file should have; it is not read where it is larger than `most` bytes.
    """
    content, tensors, metadata = read_tensors(path, _FORMAT, symbols, most)
    try:
        shape = _shape(tensors, metadata)
    except (KeyError, ValueError):
        raise ModelFileError(f"{path} lacks tensors of the network; train again or restore a copy.") from None
    refuse_other_tensors(path, tensors, tensor_shapes(shape))
    if len(symbols) != shape.symbols:
        raise ModelFileError(
            f"{path} knows {shape.symbols} symbols and run.json names {len(symbols)}; restore the run's own files."
        )
    if checksum is not None and hashlib.sha256(content).hexdigest() != checksum:
        raise ModelFileError(f"{path} was altered after the run; restore the run's own file.")
    return TrainedModel(
        shape,
        symbols,
        Parameters(*(tensors[name] for name in Parameters._fields)),
        Statistics(*(tensors[name] for name in Statistics._fields)),
    )


def read_tensors(
    path: Path, written_as: str, symbols: tuple[str, ...], most: int
) -> tuple[bytes, dict[str, Tensor], dict[str, str]]:
    """A model's file, its tensors and its metadata; raises ModelFileError where that is not of this format or words."""
    try:
        content = read_bytes(path, most)
    except FileNotFoundError:
        raise ModelFileError(f"{path} is missing; give the folder of a finished run.") from None
    except OSError as error:
        raise ModelFileError(f"{path} cannot be read ({error.strerror}); restore the run's own file.") from None
    try:
        tensors, metadata = unpacked(content)
    except ValueError:
        raise ModelFileError(f"{path} is damaged or not a safetensors file; train again or restore a copy.") from None
    if metadata.get("format") != written_as:
        raise ModelFileError(f"{path} was not written by this version of Backproof; train the model again.")
    if metadata.get("vocabulary_sha256") != fingerprint(symbols):
        raise ModelFileError(f"{path} belongs to another vocabulary than run.json names; restore the run's own files.")
    return content, tensors, metadata


def refuse_other_tensors(path: Path, tensors: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise ModelFileError for tensors that are not those of these shapes, finite and of float32."""
    if tensors.keys() != shapes.keys():
        raise ModelFileError(f"{path} lacks tensors of the network; train again or restore a copy.")
    for name, shape in shapes.items():
        tensor = tensors[name]
        if tuple(tensor.shape) != shape or tensor.dtype != torch.float32:
            raise ModelFileError(
                f"{path}: {name} is {tensor.dtype} of shape {tuple(tensor.shape)} and should be torch.float32 of "
                f"{shape}; restore the run's own file."
            )
        if not torch.isfinite(tensor).all():
            raise ModelFileError(f"{path}: {name} holds values that are not finite; train the model again.")


def most_bytes(numbers: int) -> int:
    """What a file of so many float32 numbers takes at most, with the header."""
    return 4 * numbers + HEADER


def unpacked(content: bytes) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the metadata of a safetensors file; raises ValueError for what is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    length = int.from_bytes(content[:8], "little")
    if length > HEADER:
        raise ValueError
    try:
        metadata = json.loads(content[8 : 8 + length]).get("__metadata__") or {}
        return load(content), {str(name): str(value) for name, value in metadata.items()}
    except (SafetensorError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        raise ValueError from None


def tensor_shapes(s: Shape) -> dict[str, tuple[int, ...]]:
    """Of the parameters and the calibrated statistics, by their names."""
    row = (1, s.hidden)
    return {
        "C": (s.symbols, s.embedding), "W1": (s.block_size * s.embedding, s.hidden), "b1": (s.hidden,),
        "W2": (s.hidden, s.symbols), "b2": (s.symbols,), "bngain": row, "bnbias": row, "bnmean": row, "bnvar": row,
    }  # fmt: skip


def fingerprint(symbols: tuple[str, ...]) -> str:
    """SHA-256 of a vocabulary, in order."""
    return hashlib.sha256(json.dumps(symbols).encode()).hexdigest()


def _tensors(model: TrainedModel) -> dict[str, Tensor]:
    return model.parameters._asdict() | model.statistics._asdict()


def _shape(tensors: dict[str, Tensor], metadata: dict[str, str]) -> Shape:
    if set(tensors) != {*Parameters._fields, *Statistics._fields}:
        raise KeyError
    symbols, embedding = tensors["C"].shape
    return Shape(symbols, int(metadata["block_size"]), embedding, tensors["b1"].shape[0], int(metadata["correction"]))
