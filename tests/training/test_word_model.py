"""A model of whole words as a file: read back as it was, and refused where it is not."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load, save
from torch import Generator, Tensor

from backproof.models.registry import NAMES, options_of, page
from backproof.training.errors import ModelFileError
from backproof.training.model import fingerprint
from backproof.training.word_model import FORMAT, WordModel, from_file, shapes, to_bytes

SYMBOLS = tuple(".abc")


def model_of(name: str) -> WordModel:
    options = options_of(name)(block_size=4)
    return WordModel(name, options, SYMBOLS, page(name).initial(options, len(SYMBOLS), Generator().manual_seed(0)))


def read(path: Path, content: bytes, model: WordModel, symbols: tuple[str, ...] = SYMBOLS) -> WordModel:
    path.write_bytes(content)
    return from_file(path, model.name, model.options, symbols, hashlib.sha256(content).hexdigest())


@pytest.mark.parametrize("name", NAMES)
def test_a_model_read_back_is_the_model(tmp_path: Path, name: str):
    model = model_of(name)
    again = read(tmp_path / "model", to_bytes(model), model)
    assert (again.name, again.options, again.symbols, again.page) == (name, model.options, SYMBOLS, page(name))
    assert list(again.parameters) == list(model.parameters)
    assert all(torch.equal(again.parameters[each], tensor) for each, tensor in model.parameters.items())
    assert shapes(name, model.options, 4) == {each: tuple(t.shape) for each, t in model.parameters.items()}


def rewritten(model: WordModel, change: Callable[[dict[str, Tensor], dict[str, str]], object]) -> bytes:
    tensors = load(to_bytes(model))
    metadata = {
        "format": FORMAT, "model": model.name, "options": json.dumps(asdict(model.options)),
        "vocabulary_sha256": fingerprint(model.symbols),
    }  # fmt: skip
    change(tensors, metadata)
    return save(tensors, metadata)


def test_rewriting_is_not_what_makes_it_wrong(tmp_path: Path):
    model = model_of("rnn")
    assert read(tmp_path / "model", rewritten(model, lambda t, m: None), model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, m: t.pop("W"), "lacks tensors of the network"),
        (lambda t, m: t.update(more=torch.zeros(1)), "lacks tensors of the network"),
        (lambda t, m: t.update(b=torch.zeros(9)), r"b is torch.float32 of shape \(9,\) and should be"),
        (lambda t, m: t.update(b=t["b"].double()), "b is torch.float64"),
        (lambda t, m: t["b"].fill_(torch.inf), "b holds values that are not finite"),
        (lambda t, m: m.update(model="gru"), r"is another model than run\.json tells of"),
        (lambda t, m: m.update(options="{}"), r"is another model than run\.json tells of"),
        (lambda t, m: m.pop("options"), r"is another model than run\.json tells of"),
        (lambda t, m: m.update(format="backproof-mlp-1"), "was not written by this version of Backproof"),
        (lambda t, m: m.update(vocabulary_sha256="0"), "belongs to another vocabulary"),
    ],
)
def test_what_was_altered_is_refused(tmp_path: Path, change: Callable, message: str):
    model = model_of("rnn")
    with pytest.raises(ModelFileError, match=message):
        read(tmp_path / "model", rewritten(model, change), model)


def test_a_file_that_is_none(tmp_path: Path):
    model = model_of("rnn")
    with pytest.raises(ModelFileError, match="is missing"):
        from_file(tmp_path / "absent", "rnn", model.options, SYMBOLS, "")
    with pytest.raises(ModelFileError, match="is damaged or not a safetensors file"):
        read(tmp_path / "model", to_bytes(model)[:-1], model)
    with pytest.raises(ModelFileError, match="belongs to another vocabulary"):
        read(tmp_path / "model", to_bytes(model), model, tuple(".abd"))
    (tmp_path / "model").write_bytes(to_bytes(model))
    with pytest.raises(ModelFileError, match="was altered after the run"):
        from_file(tmp_path / "model", "rnn", model.options, SYMBOLS, "0")
