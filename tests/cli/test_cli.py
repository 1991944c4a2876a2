"""The command line as a user meets it: exit codes, what is printed, and where."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from rich.console import Console

from backproof.cli import main
from backproof.cli.console import console, working
from measuring.terminal import on_a_terminal

SMALL = ["--steps", "40", "--batch-size", "4", "--hidden", "9", "--embedding", "2"]


def run(*arguments: str) -> int:
    try:
        return main(list(arguments))
    except SystemExit as ended:  # how the parser of arguments leaves
        return int(ended.code or 0)


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text("anna\nbela\notto\nmia\nnoa\nella\numa\nida\nleo\nmax\neva\nkim\ntom\nzoe\n", encoding="utf-8")
    return str(path)


def test_prove_prints_the_26_rows_and_succeeds(capsys):
    assert run("prove", "--hidden", "17") == 0
    out = capsys.readouterr().out
    assert out.count("| exact: ") == 26
    assert "26 of 26 gradients proved" in out


@pytest.mark.parametrize(("grain", "rows"), [("fused", 12), ("both", 38)])
def test_prove_fused(capsys, grain: str, rows: int):
    assert run("prove", "--hidden", "17", "--grain", grain, "--correction", "0") == 0
    assert f"{rows} of {rows} gradients proved" in capsys.readouterr().out


def test_prove_fails_when_a_rule_is_wrong(capsys, monkeypatch):
    from backproof.rules import tanh

    monkeypatch.setattr(tanh, "backward", lambda y, dy: (1 - y) * dy)
    assert run("prove", "--hidden", "17", "--grain", "fused") == 1
    out = capsys.readouterr().out
    assert "dhpreact is wrong" in out
    assert "inherited from dhpreact" in out
    assert "5 of 12 gradients proved" in out


def test_train_prints_the_published_lines_and_saves_a_run(capsys, tmp_path: Path, words: str):
    folder = tmp_path / "run"
    assert run("train", "--data", words, "--out", str(folder), *SMALL) == 0
    out = capsys.readouterr().out
    lines = [line for line in out.splitlines() if "/     40: " in line]
    assert [int(line.split("/")[0]) for line in lines] == list(range(0, 40, 4))
    for promised in ("14 words from", "steps a second", "C               | exact", "validation", "20 new words"):
        assert promised in out
    assert f"The run is in {folder}" in out
    assert (folder / "loss.png").is_file()

    assert run("evaluate", str(folder)) == 0
    evaluated = capsys.readouterr().out
    losses = [line for line in out.splitlines() if line.strip().startswith(("train ", "validation ", "test "))]
    assert len(losses) == 3
    assert all(line in evaluated for line in losses)

    assert run("sample", str(folder), "--count", "3", "--start", "mi") == 0
    assert [word[:2] for word in capsys.readouterr().out.splitlines()] == ["mi"] * 3


def test_an_existing_folder_is_not_overwritten_unasked(capsys, run_folder: Path, words: str):
    before = (run_folder / "run.json").read_bytes()
    assert run("train", "--data", words, "--out", str(run_folder), *SMALL) == 2
    assert "exists already; choose another folder with --out, or add --overwrite." in capsys.readouterr().err
    assert (run_folder / "run.json").read_bytes() == before
    assert run("train", "--data", words, "--out", str(run_folder), "--overwrite", *SMALL) == 0
    assert (run_folder / "run.json").read_bytes() != before


def test_a_run_that_diverges_says_when_and_what_to_do(capsys, tmp_path: Path, words: str):
    assert run("train", "--data", words, "--out", str(tmp_path / "run"), *SMALL, "--lr", "1e30") == 1
    assert "The loss is no longer finite at step" in (err := capsys.readouterr().err)
    assert "with the learning rate 1e+30; the last finite state is saved. Try again with a smaller --lr." in err
    assert run("evaluate", str(tmp_path / "run")) == 2  # finite, but so large that their statistics are not
    assert "bnmean holds values that are not finite; train the model again." in capsys.readouterr().err


def test_evaluate_notices_that_the_words_changed(capsys, tmp_path: Path, words: str):
    assert run("train", "--data", words, "--out", str(tmp_path / "run"), *SMALL) == 0
    Path(words).write_text(Path(words).read_text(encoding="utf-8") + "\nlola", encoding="utf-8")
    assert run("evaluate", str(tmp_path / "run")) == 2
    assert "has changed since the model was trained on it; give the words to measure on" in capsys.readouterr().err
    assert run("evaluate", str(tmp_path / "run"), "--data", words) == 0
    Path(words).write_text("\n".join(["żuk"] * 20), encoding="utf-8")
    assert run("evaluate", str(tmp_path / "run"), "--data", words) == 2
    assert "of the word 'żuk' is not among the 15 symbols that the model knows" in capsys.readouterr().err


def test_evaluate_takes_no_data_for_what_it_is(capsys, run_folder: Path, monkeypatch):
    monkeypatch.chdir(run_folder)
    assert run("evaluate", str(run_folder), "--data", "") == 2
    assert ". is a folder; give a text file" in capsys.readouterr().err


def test_sample_prints_a_tab_as_a_tab(capsys, monkeypatch, run_folder: Path):
    monkeypatch.setattr("backproof.training.sampling.sample", lambda *_: ["a\tb"])
    assert run("sample", str(run_folder)) == 0
    assert capsys.readouterr().out == "a\tb\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "--data", "absent.txt"], "There is no file absent.txt; give a text file with one word a line"),
        (["train", "--data", "{folder}"], "is a folder; give a text file with one word a line."),
        (["train", "--data", "{page}"], "is a web page (HTML), not a list of words; download the raw file instead"),
        (["prove", "--data", "{binary}"], "line 2: holds the control character 0x00, so it is a binary file"),
        (["prove", "--data", "{latin}"], "line 1: byte 0xe9 is not valid UTF-8"),
        (["prove", "--data", "{few}"], "has 2 words, too few to split"),
        (["prove", "--batch-size", "1"], "--batch-size is 1; it has to be at least 2."),
        (["train", "--lr", "nan"], "--lr is nan; it has to be a number."),
        (["train", "--block-size", "2000"], "--block-size is 2000; it has to be at most 1024."),
        (["train", "--steps", "99999999999999999999999"], "--steps is 99999999999999999999999; it has to be at most"),
        (["prove", "--hidden", "100000000000"], "--hidden is 100000000000; it has to be at most 1048576."),
        (["train", "--data", "absent.txt", "--out", "runs/a/b"], "There is no file absent.txt"),
        (["train", "--out", "x" * 300], "cannot be written (File name too long); choose another folder with --out."),
        (["train", "--engine", "warp"], "There is no engine 'warp'; choose one of: auto, eager, fused."),
        (["sample", "{folder}"], "is not the folder of a run (it has no run.json)"),
        (["evaluate", "absent"], "absent is not the folder of a run"),
    ],
)
def test_errors_are_one_sentence_and_exit_with_2(capsys, monkeypatch, tmp_path: Path, arguments, message: str):
    monkeypatch.chdir(tmp_path)
    files = {"page": b"\n<!DOCTYPE html><p>", "binary": b"a\nb\0\n", "latin": b"ren\xe9\n", "few": b"a\nb\n"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    places = {"folder": str(tmp_path)} | {name: str(tmp_path / name) for name in files}
    assert run(*(argument.format(**places) for argument in arguments)) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert "Traceback" not in captured.err
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("arguments", [["prove", "--hidden", "many"], ["fetch", "moon"], ["train", "--stepz", "3"], []])
def test_arguments_that_cannot_be_understood(capsys, arguments: list[str]):
    assert run(*arguments) == 2


@pytest.mark.parametrize("command", ["prove", "train", "sweep", "evaluate", "sample", "fetch"])
def test_every_command_has_help_with_an_example(capsys, command: str):
    assert run(command, "--help") == 0
    assert f"Example: backproof {command}" in capsys.readouterr().out


def test_a_fault_of_ours_is_not_hidden(monkeypatch):
    def broken(source):
        raise ValueError("a bug")

    monkeypatch.setattr("backproof.text.read_corpus", broken)
    with pytest.raises(ValueError, match="a bug"):
        main(["prove"])


def ran(code: str) -> str:
    """What a program says in a process of its own, where nothing is imported yet."""
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    return done.stdout


def test_help_does_not_import_torch():
    code = "import sys; from backproof.cli import main\ntry: main(['--help'])\nexcept SystemExit: pass\n"
    code += "assert not {'torch', 'numpy', 'matplotlib'} & set(sys.modules), sorted(sys.modules)"
    ran(code)


@pytest.mark.parametrize("command", ["train", "evaluate"])
def test_the_first_words_do_not_wait_for_torch(run_folder: Path, words: str, tmp_path: Path, command: str):
    arguments = {
        "train": ["train", "--data", words, "--steps", "3", "--out", str(tmp_path / "out")],
        "evaluate": ["evaluate", str(run_folder), "--data", words],
    }
    said = ran(f"""
import sys
from backproof.cli import main

class Seen:
    def find_spec(self, name, path, target=None):
        if name == "torch":
            print("torch is imported", flush=True)

sys.meta_path.insert(0, Seen())
main({arguments[command]})
""")
    first, then = said.splitlines()[:2]
    assert " words from " in first
    assert then == "torch is imported"


def test_what_the_end_of_a_run_needs_is_imported_meanwhile():
    assert (
        ran("""
import sys
from backproof.cli.meanwhile import import_meanwhile

import_meanwhile().join()
before = set(sys.modules)
import torch
from backproof import plots
from backproof.models import mlp
from backproof.proof.network import prove_parameters

plots.dlogits_png(torch.ones(2, 3).numpy(), ["a", "b"], ["a", "b", "c"])
shape = mlp.Shape(symbols=3, block_size=2, embedding=2, hidden=4)
prove_parameters(mlp.initial_parameters(shape), torch.tensor([[0, 1], [1, 2]]), torch.tensor([1, 2]), shape.correction)
heavy = {name for name in set(sys.modules) - before if name.partition(".")[0] in ("torch", "sympy", "matplotlib")}
print(sorted(heavy), "sympy" in before, "matplotlib" in before)
""")
        == "[] True True\n"
    )


def test_who_samples_needs_no_prover():
    code = "import sys, backproof.runs; print([name for name in sys.modules if name.startswith('backproof.proof')])"
    assert ran(code) == "[]\n"


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "backproof", *arguments]


def test_the_version(capsys):
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("backproof 0.")


def test_a_reader_that_goes_away_is_no_traceback(run_folder: Path):
    arguments = command("sample", str(run_folder), "--count", "3000")
    # A pipe of one page: one that holds all the names would let the command end before its reader goes.
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096) as sampling:
        assert sampling.stdout
        assert sampling.stderr
        sampling.stdout.readline()
        sampling.stdout.close()
        assert sampling.stderr.read() == b""
    assert sampling.returncode == 1


def test_ctrl_c_saves_what_is_there(tmp_path: Path, words: str):
    folder = tmp_path / "run"
    arguments = command("train", "--data", words, "--out", str(folder), "--steps", "10000000", "--hidden", "9")
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as training:
        assert training.stdout
        for line in training.stdout:
            if "0/10000000: " in line:  # the first step is done
                break
        time.sleep(0.2)
        training.send_signal(signal.SIGINT)
        out, err = training.communicate(timeout=600)
    assert training.returncode == 130
    assert "Interrupted after step " in err
    assert "what was there is saved" in err
    assert f"The run is in {folder}" in out
    assert run("evaluate", str(folder)) == 0


@pytest.fixture
def broken(monkeypatch) -> Iterator[Callable[[str, BaseException], None]]:
    """From the line on that begins so, no other is printed."""

    def from_the_line(after: str, error: BaseException) -> None:
        written, failed = sys.stdout.write, []

        def write(text: str) -> int:
            if failed or text.lstrip().startswith(after):
                failed.append(text)
                raise error
            return written(text)

        monkeypatch.setattr(sys.stdout, "write", write)
        monkeypatch.setattr(os, "dup2", lambda *_: None)  # the output of this process is not ours to close
        monkeypatch.setattr(sys.stdout, "fileno", lambda: 1)

    yield from_the_line
    with console.capture():  # what could not be printed, and would be before the next test's own
        pass


@pytest.mark.parametrize("after", ["0/", "40 steps in", "The run is in"])
def test_a_run_whose_output_nobody_reads_is_saved(capsys, broken, tmp_path: Path, words: str, after: str):
    folder = tmp_path / "run"
    broken(after, BrokenPipeError(32, "Broken pipe"))
    assert run("train", "--data", words, "--out", str(folder), *SMALL) == 1
    assert capsys.readouterr().err == f"backproof: The output could not be written; the run is saved in {folder}.\n"
    assert json.loads((folder / "run.json").read_text(encoding="utf-8"))["figures"]["steps"] == 40


def test_ctrl_c_while_the_result_is_printed_says_where_the_run_is(capsys, broken, tmp_path: Path, words: str):
    broken("40 steps in", KeyboardInterrupt())
    assert run("train", "--data", words, "--out", str(tmp_path / "run"), *SMALL) == 130
    assert capsys.readouterr().err == f"backproof: Interrupted; the run is saved in {tmp_path / 'run'}.\n"


def test_ctrl_c_before_the_first_step_leaves_nothing(capsys, monkeypatch, tmp_path: Path, words: str):
    from backproof import experiment

    prepare = experiment.prepare

    def press(*given):
        signal.raise_signal(signal.SIGINT)
        return prepare(*given)

    monkeypatch.setattr(experiment, "prepare", press)
    assert run("train", "--data", words, "--out", str(tmp_path / "run"), *SMALL) == 130
    assert capsys.readouterr().err == "backproof: Interrupted; nothing was saved.\n"
    assert list(tmp_path.iterdir()) == [Path(words)]


def test_ctrl_c_while_the_commands_are_imported_is_no_traceback(capsys, monkeypatch):
    class Interrupting:
        def find_spec(self, name, path=None, target=None):
            if name == "backproof.cli.commands":
                raise KeyboardInterrupt

    monkeypatch.delitem(sys.modules, "backproof.cli.commands", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Interrupting(), *sys.meta_path])
    assert run("prove") == 130
    assert capsys.readouterr().err == "backproof: Interrupted; nothing was saved.\n"


def test_a_terminal_shows_a_live_bar(tmp_path: Path, words: str):
    shown = on_a_terminal(command("train", "--data", words, "--out", str(tmp_path / "run"), *SMALL))
    assert shown.status == 0
    for promised in ("step 40", "loss ", "lr 0.01", "steps/s", "━", "20 new words"):
        assert promised in shown.text


def test_words_of_another_s_run_do_not_steer_the_terminal(capsys, run_folder: Path, monkeypatch):
    monkeypatch.setattr("backproof.training.sampling.sample", lambda *_: ["a\x1b[2Jb", "c\td", "\u202ee", "\x9bf"])
    assert run("sample", str(run_folder)) == 0
    assert capsys.readouterr().out == "a\\x1b[2Jb\nc\td\n\\u202ee\n\\x9bf\n"


def test_nor_does_the_name_of_its_corpus(capsys, run_folder: Path):
    path = run_folder / "run.json"
    description = json.loads(path.read_text(encoding="utf-8"))
    description["data"]["source"] = "a\x1b]0;title\x07b"
    path.write_text(json.dumps(description), encoding="utf-8")
    assert run("evaluate", str(run_folder)) == 2
    error = capsys.readouterr().err
    assert "\x1b" not in error and "a\\x1b]0;title\\x07b" in error


def test_a_corpus_that_is_a_pipe_is_not_waited_for(capsys, tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    assert run("train", "--data", str(tmp_path / "pipe"), "--out", str(tmp_path / "run"), *SMALL) == 2
    assert "it is a pipe, a socket or a device" in capsys.readouterr().err


def test_what_an_ascii_terminal_lacks_is_escaped(tmp_path: Path):
    words = tmp_path / "words.txt"
    words.write_text("žofie\nøyvind\nåse\nžaneta\nžofka\nåke\nøystein\nåsa\nžitka\nåshild\n", encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    folder = tmp_path / "run"
    for arguments in (["train", "--data", str(words), "--out", str(folder), *SMALL], ["sample", str(folder)]):
        done = subprocess.run(command(*arguments), capture_output=True, env=environment)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"\\xe5" in done.stdout or b"\\xf8" in done.stdout or b"\\u017e" in done.stdout


@pytest.mark.parametrize("command", [["evaluate"], ["sample"], ["prove"], ["evaluate", "{run}", "--data"]])
def test_a_name_that_is_too_long_is_a_sentence(capsys, run_folder: Path, command: list[str]):
    given = [word.format(run=run_folder) for word in command]
    assert main([*given, "x" * 300]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("backproof: ")


@pytest.mark.parametrize(("seconds", "terminal", "seen"), [(0, True, True), (3600, True, False), (0, False, False)])
def test_what_takes_long_is_shown_to_a_person(monkeypatch, seconds: float, terminal: bool, seen: bool):
    written = io.StringIO()
    monkeypatch.setattr("backproof.cli.console._SECONDS_UNSEEN", seconds)
    monkeypatch.setattr("backproof.cli.console._errors", Console(file=written, force_terminal=terminal, width=60))
    with working("counting to ten"):
        end = time.monotonic() + 60
        while seen and "counting to ten" not in written.getvalue():
            assert time.monotonic() < end, "it was never shown"
            time.sleep(0.01)
    assert ("counting to ten" in written.getvalue()) is seen
