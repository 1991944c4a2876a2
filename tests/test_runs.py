import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from exercise import model_of, parameters_of
from safetensors.torch import load_file, save_file

from backproof.experiment import Result
from backproof.runs import load_run, save_run
from backproof.training.errors import ModelFileError
from backproof.training.sampling import sample


def test_a_run_folder_holds_what_it_promises(run_folder: Path, small_result: Result):
    names = {"run.json", "model.safetensors", "losses.npy", "loss.png", "dlogits.png", "samples.txt"}
    assert {file.name for file in run_folder.iterdir()} == names
    description = json.loads((run_folder / "run.json").read_text(encoding="utf-8"))
    assert description["status"] == "finished"
    assert description["settings"]["steps"] == 60
    assert description["vocabulary"] == list(small_result.model.symbols)
    assert description["data"]["sha256"] == small_result.corpus.sha256
    assert description["data"]["examples"]["train"] == len(small_result.splits.train)
    assert set(description["versions"]) == {"backproof", "torch", "numpy", "python"}
    assert description["figures"]["losses"]["test"] == pytest.approx(small_result.losses.test)
    assert [row["name"] for row in description["figures"]["proof"]] == [
        "C", "W1", "b1", "W2", "b2", "bngain", "bnbias",
    ]  # fmt: skip
    losses = np.load(run_folder / "losses.npy", allow_pickle=False)
    assert losses.dtype == np.float32
    np.testing.assert_allclose(10**losses, small_result.step_losses, rtol=1e-5)
    assert (run_folder / "samples.txt").read_text(encoding="utf-8").splitlines() == list(small_result.samples)


def test_a_run_read_back_is_the_run(run_folder: Path, small_result: Result):
    run = load_run(run_folder)
    assert run.settings == small_result.settings
    assert run.data_sha256 == small_result.corpus.sha256
    assert model_of(run_folder).shape == small_result.model.shape
    for got, saved in zip(parameters_of(run_folder), small_result.model.parameters, strict=True):
        assert torch.equal(got, saved)
    assert sample(run.model) == list(small_result.samples)


def alter_json(folder: Path, **changes: object) -> None:
    path = folder / "run.json"
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


def alter_settings(folder: Path, **changes: object) -> None:
    alter_json(folder, settings=json.loads((folder / "run.json").read_text(encoding="utf-8"))["settings"] | changes)


def alter_model(folder: Path, **tensors: torch.Tensor | None) -> None:
    """Rewrite the model with other tensors and a checksum to match, so that only the tensors are wrong."""
    from safetensors import safe_open

    path = folder / "model.safetensors"
    with safe_open(path, "pt") as file:
        metadata = file.metadata()
    changed = {name: tensor for name, tensor in (load_file(path) | tensors).items() if tensor is not None}
    save_file(changed, path, metadata)
    alter_json(folder, files={"model.safetensors": hashlib.sha256(path.read_bytes()).hexdigest()})


def test_rewriting_a_model_is_not_what_makes_it_wrong(run_folder: Path):
    alter_model(run_folder)
    load_run(run_folder)


NAN = torch.full((13,), torch.nan)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda d: (d / "run.json").unlink(),
            r"is not the folder of a run \(it has no run.json\); see",
        ),
        (lambda d: (d / "run.json").write_text('{"form', encoding="utf-8"), "run.json is damaged: it is not JSON"),
        (lambda d: (d / "run.json").write_text("[]", encoding="utf-8"), "run.json is incomplete or was altered"),
        (lambda d: alter_json(d, format="other-2"), "was not written by this version of Backproof"),
        (lambda d: alter_json(d, settings={"steps": "many"}), "run.json is incomplete or was altered"),
        (lambda d: alter_json(d, settings={"speed": 1}), "run.json is incomplete or was altered"),
        (lambda d: (d / "run.json").write_text("[" * 200_000, encoding="utf-8"), "run.json is damaged: it is not JSON"),
        (lambda d: alter_json(d, settings={}), "run.json is incomplete or was altered"),
        (lambda d: alter_settings(d, split_seed=42.5), "run.json is incomplete or was altered"),
        (lambda d: alter_settings(d, block_size=True), "run.json is incomplete or was altered"),
        (lambda d: alter_settings(d, block_size=2.0), "run.json is incomplete or was altered"),
        (lambda d: alter_settings(d, block_size=10**30), "run.json is incomplete or was altered"),
        (lambda d: alter_settings(d, engine=None), "run.json is incomplete or was altered"),
        (lambda d: alter_settings(d, block_size=5), "run.json and .*model.safetensors tell of different networks"),
        (lambda d: alter_settings(d, correction=0), "run.json and .*model.safetensors tell of different networks"),
        (lambda d: alter_json(d, data={"source": None, "sha256": ""}), "run.json is incomplete or was altered"),
        (lambda d: alter_json(d, data={"source": 5, "sha256": ""}), "run.json is incomplete or was altered"),
        (lambda d: alter_json(d, data={"source": "a\0b", "sha256": ""}), "run.json is incomplete or was altered"),
        (lambda d: alter_json(d, data={"source": "\ud800", "sha256": ""}), "run.json is incomplete or was altered"),
        (lambda d: alter_json(d, data={"source": "embedded", "sha256": 5}), "run.json is incomplete or was altered"),
        (lambda d: alter_json(d, vocabulary=list(".xyz")), "belongs to another vocabulary than run.json names"),
        *(
            (lambda d, symbols=symbols: alter_json(d, vocabulary=symbols), "run.json is incomplete or was altered")
            for symbols in [
                None,
                "abc",
                [],
                ["."],
                ["a", "b"],
                [".", 5],
                [".", "ab"],
                [".", ""],
                [".", "b", "a"],
                [".", "a", "a"],
                [".", "."],
                [".", "\ud800"],
                ["."] + [chr(0x10000 + n) for n in range(65_535)],
            ]
        ),
        (lambda d: sparse(d / "run.json"), r"run.json cannot be read \(it is larger than 16,777,216 bytes\)"),
        (lambda d: sparse(d / "model.safetensors"), r"model.safetensors cannot be read \(it is larger than"),
        (lambda d: pipe(d / "run.json"), r"run.json cannot be read \(it is a pipe, a socket or a device"),
        (lambda d: pipe(d / "model.safetensors"), r"model.safetensors cannot be read \(it is a pipe"),
        (lambda d: header(d / "model.safetensors", 2**60), "is damaged or not a safetensors file"),
        (lambda d: header(d / "model.safetensors", 2), "is damaged or not a safetensors file"),
        (lambda d: alter_json(d, files={"model.safetensors": 5}), "run.json is incomplete or was altered"),
        (lambda d: (d / "model.safetensors").unlink(), r"model.safetensors is missing; give the folder of a finished"),
        (lambda d: (d / "model.safetensors").write_bytes(b"PK\x03\x04"), "is damaged or not a safetensors file"),
        (
            lambda d: (d / "model.safetensors").write_bytes((d / "model.safetensors").read_bytes()[:-100]),
            "is damaged or not a safetensors file",
        ),
        (lambda d: save_file({"a": torch.ones(1)}, d / "model.safetensors"), "was not written by this version"),
        (lambda d: alter_model(d, bnvar=None), "lacks tensors of the network"),
        (lambda d: alter_model(d, b1=NAN), "b1 holds values that are not finite"),
        (lambda d: alter_model(d, b2=torch.ones(3)), r"b2 is torch.float32 of shape \(3,\) and should be"),
        (lambda d: alter_model(d, bnmean=torch.ones(1, 13).double()), "bnmean is torch.float64 of shape"),
        (lambda d: alter_model(d, C=torch.ones(3)), "lacks tensors of the network"),
        (lambda d: flip_last_byte(d / "model.safetensors"), "was altered after the run"),
    ],
)
def test_damage_is_named_in_a_sentence(run_folder: Path, damage, message: str):
    damage(run_folder)
    with pytest.raises(ModelFileError, match=message) as error:
        load_run(run_folder)
    assert "\n" not in str(error.value)
    assert str(error.value).endswith((".", "'backproof train'."))


def sparse(path: Path) -> None:
    """Three gigabytes that take no room on the disk."""
    with path.open("r+b") as file:
        file.truncate(3 * 2**30)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def header(path: Path, length: int) -> None:
    """Says that the header has another length than it has."""
    path.write_bytes(length.to_bytes(8, "little") + path.read_bytes()[8:])


def flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(bytes(data))


def test_a_file_is_no_folder_of_a_run(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file", tmp_path / "absent"):
        with pytest.raises(ModelFileError, match="is not the folder of a run"):
            load_run(path)


def test_a_run_of_no_steps_can_be_saved(small_result: Result, tmp_path: Path):
    from dataclasses import replace

    nothing = replace(small_result, step_losses=small_result.step_losses[:0])
    folder = save_run(nothing, tmp_path / "run")
    assert not (folder / "loss.png").exists()
    load_run(folder)


def test_a_run_whose_gradients_are_too_large_to_be_subtracted_can_be_saved(small_result: Result, tmp_path: Path):
    from dataclasses import replace

    rows = (replace(small_result.proof[0], max_difference=float("nan")), *small_result.proof[1:])
    folder = save_run(replace(small_result, proof=rows), tmp_path / "run")
    proof = json.loads((folder / "run.json").read_text(encoding="utf-8"))["figures"]["proof"]
    assert proof[0]["max_difference"] is None
    assert proof[1]["max_difference"] is not None


def test_a_run_whose_losses_came_to_0_can_be_saved(small_result: Result, tmp_path: Path):
    from dataclasses import replace

    folder = save_run(replace(small_result, step_losses=np.zeros(30, np.float32)), tmp_path / "run")
    assert np.isneginf(np.load(folder / "losses.npy")).all()
    load_run(folder)
