"""The models of whole words as a user meets them on the command line."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from backproof import word_experiment
from backproof.cli import main, train
from backproof.runs import load_run
from backproof.training.folder import unfinished
from backproof.training.loop import Progress
from backproof.training.word_model import WordModel

WORDS = "anna bela otto mia noa ella uma ida leo max eva kim tom zoe"
SMALL = ["--steps", "30", "--batch-size", "4", "--evaluate-every", "10", "--width", "3", "--hidden", "4"]
RNN = ["--model", "rnn", *SMALL]


def run(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as ended:  # how the parser of arguments leaves
        return int(ended.code or 0)


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    monkeypatch.setattr(word_experiment, "_SAMPLED", 40)


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text("\n".join(WORDS.split()), encoding="utf-8")
    return str(path)


def test_train_evaluate_and_sample(capsys, tmp_path: Path, words: str):
    folder = tmp_path / "run"
    assert run("train", "--data", words, "--out", str(folder), *RNN) == 0
    out = capsys.readouterr().out
    for promised in (
        "14 words from", "30 steps with the engine eager", "       10  train ", "       30  train ",
        "wte             | exact", "Loss of the best parameters on the validation split, those of step ",
        "20 new words", "Of 40 words, ", " in neither.", f"The run is in {folder}", "Its picture: ",
    ):  # fmt: skip
        assert promised in out
    assert (folder / "loss.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert not (folder / "dlogits.png").exists()
    figures = json.loads((folder / "run.json").read_text(encoding="utf-8"))["figures"]
    assert [steps for steps, _, _ in figures["curve"]] == [10, 20, 30]
    assert figures["best_step"] in (10, 20, 30) and figures["novelty"]["sampled"] == 40

    assert run("evaluate", str(folder)) == 0
    evaluated = capsys.readouterr().out
    losses = [line for line in out.splitlines() if line.strip().startswith(("train  ", "validation ", "test "))]
    assert len(losses) == 3 and all(line in evaluated for line in losses)

    assert run("sample", str(folder), "--count", "3", "--start", "mi", "--top-k", "2") == 0
    assert [word[:2] for word in capsys.readouterr().out.splitlines()] == ["mi"] * 3


@pytest.mark.parametrize(("grain", "headings"), [("fused", 1), ("both", 2)])
def test_prove(capsys, words: str, grain: str, headings: int):
    assert run("prove", "--data", words, "--model", "bigram", "--batch-size", "3", "--grain", grain) == 0
    out = capsys.readouterr().out
    assert "The bigram, 3 words, " in out and " gradients proved, " in out
    assert out.count("against automatic differentiation") == headings


@pytest.mark.parametrize("command", ["train", "prove"])
def test_help_shows_the_options_of_the_model_alone(capsys, command: str):
    assert run(command, "--model", "transformer", "--help") == 0
    out = capsys.readouterr().out
    assert "--heads INT" in out and "--dropout FLOAT" in out
    assert not any(other in out for other in ("--hidden", "--embedding", "--correction", "--kernel", "affine"))
    assert run(command, "--help") == 0
    assert "--heads" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "nosuch"], "There is no model 'nosuch'; choose one of: mlp, bigram, "),
        (["--model=nosuch"], "There is no model 'nosuch'"),
        (["--model", "transformer", "--heads", "3"], "--width is 64; it has to be a multiple of --heads, which is 3."),
        (["--model", "rnn", "--lr", "-1"], "--lr is -1.0; it has to be at least 0."),
        (["--model", "rnn", "--lr-after", "nan"], "--lr-after is nan; it has to be a number."),
        (["--model", "rnn", "--evaluate-every", "0"], "--evaluate-every is 0; it has to be at least 1."),
        (["--model", "rnn", "--batch-size", "0"], "--batch-size is 0; it has to be at least 1."),
        (["--model", "rnn", "--width", "0"], "--width is 0; it has to be a whole number from 1 to 65,535."),
        (["--model", "rnn", "--clip", "1e-9"], "--clip is 1e-09; it has to be at least 1e-06."),
        (["--model", "rnn", "--engine", "fused"], "The engine 'fused' cannot train --model rnn"),
        (["--model", "rnn", "--hidden", "4", "--heads", "2"], "Unrecognized options: --heads"),
        (["--model", "bigram", "--hidden", "4"], "Unrecognized options: --hidden"),
        (["--heads", "4"], "Unrecognized options: --heads"),
        (["--model"], "Missing value for argument '--model'"),
    ],
)
def test_what_does_not_go_together_is_said(capsys, words: str, tmp_path: Path, arguments: list[str], message: str):
    assert run("train", "--data", words, "--out", str(tmp_path / "run"), *arguments) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "given",
    [
        ["--model", "rnn", *SMALL, "--block-size", "1", "--steps", "1"],
        ["--model", "rnn", *SMALL, "--batch-size", "99", "--evaluate-every", "1000", "--steps", "2"],
        ["--model", "cnn", "--layers", "18", "--width", "2", "--steps", "2"],
        ["--model", "rnn", *SMALL, "--steps", "3", "--block-size", "2000"],
        ["--model", "bigram", "--model", "rnn", *SMALL, "--steps", "1"],
    ],
)
@pytest.mark.parametrize("text", ["a b c d a b e f g", "a" * 300 + " b" + " ab" * 9])
def test_odd_sizes_and_odd_words(capsys, tmp_path: Path, monkeypatch, given: list[str], text: str):
    monkeypatch.setattr(word_experiment, "_prove", lambda *_: ())
    (tmp_path / "words.txt").write_text(text.replace(" ", "\n"), encoding="utf-8")
    assert run("train", "--data", str(tmp_path / "words.txt"), "--out", str(tmp_path / "run"), *given) == 0
    assert run("sample", str(tmp_path / "run"), "--count", "2", "--start", "") == 0
    assert run("sample", str(tmp_path / "run"), "--start", "a" * 5000) == 2
    assert "this model can go on after " in capsys.readouterr().err


def test_a_run_that_diverges_says_when(capsys, tmp_path: Path, words: str):
    assert run("train", "--data", words, "--out", str(tmp_path / "run"), *RNN, "--lr", "3e38") == 1
    out, err = capsys.readouterr()
    assert "The loss is no longer finite at step " in err and "Try again with a smaller --lr." in err
    assert "calibration" not in out and "new words" not in out


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda said: said["settings"].update(model="gru"), "is another model than run.json tells of"),
        (lambda said: said["settings"].update(model="mlp"), "is incomplete or was altered"),
        (lambda said: said["settings"]["options"].update(hidden=5), "is another model than run.json tells of"),
        (lambda said: said["settings"]["options"].update(hidden=0), "is incomplete or was altered"),
        (lambda said: said["settings"].pop("options"), "is incomplete or was altered"),
        (lambda said: said.update(format="backproof-run-1"), "is incomplete or was altered"),
        (lambda said: said.update(format="backproof-run-9"), "was not written by this version"),
        (lambda said: said.update(vocabulary=[".", "a"]), "belongs to another vocabulary"),
        (lambda said: said["files"].update({"model.safetensors": "0"}), "was altered after the run"),
    ],
)
def test_a_run_that_was_altered_is_refused(capsys, altered: Path, change: Callable, message: str):
    said = json.loads((altered / "run.json").read_text(encoding="utf-8"))
    change(said)
    (altered / "run.json").write_text(json.dumps(said), encoding="utf-8")
    assert run("sample", str(altered)) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


def test_a_model_file_that_was_altered_is_refused(capsys, altered: Path):
    content = bytearray((altered / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (altered / "model.safetensors").write_bytes(bytes(content))
    assert run("evaluate", str(altered)) == 2
    assert "model.safetensors was altered after the run" in capsys.readouterr().err


@pytest.fixture
def altered(words: str, tmp_path: Path, monkeypatch, capsys) -> Path:
    monkeypatch.setattr(word_experiment, "_prove", lambda *_: ())
    assert run("train", "--data", words, "--out", str(tmp_path / "run"), *RNN) == 0
    capsys.readouterr()
    return tmp_path / "run"


def interrupted(monkeypatch, after: int) -> None:
    @contextmanager
    def display(settings: object) -> Iterator[Callable[[Progress], None]]:
        come = [signal.SIGINT]

        def show(progress: Progress) -> None:
            while come and progress.steps_done >= after:
                signal.raise_signal(come.pop())

        yield show

    monkeypatch.setattr(train, "training_display", display)


def numbers(folder: Path) -> tuple[bytes, list[list[float]], bytes]:
    model = load_run(folder).model
    assert isinstance(model, WordModel)
    values = [tensor.flatten().tolist() for tensor in model.parameters.values()]
    return np.load(folder / "losses.npy").tobytes(), values, (folder / "samples.txt").read_bytes()


@pytest.mark.parametrize("named", [[], ["--model", "rnn"], ["--steps", "30"], RNN])
def test_an_interrupted_run_is_gone_on_with(
    words: str, tmp_path: Path, monkeypatch, capsys, altered: Path, named: list[str]
):
    folder = tmp_path / "other"
    with monkeypatch.context() as patched:
        interrupted(patched, 13)
        assert run("train", "--data", words, "--out", str(folder), *RNN) == 130
    assert unfinished(folder) and load_run(folder)
    assert "what was there is saved. Go on with --resume" in capsys.readouterr().err
    for wrong, message in (
        (["--model", "gru"], "has --model rnn, and gru would be another run"),
        (["--hidden", "5"], "has --hidden 4, and 5 would be another run"),
        (["--embedding", "5"], "has --embedding none, and 5 would be another run"),
        (["--steps", "2"], "steps already; give --steps of at least that"),
    ):
        assert run("train", "--resume", str(folder), *wrong) == 2
        assert message in capsys.readouterr().err
    assert run("train", "--resume", str(folder), *named) == 0
    assert "Going on from step " in capsys.readouterr().out
    assert numbers(folder) == numbers(altered) and not unfinished(folder)
    assert run("train", "--data", words, "--out", str(folder), "--resume", "auto", *RNN) == 0
    assert "is finished; there is nothing left to do" in capsys.readouterr().out
