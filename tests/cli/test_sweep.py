"""`backproof sweep` as a user meets it."""

import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from exercise import parameters_of

from backproof.cli import main
from backproof.cli.sweep import Grid
from backproof.cli.sweep_table import plus_minus
from backproof.runs import load_run
from backproof.sweep.plan import make_plan
from backproof.training.folder import unfinished
from backproof.training.settings import Settings
from measuring.terminal import on_a_terminal

SMALL = ["--batch-size", "4", "--embedding", "2"]
LONG = [*SMALL, "--steps", "10000000", "--hidden", "9", "--runs", "3", "--workers", "2"]


@pytest.fixture
def words(tmp_path: Path) -> str:
    path = tmp_path / "words.txt"
    path.write_text("anna\nbela\notto\nmia\nnoa\nella\numa\nida\nleo\nmax\neva\nkim\ntom\nzoe\n", encoding="utf-8")
    return str(path)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "backproof", "sweep", *arguments]


def test_the_grid_has_every_setting_and_its_default():
    (member,) = make_plan(asdict(Grid()), 1).members
    assert member.settings == Settings()


def test_a_grid_with_a_run_that_diverges(capsys, tmp_path: Path, words: str):
    folder = tmp_path / "sweep"
    arguments = ["--lr", "0.1,1e30", "--runs", "2", "--hidden", "9", "--steps", "30", "--out", str(folder)]
    assert main(["sweep", "--data", words, *SMALL, *arguments]) == 1
    out, err = capsys.readouterr()
    assert "Training 4 models, 2 configurations" in out
    assert len(re.findall(r"^run-\d \(lr 0.1, seed \d+\): train \d\.\d{4}  validation", out, re.MULTILINE)) == 2
    assert re.search(r"^  run +lr +seed +train +validation +test$", out, re.MULTILINE)
    assert len(re.findall(r"^run-[34] +1e\+30 +\d+ +diverged at \d+$", out, re.MULTILINE)) == 2
    assert re.search(r"^ +0\.1 +2 of 2( +\d\.\d{4} ± \d\.\d{4}){3}$", out, re.MULTILINE)
    assert re.search(r"^1e\+30 +0 of 2( +-){3}$", out, re.MULTILINE)
    assert f"The sweep is in {folder}" in out
    assert (
        len(re.findall(r"^backproof: run-[34] \(lr 1e\+30, seed \d+\): the loss is no longer", err, re.MULTILINE)) == 2
    )

    record = json.loads((folder / "sweep.json").read_text(encoding="utf-8"))
    for run in record["runs"][:2]:
        assert load_run(folder / run["folder"]).settings.seed == run["settings"]["seed"]
        assert f"{run['losses']['test']:.4f}" in out


@pytest.mark.parametrize(("encoding", "sign"), [("utf-8", "±"), ("latin-1", "±"), ("ascii", "+/-")])
def test_a_spread_is_written_in_the_encoding_of_the_output(monkeypatch, encoding: str, sign: str):
    monkeypatch.setattr("sys.stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert plus_minus() == sign


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lr", "0.1,fast"], "--lr holds 'fast', which is not a number"),
        (["--hidden", "10,0"], "--hidden is 0; it has to be at least 1."),
        (["--runs", "0"], "--runs is 0; it has to be at least 1."),
        (["--workers", "0"], "--workers is 0; it has to be at least 1."),
        (["--out", "{folder}"], "exists already; choose another folder with --out."),
        (["--data", "absent.txt"], "There is no file absent.txt"),
    ],
)
def test_errors_are_one_sentence_and_exit_with_2(capsys, monkeypatch, tmp_path: Path, words, arguments, message):
    monkeypatch.chdir(tmp_path)
    arguments = [argument.format(folder=tmp_path) for argument in arguments]
    assert main(["sweep", "--data", words, *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert err.count("\n") == 1
    assert out == ""
    assert list(tmp_path.iterdir()) == [Path(words)]


def until(condition, seconds: float = 600) -> None:
    """Wait, but not for ever: a loaded machine takes its time."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.05)


def running(folder: Path) -> bool:
    """Whether the first run has begun."""
    return (folder / "run-1" / "checkpoint" / "about.json").exists()


def test_ctrl_c_on_a_terminal_reaches_all_processes_and_loses_nothing(tmp_path: Path, words: str):
    folder = tmp_path / "sweep"
    arguments = command("--data", words, "--out", str(folder), *LONG)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, start_new_session=True, **pipes) as sweep:
        until(lambda: running(folder))
        time.sleep(0.5)
        os.killpg(sweep.pid, signal.SIGINT)
        out, err = sweep.communicate(timeout=600)
    assert sweep.returncode == 130
    assert "Stopping: the runs at hand are being saved." in out
    saved = (
        r"^backproof: Interrupted; (1 run|2 runs) saved, [12] not begun\. The same command with --out \S+ goes on\.$"
    )
    assert re.search(saved, err, re.MULTILINE)
    assert "Traceback" not in err
    assert load_run(folder / "run-1").settings.steps == 10_000_000
    assert json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["status"] == "interrupted"


def test_ctrl_c_while_the_workers_start_is_no_traceback(tmp_path: Path, words: str):
    arguments = command("--data", words, "--out", str(tmp_path / "sweep"), *LONG)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen(arguments, start_new_session=True, **pipes) as sweep:
        until((tmp_path / "sweep").exists)
        time.sleep(0.2)
        os.killpg(sweep.pid, signal.SIGINT)
        _, err = sweep.communicate(timeout=600)
    assert sweep.returncode == 130
    assert err == "backproof: Interrupted; nothing was saved.\n"
    assert not (tmp_path / "sweep").exists()


def test_workers_go_with_a_parent_that_is_killed_and_the_same_command_finishes_their_runs(tmp_path: Path, words: str):
    folder = tmp_path / "sweep"
    sizes = ["--data", words, *SMALL, "--steps", "400000", "--hidden", "9"]
    arguments = command(*sizes, "--out", str(folder), "--runs", "2", "--workers", "2", "--save-every", "0")
    with subprocess.Popen(arguments, start_new_session=True, stdout=subprocess.PIPE) as sweep:
        until(lambda: unfinished(folder / "run-1"))
        sweep.kill()
        try:
            sweep.communicate(timeout=600)  # ends when the last process that could write has gone
        finally:
            with suppress(ProcessLookupError):
                os.killpg(sweep.pid, signal.SIGKILL)
    assert json.loads((folder / "sweep.json").read_text(encoding="utf-8"))["status"] == "running"
    assert not (folder / "run-1" / "run.json").exists()

    assert main(["sweep", *sizes, "--out", str(folder), "--runs", "2"]) == 0
    assert sorted(each.name for each in folder.iterdir()) == ["run-1", "run-2", "sweep.json"]
    assert main(["train", *sizes, "--out", str(tmp_path / "alone")]) == 0
    ours, theirs = load_run(folder / "run-1"), load_run(tmp_path / "alone")
    assert ours.settings == theirs.settings
    assert all(map(torch.equal, parameters_of(folder / "run-1"), parameters_of(tmp_path / "alone")))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_save_the_runs_at_hand_too(tmp_path: Path, words: str, number: int):
    folder = tmp_path / "sweep"
    arguments = command("--data", words, "--out", str(folder), *LONG)
    signals = {"restore_signals": True, "preexec_fn": lambda: signal.signal(number, signal.SIG_DFL)}
    with subprocess.Popen(arguments, start_new_session=True, stderr=subprocess.PIPE, text=True, **signals) as sweep:
        until(lambda: running(folder))
        time.sleep(0.3)
        os.killpg(sweep.pid, number)  # as a terminal that closes, or a system that shuts down
        _, err = sweep.communicate(timeout=600)
    assert sweep.returncode == 128 + number
    assert re.search(r"^backproof: Interrupted; (1 run|2 runs) saved, ", err, re.MULTILINE)
    assert unfinished(folder / "run-1")


def test_two_sweeps_do_not_share_a_folder(tmp_path: Path, words: str, capsys):
    folder = tmp_path / "sweep"
    with subprocess.Popen(command("--data", words, "--out", str(folder), *LONG), stderr=subprocess.PIPE) as sweep:
        until(lambda: running(folder))
        assert main(["sweep", "--data", words, "--out", str(folder), *LONG]) == 2
        sweep.send_signal(signal.SIGTERM)
        sweep.communicate(timeout=600)
    said = rf"^backproof: {re.escape(str(folder))} is in use: process {sweep.pid} on \S+ has been training there since "
    assert re.search(said, capsys.readouterr().err)


def test_a_sweep_that_halves_says_who_was_stopped(tmp_path: Path, words: str, capsys):
    arguments = ["--data", words, *SMALL, "--hidden", "9", "--steps", "64", "--runs", "4", "--workers", "1"]
    assert main(["sweep", *arguments, "--early-stop", "halving", "--out", str(tmp_path / "sweep")]) == 0
    out, _ = capsys.readouterr()
    assert len(re.findall(r"^run-\d \(seed \d+\): stopped early after step \d+\.$", out, re.MULTILINE)) == 3
    assert len(re.findall(r"^run-\d +\d+  stopped early at \d+$", out, re.MULTILINE)) == 3
    assert re.search(r"^4 models in \d+\.\d s; \d+ of 256 steps\.$", out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--save-every", "-1"], "--save-every is -1.0; it has to be at least 0 seconds."),
        (["--shared"], "--shared tells of a cluster; name its scheduler with --scheduler."),
        (["--scheduler", "tcp://localhost:1", "--workers", "1"], "--workers are those of this machine"),
    ],
)
def test_options_that_do_not_go_together(capsys, words: str, arguments: list[str], message: str):
    assert main(["sweep", "--data", words, *arguments]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""


def test_a_terminal_shows_one_bar_for_all_and_one_a_running_model(tmp_path: Path, words: str):
    shown = on_a_terminal(
        command(
            "--data", words, "--out", str(tmp_path / "sweep"), *SMALL, "--runs", "2", "--workers", "1", "--steps", "400"
        )
    )
    assert shown.status == 0
    for promised in ("all ", "0 of 2 runs", "2 of 2 runs", "run-2 ", "loss ", "steps/s", "━", "2 of 2  "):
        assert promised in shown.text
