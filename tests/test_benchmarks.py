"""The benchmarks of speed: rivals agree, wrong ones are refused, rounds are fair, tables say what was measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

import full_run
import hostile
import memory
import rivals
import saving
import scaling
import training_step
from backproof.engines import EngineError, ExampleSource
from backproof.models.mlp import Parameters, Shape, initial_parameters
from backproof.text import Corpus, make_examples, vocabulary_of
from backproof.training.settings import Settings
from measuring import machine, rounds
from measuring.engine import Rival, native
from measuring.rounds import Spread
from measuring.terminal import on_a_terminal
from rivals import compiled, jax_scan, manual_eager
from rivals.loop import TensorLoop, UnavailableError
from training_step import Row, Task, enter, goal_of, warnings

ROOT = Path(__file__).parents[1]


@pytest.fixture
def task(small_corpus: Corpus) -> Task:
    vocabulary = vocabulary_of(small_corpus.words)
    shape = Shape(len(vocabulary), block_size=2, embedding=3, hidden=13)
    return Task(shape, initial_parameters(shape), make_examples(small_corpus.words, vocabulary, 2), batch=7)


@pytest.fixture
def fused() -> None:
    try:
        native()
    except EngineError as error:
        pytest.skip(str(error))


def text_of(table: Table) -> str:
    shown = StringIO()
    Console(width=200, file=shown).print(table)
    return shown.getvalue()


# Rivals


@pytest.mark.parametrize("correction", [0, 1])
@pytest.mark.parametrize("name", [name for name in rivals.RIVALS if not name.startswith("JAX")])
def test_a_rival_agrees_with_float64(
    name: str, correction: int, task: Task, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
):
    if name == "fused":
        request.getfixturevalue("fused")
    # Compiling takes longer than all other tests; the benchmark itself holds what was compiled against float64.
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    monkeypatch.setattr(compiled, "require_compiler", lambda: None)
    entered, absent, refused = enter([name], replace(task, shape=replace(task.shape, correction=correction)))
    assert (list(entered), absent, refused) == ([name], {}, {})


def wrong(change: Callable[[Parameters, Tensor], Parameters], wrong_loss: float = 1.0) -> rivals.Make:
    def create(shape: Shape, parameters: Parameters, examples: ExampleSource) -> Rival:
        @torch.no_grad()
        def steps(p: Parameters, xs: Tensor, ys: Tensor, indices: Tensor, rates: list[float]) -> Tensor:
            losses = torch.empty(len(rates))
            for k, (ix, rate) in enumerate(zip(indices, rates, strict=True)):
                loss, gradients = manual_eager.loss_and_gradients(p, xs[ix], ys[ix], shape.correction)
                for parameter, gradient in zip(p, change(gradients, xs[ix]), strict=True):
                    parameter.sub_(gradient, alpha=rate)
                losses[k] = loss * wrong_loss
            return losses

        return TensorLoop("wrong", steps, parameters, examples)

    return create


def with_a_lost_reader(gradients: Parameters, x: Tensor) -> Parameters:
    dC = gradients.C.clone()
    dC[x[0, 0]] *= 0.97
    return gradients._replace(C=dC)


@pytest.mark.parametrize(
    ("make", "guilty"),
    [
        (wrong(with_a_lost_reader), "C"),
        (wrong(lambda g, _: g._replace(b2=1.001 * g.b2)), "b2"),
        (wrong(lambda g, _: g._replace(bnbias=torch.full_like(g.bnbias, torch.nan))), "bnbias"),
        (wrong(lambda g, _: g, wrong_loss=1.0001), "loss"),
    ],
)
def test_a_wrong_rival_is_refused(make: rivals.Make, guilty: str, task: Task, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(rivals.RIVALS, "manual eager", make)
    entered, _, refused = enter(["manual eager", "eager"], task)
    assert list(entered) == ["eager"]
    if guilty == "bnbias":
        assert "differs from float64 by nan" in refused["manual eager"]
    else:
        assert refused["manual eager"].startswith(f"after 20 steps {guilty} differs from float64 by ")


def test_right_gradients_through_the_same_loop_are_not_refused(task: Task, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(rivals.RIVALS, "manual eager", wrong(lambda g, _: g))
    assert enter(["manual eager"], task)[2] == {}


def test_a_rival_that_cannot_run_here_is_named(task: Task, monkeypatch: pytest.MonkeyPatch):
    from torch._inductor import cpp_builder
    from torch._inductor.exc import InvalidCxxCompiler

    def missing(*_: object) -> None:
        raise ImportError

    def no_compiler() -> None:
        raise InvalidCxxCompiler

    monkeypatch.setattr(jax_scan, "import_module", missing)
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", no_compiler)
    entered, absent, refused = enter(["JAX scan", "torch.compile"], task)
    assert (entered, refused) == ({}, {})
    assert absent == {
        "JAX scan": "JAX is not installed; pip install 'backproof[bench]' to time it.",
        "torch.compile": "torch.compile needs a C++ compiler and finds none; install g++ to time it.",
    }


def test_jax_is_asked_for_one_thread_before_it_is_imported(monkeypatch: pytest.MonkeyPatch):
    for name in ("XLA_FLAGS", "NPROC", "JAX_PLATFORMS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    seen = {}

    def note(name: str) -> None:
        seen.update(os.environ)
        raise ImportError(name)

    monkeypatch.setattr(jax_scan, "import_module", note)
    with pytest.raises(UnavailableError):
        jax_scan._jax()
    assert seen["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false"
    assert seen["NPROC"] == "1"


# Rounds


class FakeTime:
    """A clock that only work moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.calls: list[tuple[str, int]] = []

    def worker(self, name: str, seconds_a_step: float) -> rounds.Prepare:
        def prepare(steps: int) -> Callable[[], None]:
            def work() -> None:
                self.calls.append((name, steps))
                self.now += seconds_a_step * steps

            return work

        return prepare


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setitem(rounds.CLOCKS, "wall", lambda: fake.now)
    return fake


def test_everybody_takes_as_long_a_turn_in_every_round(time: FakeTime):
    workers = {"slow": time.worker("slow", 0.003), "fast": time.worker("fast", 0.001)}
    timed = rounds.interleave(workers, rounds=6, seconds_a_turn=0.6)
    assert {name: one.steps for name, one in timed.items()} == {"slow": 200, "fast": 600}
    assert [turn.seconds for turn in timed["slow"].turns] == pytest.approx([0.003] * 6)
    assert [turn.seconds for turn in timed["fast"].turns] == pytest.approx([0.001] * 6)
    turns = [name for name, _ in time.calls[-12:]]
    assert all(set(turns[i : i + 2]) == {"slow", "fast"} for i in range(0, 12, 2))  # a round holds each once
    assert len({tuple(turns[i : i + 2]) for i in range(0, 12, 2)}) == 2  # in either order


def test_a_turn_keeps_the_larger_yardstick_beside_it(time: FakeTime):
    marks = iter([1.0, 5.0, 2.0, 3.0])
    timed = rounds.interleave({"it": time.worker("it", 1.0)}, 2, 1.0, yardstick=lambda: next(marks))
    assert [turn.yardstick for turn in timed["it"].turns] == [5.0, 3.0]


def test_three_rounds_are_taken_however_late_it_is(time: FakeTime):
    timed = rounds.interleave({"it": time.worker("it", 1.0)}, 9, 1.0, seconds_at_most=0.0)
    assert len(timed["it"].turns) == 3


def test_quartiles():
    assert rounds.spread([4.0, 1.0, 2.0, 3.0, 5.0]) == Spread(2.0, 3.0, 4.0)


# The table of a training step


def row(name: str, to_floor: float, to_fused: float | None, cores: float = 1.0) -> Row:
    return Row(name, Spread(1.0, 2.0, 3.0), Spread(to_floor, to_floor, to_floor),
               None if to_fused is None else Spread(to_fused, to_fused, to_fused), 10, cores)  # fmt: skip


@pytest.mark.parametrize(
    ("name", "to_floor", "to_fused", "met"),
    [
        ("fused", 1.15, 1.0, True),
        ("fused", 1.16, 1.0, False),
        ("published loop", 200.0, 100.0, True),
        ("published loop", 200.0, 99.9, False),
        ("JAX scan", 5.0, 4.4, False),
        ("JAX scan", 5.0, None, None),  # fused was not asked for
        ("eager", 5.0, 4.4, None),
    ],
)
def test_goals(name: str, to_floor: float, to_fused: float | None, met: bool | None):
    assert goal_of(row(name, to_floor, to_fused))[1] is met


def test_the_table_is_markdown_and_says_what_is_met():
    shown = text_of(training_step.table([row("dense floor", 1.0, None), row("fused", 1.2, 1.0)]))
    header, line, floor, fused = (line.strip() for line in shown.strip().splitlines())
    assert header.startswith("| who") and set(line) == {"|", "-"}
    assert [cell.strip() for cell in fused.strip("|").split("|")] == [
        "fused", "2.0", "1.0 to 3.0", "1.20", "1.00", "≤ 1.15 × floor", "no",
    ]  # fmt: skip
    assert floor.count("|") == fused.count("|") == 8


def test_a_reader_is_warned():
    assert warnings([row("eager", 1.0, 1.0)], "wall") == []
    assert "eager kept 1.8 cores busy" in warnings([row("eager", 1.0, 1.0, cores=1.8)], "wall")[0]
    assert "only 0.50 of a core" in warnings([row("eager", 1.0, 1.0, cores=0.5)], "wall")[0]
    assert warnings([row("eager", 1.0, 1.0, cores=0.5)], "cpu") == []


def test_the_floor_counts_the_operations_of_the_published_size():
    assert training_step.dense_operations(Shape(), 32) == 2_188_800


@pytest.mark.usefixtures("fused")
def test_rows_are_measured(task: Task):
    entered, _, _ = enter(["eager", "fused"], task)
    floor, eager, fused = training_step.measure(entered, task, rounds=2, seconds_a_turn=0.002, clock="wall")
    assert [floor.name, eager.name, fused.name] == ["dense floor", "eager", "fused"]
    assert floor.microseconds.median > 0 and floor.to_fused is None
    assert fused.to_fused == Spread(1.0, 1.0, 1.0)
    assert eager.to_fused is not None and min(eager.to_floor.median, fused.to_floor.median) > 0


@pytest.mark.usefixtures("fused")
def test_the_whole_script(tmp_path: Path):
    file = tmp_path / "figures.json"
    command = [sys.executable, str(ROOT / "benchmarks" / "training_step.py"), "--rounds", "1", "--seconds-a-turn",
               "0.002", "--only", "JAX scan", "manual eager", "fused", "--json", str(file)]  # fmt: skip
    environment = os.environ | {"PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(command, capture_output=True, encoding="utf-8", env=environment)
    assert done.returncode == 0, done.stderr
    kept = json.loads(file.read_text(encoding="utf-8"))
    names = {row["name"] for row in kept["figures"]["rows"]}
    assert names | set(kept["figures"]["absent"]) == {"dense floor", "JAX scan", "manual eager", "fused"}
    assert kept["machine"]["command"].startswith("python benchmarks/training_step.py --rounds 1 ")
    assert "2.19 million operations a dense step" in done.stdout


# Scaling


@pytest.mark.usefixtures("fused")
def test_a_size_is_measured_and_shown(tmp_path: Path):
    before = torch.get_num_threads()
    cell = scaling.measure(Shape(symbols=300, block_size=2, embedding=3, hidden=13), 5, seconds=0.0)
    assert torch.get_num_threads() == before
    assert cell.rounds == 3
    assert min(cell.fused, cell.fused_one_thread, cell.eager_one_thread, cell.eager_all_threads) > 0
    sweeps = {name: [cell, replace(cell, **change)] for name, change in CHANGES.items()}
    assert text_of(scaling.table(sweeps)).count("300") >= 3
    scaling.draw(sweeps, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_a_size_is_held_against_the_better_of_pytorch_s_ways():
    seconds = {
        "fused": [1e-6, 2e-6], "fused, 1 thread": [2e-6, 4e-6],
        "eager, 1 thread": [4e-6, 8e-6], "eager, all threads": [9e-6, 9e-6],
    }  # fmt: skip
    timed = {name: rounds.Timed(1, [rounds.Turn(s, 1.0, 1.0) for s in each]) for name, each in seconds.items()}
    cell = scaling._cell(Shape(), 32, timed)
    assert (cell.fused, cell.eager_one_thread, cell.eager_all_threads) == pytest.approx((1.5, 6.0, 9.0))
    assert (cell.pytorch_to_fused, cell.one_thread_to_fused) == pytest.approx((4.0, 2.0))


CHANGES = {
    "hidden × batch": {"hidden": 77, "batch": 9, "pytorch_to_fused": 0.5},
    "vocabulary": {"symbols": 400},
    "block size": {"block_size": 4},
}
CELL = scaling.Cell(200, 32, 27, 3, 20.0, 30.0, 300.0, 400.0, 15.0, 1.0, 5)


def test_what_scaling_sums_up():
    assert scaling.summary({"a": [CELL, replace(CELL, pytorch_to_fused=0.9)]}) == (
        "fused is the faster one in 1 of 2 sizes. It takes at most 1.00 of the time of one thread (goal: 1.05, met)."
    )
    slower = {"a": [CELL], "b": [replace(CELL, one_thread_to_fused=1 / 1.06)]}
    assert "at most 1.06 of the time of one thread (goal: 1.05, not met)" in scaling.summary(slower)
    assert "at most 1.06 of the time of one thread (goal: 1.15, met)" in scaling.summary(slower, busy=True)


@pytest.mark.parametrize(
    ("sizes", "large"),
    [
        ({"hidden": 512, "batch": 256}, True), ({"hidden": 511, "batch": 256}, False),
        ({"hidden": 512, "batch": 255}, False), ({"symbols": 4096}, True), ({"symbols": 4095}, False),
    ],
)  # fmt: skip
def test_large_sizes_have_a_goal_of_their_own(sizes: dict[str, int], large: bool):
    cells = {"a": [replace(CELL, one_thread_to_fused=1.85, **sizes)]}
    assert ("At the 1 large sizes it is 1.85 to 1.85 times" in scaling.summary(cells)) is large
    assert "large sizes" not in scaling.summary(cells, busy=True)


def test_others_are_at_work_and_gone_afterwards():
    with scaling.others_at_work(2):
        pass  # an endless loop that was left would hold up the test run itself


def test_the_sizes_of_the_sweeps():
    whole, quick = scaling.sizes(quick=False), scaling.sizes(quick=True)
    assert [len(sweep) for sweep in whole.values()] == [20, 4, 4]
    assert all(set(quick[name]) < set(whole[name]) for name in whole)


@pytest.mark.parametrize("symbols", [27, 65_535])
def test_the_text_has_the_symbols_it_should(symbols: int):
    text = scaling.text_of(symbols, 3)
    contexts, targets = text.batch(np.arange(1000))
    assert 0 < max(contexts.max(), targets.max()) < symbols
    assert text.stream.itemsize == (1 if symbols == 27 else 2)
    assert (text.stream[:3] == 0).all()


# Memory, and the whole run


def test_growth_is_taken_from_the_medians():
    assert memory.growth([[100, 90, 500], [0], [1100, 1000, 1090]], [10, 60, 110]) == 9.9
    assert memory.allowance([1, 2, 1 + 2**20]) == 2.0


def test_a_run_has_a_peak_of_memory():
    assert 2**24 < memory.peak_of_a_run("eager", steps=2) < 2**40


def test_the_memory_of_what_is_large_is_measured_and_held_against_its_bound(monkeypatch, tmp_path: Path):
    assert 0 <= memory.ready_to_train(10**6) < 10**9  # nothing where this process was larger before
    assert 2**24 < memory.whole_run(40, 8) < 2**40
    monkeypatch.setattr(memory, "_in_a_process", lambda what, *_: memory.LARGE[what][1] + (what == "60,000 symbols"))
    memory.show_large(Console(file=(file := StringIO()), width=100))
    lines = file.getvalue().splitlines()
    assert [line for line in lines if "not met" in line] == [line for line in lines if "60,000 symbols" in line]


def test_a_run_that_fails_is_not_measured():
    with pytest.raises(SystemExit, match=r"A run of 2 steps failed: .*There is no engine 'warp'"):
        memory.peaks("warp", [2, 4], 1)


def test_a_command_believes_that_a_person_watches():
    code, shown = on_a_terminal(
        [sys.executable, "-c", "import sys; print(all(s.isatty() for s in (sys.stdout, sys.stderr))); sys.exit(3)"]
    )
    assert (code, shown.strip()) == (3, "True")


def test_the_whole_run_is_held_against_its_kernel():
    (run,) = full_run.measure("embedded", Settings(steps=2, engine="eager"), repeats=1)
    assert 0 < run.kernel < run.whole and 0 < run.loop < run.whole
    assert run.allowed == pytest.approx(1.3 * run.kernel + 4)
    shown = text_of(full_run.table([full_run.Run(10.0, 11.0, 17.0), full_run.Run(10.0, 11.0, 17.1)]))
    assert [line.split("|")[-2].strip() for line in shown.strip().splitlines()[2:]] == ["yes", "no"]


def test_a_whole_run_that_fails_says_why(tmp_path: Path):
    with pytest.raises(SystemExit, match=r"backproof train ended with 2: .*There is no file nowhere.txt"):
        full_run.whole_run("nowhere.txt", Settings(steps=2), tmp_path / "run")


# The machine


def test_a_figure_carries_what_decides_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", [str(ROOT / "benchmarks" / "scaling.py"), "--json", "a file"])
    described = machine.describe()
    assert described["command"] == "python benchmarks/scaling.py --json 'a file'"
    assert set(described) == {"command", "commit", "processor", "load", "system", "versions"}
    assert all(described.values()) and f"torch {torch.__version__}" in described["versions"]
    assert machine.lines(described).count("\n") == 5


@pytest.mark.parametrize(("goal", "status"), [(10.0, 0), (0.0, 1)])
def test_what_saving_costs_is_measured_and_held_to_its_goal(
    tmp_path: Path, monkeypatch, capsys, goal: float, status: int
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(saving, "GOAL", goal)
    monkeypatch.setattr(sys, "argv", ["saving.py", "--repeats", "2", "--hidden", "7", "--json", "saving.json"])
    assert saving.main() == status
    out = capsys.readouterr().out
    assert "Saving every 30 seconds" in out and ("missed" in out) is bool(status)
    (one,) = json.loads((tmp_path / "saving.json").read_text(encoding="utf-8"))["figures"]
    assert one["hidden"] == 7 and 0 < one["share"] == one["save"] / 30
    assert [each.name for each in tmp_path.iterdir()] == ["saving.json"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="its mutants run in forks")
def test_mutants_are_refused_in_a_sentence_or_accepted():
    command = [sys.executable, str(ROOT / "benchmarks" / "hostile.py"), "--cases", "12", "--seed", str(os.getpid())]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout + told.stderr
    for kind in ("runs", "states", "words", "options", "proofs"):
        assert f"│ {kind} " in told.stdout


@pytest.mark.skipif(not hasattr(os, "fork"), reason="its mutants run in forks")
def test_a_mutant_that_goes_wrong_is_counted(monkeypatch: pytest.MonkeyPatch, capfd):
    monkeypatch.setattr(sys, "argv", ["hostile.py", "--only", "runs", "--cases", "3"])
    for broken, what in {
        "traceback": lambda given: 1 / 0,
        "not a sentence": lambda given: 2,
        "escapes": lambda given: print("\x1b[2J"),
        "crash": lambda given: os.kill(os.getpid(), 9),
    }.items():
        monkeypatch.setattr(hostile, "command", what)
        assert hostile.main() == 1
        assert capfd.readouterr().out.count(f": {broken}\n") == 3
